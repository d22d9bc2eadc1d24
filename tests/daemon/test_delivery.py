"""Limits, priorities, duplicates, quotas and failover, by the real program with real peers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from router.model.instance import Identity
from tests.daemon.conftest import Pacses, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.waiting import until

pytestmark = pytest.mark.delivery

OBJECTS = [made(number) for number in range(1, 41)]


def test_one_is_dead_one_slow_one_fast(start: Routers, pacs: Pacses) -> None:
    """The fast one has everything before the dead one is tried for the second time, and the slow one goes on."""
    dead, slow, fast = pacs("DEAD", up=False), pacs("SLOW"), pacs("FAST")
    router = start(
        destinations=[
            dead.destination(back_off={"initial": "60s", "maximum": "60s"}),
            slow.destination(bandwidth="8KB/s"),
            fast.destination(),
        ],
        routes=[{"to": ["DEAD", "SLOW", "FAST"]}],
    )
    assert set(send(router.port, OBJECTS)) == {0}
    until(lambda: len(fast.received()) == len(OBJECTS), "everything at the fast one")
    assert len(slow.received()) < len(OBJECTS)
    assert len(router.find("destination in trouble", destination="DEAD")) <= 1
    same(ledger(OBJECTS), fast)
    stands = router.status()
    assert stands["SLOW"]["state"] == "bandwidth used up"
    assert stands["DEAD"]["state"] == "in trouble"


def test_what_waits_fails_over(start: Routers, pacs: Pacses) -> None:
    """A study is owed to the first that works; when that goes down, what waits moves on after the configured time."""
    first, second = pacs("FIRST", up=False), pacs("SECOND")
    router = start(
        destinations=[first.destination(), second.destination()],
        routes=[{"to": [{"first_of": ["FIRST", "SECOND"], "failover_after": "100ms"}]}],
    )
    assert set(send(router.port, OBJECTS)) == {0}
    until(lambda: len(second.received()) == len(OBJECTS), "everything at the second")
    assert router.wait_for("failed over")
    same(ledger(OBJECTS), second)
    first.start()
    router.wait_for("destination recovered", destination="FIRST")
    others = [made(number, StudyInstanceUID="2.25.77") for number in range(101, 106)]
    assert set(send(router.port, others)) == {0}
    until(lambda: len(first.received()) == len(others), "another study at the first")
    router.until_delivered()


def test_the_same_instance_twice_at_the_same_moment(start: Routers, pacs: Pacses) -> None:
    """Both are accepted and kept; `once` sends equal bytes once, other bytes under the same UID are sent as well."""
    always, once = pacs("ALWAYS"), pacs("ONCE")
    router = start(
        destinations=[always.destination(), once.destination(duplicates="once")],
        routes=[{"to": ["ALWAYS", "ONCE"]}],
    )
    first = made(1)
    other = replace(made(2), identity=first.identity)
    with ThreadPoolExecutor() as modalities:
        statuses = modalities.map(lambda sent: send(router.port, [sent], calling="CT1"), [first, first, other])
        assert [*statuses] == [[0], [0], [0]]
    router.until_delivered()
    assert len(always.stores) == 3
    assert len(once.stores) == 2
    assert {store.sent.dataset for store in once.stores} == {first.dataset, other.dataset}
    assert router.tally("ONCE") == {"delivered": 2, "dropped": 1}
    said = " ".join(line.get("error", "") for line in router.find("instance accepted"))
    assert "another content under the same SOP Instance UID" in said


def test_a_dead_research_node_cannot_fill_the_disk(start: Routers, pacs: Pacses) -> None:
    """Over its quota it gives up what waited longest; the archive gets everything, and nobody is refused."""
    archive, research = pacs("ARCHIVE"), pacs("RESEARCH", up=False)
    router = start(
        destinations=[
            archive.destination(),
            research.destination(quota="16KiB", best_effort=True, back_off={"initial": "60s", "maximum": "60s"}),
        ],
        routes=[{"to": ["ARCHIVE", "RESEARCH"]}],
    )
    assert set(send(router.port, OBJECTS)) == {0}
    until(lambda: len(archive.received()) == len(OBJECTS), "everything at the archive")
    tally = router.tally("RESEARCH")
    assert tally["dead"] > 0
    assert tally["queued"] > 0
    assert tally["dead"] + tally["queued"] == len(OBJECTS)
    assert router.find("quota exceeded", destination="RESEARCH")
    same(ledger(OBJECTS), archive)


def test_a_quota_without_best_effort_refuses_what_nobody_else_takes(start: Routers, pacs: Pacses) -> None:
    """A700H as soon as every destination of an object is over its quota; and success again when there is room."""
    only = pacs("ONLY", up=False)
    router = start(destinations=[only.destination(quota="16KiB")])
    statuses = send(router.port, OBJECTS)
    assert statuses[0] == 0
    assert statuses[-1] == 0xA700
    assert "over its quota" in router.find("instance refused")[0]["error"]
    only.start()
    router.until_delivered()
    assert send(router.port, OBJECTS[-1:]) == [0]
    router.until_delivered()
    assert {store.sent.uid for store in only.stores} == {
        each.uid for each, status in zip(OBJECTS, [*statuses[:-1], 0], strict=True) if status == 0
    }


def test_a_poison_object_among_many(start: Routers, pacs: Pacses) -> None:
    """One dead letter, in an operator's words; the others are delivered meanwhile, each once."""
    poison = OBJECTS[7]

    def answer(identity: Identity) -> int:
        return 0xC001 if identity.sop_instance == poison.uid else 0

    strict = pacs("STRICT", answer=answer)
    router = start(destinations=[strict.destination(statuses={"C001": "bury"})])
    assert set(send(router.port, OBJECTS)) == {0}
    until(lambda: len(strict.received()) == len(OBJECTS) - 1, "all others delivered")
    router.wait_for("dead letter", destination="STRICT")
    assert router.tally("STRICT") == {"delivered": len(OBJECTS) - 1, "dead": 1}
    assert len(strict.stores) == len(OBJECTS)
