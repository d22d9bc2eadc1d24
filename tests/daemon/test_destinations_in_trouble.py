"""Destinations that are down, busy, strange or particular: nothing is lost, and only they wait."""

from datetime import datetime, timedelta

import pytest

from router.model.instance import Identity
from tests.daemon.conftest import Pacses, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.program import Line
from tests.daemon.waiting import until

pytestmark = pytest.mark.endtoend

OBJECTS = [made(number) for number in range(1, 21)]
UIDS = {each.uid for each in OBJECTS}


def test_a_destination_that_is_down_gets_everything_when_it_is_up(start: Routers, pacs: Pacses) -> None:
    """It backs off, twice as long each time; the other destination does not wait for it."""
    down, up = pacs("DOWN", up=False), pacs("UP")
    router = start(
        destinations=[down.destination(back_off={"initial": "20ms", "maximum": "80ms"}), up.destination()],
        routes=[{"to": ["DOWN", "UP"]}],
    )
    assert set(send(router.port, OBJECTS)) == {0}
    until(lambda: len(up.received()) == len(OBJECTS), "everything at the destination that is up")
    troubles = router.wait_for("destination in trouble", 4, destination="DOWN")
    assert [line["attempt"] for line in troubles[:4]] == [1, 2, 3, 4]
    assert all(_wait(line) <= timedelta(milliseconds=80) for line in troubles)
    assert router.status()["DOWN"]["failures"] >= 4
    down.start()
    router.until_delivered()
    router.wait_for("destination recovered", destination="DOWN")
    for sink in down, up:
        same(ledger(OBJECTS), sink)
    assert router.status()["DOWN"]["failures"] == 0
    assert not router.find("destination in trouble", destination="UP")


def test_a_restart_keeps_what_is_due_and_how_the_destination_stands(start: Routers, pacs: Pacses) -> None:
    """What waits for a destination that backs off waits on after a restart, and no longer than before."""
    down = pacs(up=False)
    router = start(destinations=[down.destination(back_off={"initial": "1500ms", "maximum": "1500ms"})])
    assert set(send(router.port, OBJECTS)) == {0}
    router.wait_for("destination in trouble")
    before = router.status()["PACS"]
    router.kill()
    router.start()
    after = router.status()["PACS"]
    assert after["failures"] >= before["failures"]
    assert after["since"] == before["since"]
    assert router.tally("PACS") == {"queued": len(OBJECTS)}
    down.start()
    router.until_delivered()
    same(ledger(OBJECTS), down)


def test_a_destination_that_is_busy_now_and_then(start: Routers, pacs: Pacses) -> None:
    """A700H for every third C-STORE: those are sent again, until each is stored."""
    asked: list[str] = []

    def busy_now_and_then(identity: Identity) -> int:
        asked.append(identity.sop_instance)
        return 0xA700 if len(asked) % 3 == 0 else 0x0000

    busy = pacs(answer=busy_now_and_then)
    router = start(destinations=[busy.destination()])
    assert set(send(router.port, OBJECTS)) == {0}
    router.until_delivered()
    same(ledger(OBJECTS), busy)
    assert len(asked) == len(busy.stores) > len(OBJECTS)
    assert not router.find("dead letter")


def test_a_destination_that_does_not_know_our_title_is_held(start: Routers, pacs: Pacses) -> None:
    """RJ 1/1/7: an administrator has to act, so it is tried rarely; at once when the configuration is put right."""
    particular = pacs("RIGHT")
    router = start(destinations=[particular.destination(remote_ae_title="WRONG")])
    assert set(send(router.port, OBJECTS)) == {0}
    (trouble,) = router.wait_for("destination in trouble")
    assert "called AE title not recognized" in trouble["error"]
    assert _wait(trouble) > timedelta(minutes=4)
    assert router.status()["RIGHT"]["held"]
    assert router.tally("RIGHT") == {"queued": len(OBJECTS)}
    router.configure(destinations=[particular.destination()])
    router.client.post("/api/reload")
    router.until_delivered()
    same(ledger(OBJECTS), particular)


@pytest.mark.parametrize("answer", [0xC000, None], ids=["C000H", "abort"])
def test_a_poison_object_stops_no_other(start: Routers, pacs: Pacses, answer: int | None) -> None:
    """One that the destination cannot digest: it alone is charged, and is tried again later."""
    poison = OBJECTS[3]

    def choke(identity: Identity) -> int | None:
        return answer if identity.sop_instance == poison.uid else 0x0000

    choking = pacs(answer=choke)
    router = start(destinations=[choking.destination()])
    assert set(send(router.port, OBJECTS)) == {0}
    until(lambda: {each.uid for each in choking.received()} == UIDS - {poison.uid}, "the others at the destination")
    (deferred, *_) = router.wait_for("delivery deferred", instance=poison.uid)
    router.wait_for("C-STORE successful", len(OBJECTS) - 1)
    assert {line["instance"] for line in router.find("delivery deferred")} == {poison.uid}
    assert deferred["error"]
    until(lambda: router.tally("PACS") == {"delivered": len(OBJECTS) - 1, "queued": 1}, "one that waits")
    choking.answer = lambda _: 0
    router.client.post("/api/queue/retry", {"destination": "PACS", "state": "queued"})
    router.until_delivered()
    same(ledger(OBJECTS), choking)


def _wait(line: Line) -> timedelta:
    return datetime.fromisoformat(line["next_attempt_at"]) - datetime.fromisoformat(line["timestamp"])
