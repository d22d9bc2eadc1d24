"""Start, stop, reload, and every way in which a start is refused: what an operator does to the real program."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from router.cli.client import RefusedError
from router.protocol import Aborted, Closed
from tests.daemon.conftest import FreePort, Pacses, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import LostError, Modality, send
from tests.daemon.objects import made
from tests.daemon.program import Program
from tests.daemon.sinks import destination
from tests.daemon.waiting import until

pytestmark = pytest.mark.operate

NOWHERE = [destination("NOWHERE", 1)]
"""Nobody listens there."""
OBJECTS = [made(number) for number in range(1, 6)]
LARGE = made(99, pixels=1 << 22)
HALF = 1 << 21
"""More than a receive buffer holds: what has arrived is on the disk."""


# Stopping


def test_sigterm_lets_the_object_that_arrives_finish(start: Routers, pacs: Pacses) -> None:
    """No new association, but the object under way is taken and answered for; exit code 0."""
    sink = pacs()
    router = start(destinations=[sink.destination()])
    with Modality(router.port, [LARGE.pair]) as idle, Modality(router.port, [LARGE.pair]) as modality:
        modality.begin(LARGE, HALF)
        assert idle.echo() == 0
        router.signal(signal.SIGTERM)
        router.wait_for("draining")
        assert isinstance(idle.ending(), Aborted)
        with pytest.raises(LostError):
            Modality(router.port, [LARGE.pair])
        modality.proceed(LARGE, HALF, len(LARGE.dataset))
        assert modality.answer() == 0
        assert isinstance(modality.ending(), Aborted)
    assert router.ended() == 0
    assert router.lines[-1]["event"] == "stopped"
    assert not sink.stores or ledger(sink.received()) == ledger([LARGE])
    router.start()
    router.until_delivered()
    same(ledger([LARGE]), sink)


def test_a_second_sigterm_ends_it_at_once(start: Routers) -> None:
    """What has not arrived whole is not kept, and its sender gets no answer."""
    router = start(destinations=NOWHERE, drain="60s")
    with Modality(router.port, [LARGE.pair]) as modality:
        modality.begin(LARGE, HALF)
        until(lambda: list(router.spool.glob("**/*.part")), "an object that arrives")
        router.signal(signal.SIGTERM)
        router.wait_for("draining")
        router.signal(signal.SIGTERM)
        assert router.ended() == 0
        assert isinstance(modality.ending(), Aborted | Closed)
    assert not list(router.spool.glob("objects/**/*.*"))


def test_draining_has_an_end(start: Routers) -> None:
    """A sender that never finishes does not keep the daemon from stopping."""
    router = start(destinations=NOWHERE, drain="200ms")
    with Modality(router.port, [LARGE.pair]) as modality:
        modality.begin(LARGE, HALF)
        assert router.stop() == 0
        assert isinstance(modality.ending(), Aborted | Closed)


def test_sigterm_before_it_has_started(routers: Routers) -> None:
    """It ends at once, in order, whatever it was doing."""
    router = routers(destinations=NOWHERE)
    router.launch()
    until(router.has_its_spool, "a router that has begun")
    assert router.stop() == 0
    assert router.lines[-1]["event"] == "stopped"


def test_a_destination_finishes_what_it_is_being_sent(start: Routers, pacs: Pacses) -> None:
    """SIGTERM while a PACS is about to answer: the answer is awaited, so nothing is sent twice."""
    asked, release = Event(), Event()

    def slowly(_: object) -> int:
        asked.set()
        assert release.wait(10)
        return 0

    sink = pacs(answer=slowly)
    router = start(destinations=[sink.destination(max_associations=1)])
    assert set(send(router.port, OBJECTS)) == {0}
    assert asked.wait(10)
    router.signal(signal.SIGTERM)
    router.wait_for("draining")
    release.set()
    assert router.ended() == 0
    sent = len(sink.stores)
    assert 1 <= sent < len(OBJECTS)
    router.start()
    router.until_delivered()
    assert len(sink.stores) == len(OBJECTS)
    same(ledger(OBJECTS), sink)


# Reloading


def test_sighup_puts_routes_and_destinations_in_force(start: Routers, pacs: Pacses) -> None:
    """An added destination gets new objects; what waits for a removed one is held, and goes on when it returns.

    An association that was open before is open after, under the new rules.
    """
    old, new = pacs("OLD", up=False), pacs("NEW")
    router = start(destinations=[old.destination()])
    with Modality(router.port, [OBJECTS[0].pair]) as modality:
        assert modality.store(OBJECTS[0]) == 0
        router.configure(destinations=[new.destination()])
        _reload(router)
        until(lambda: router.tally("OLD") == {"held": 1}, "what waits for the removed destination, held")
        assert modality.store(OBJECTS[1]) == 0
        until(lambda: len(new.received()) == 1, "the object at the new destination")
        old.start()
        routes = [{"when": {"Modality": "CT"}, "to": ["OLD", "NEW"]}]  # which nothing had to look for until now
        router.configure(destinations=[new.destination(), old.destination()], routes=routes)
        _reload(router)
        until(lambda: len(old.received()) == 1, "the object that was held")
        assert modality.store(OBJECTS[2]) == 0
    router.until_delivered()
    assert ledger(old.received()) == ledger([OBJECTS[0], OBJECTS[2]])
    assert ledger(new.received()) == ledger([OBJECTS[1], OBJECTS[2]])
    assert len(router.find("association accepted")) == len(router.find("association released")) == 1


def test_a_bad_configuration_never_replaces_a_good_one(start: Routers, pacs: Pacses) -> None:
    """SIGHUP with a mistake: one line says where it is, and everything goes on as before."""
    sink = pacs()
    router = start(destinations=[sink.destination()])
    good = router.path.read_text()
    router.path.write_text(good.replace('"remote_host"', '"remote_hots"'))
    router.signal(signal.SIGHUP)
    (line,) = router.wait_for("configuration refused")
    assert "router.yaml:" in line["error"]
    assert "remote_host" in line["error"]
    assert set(send(router.port, OBJECTS)) == {0}
    router.until_delivered()
    same(ledger(OBJECTS), sink)


def test_a_configuration_that_fails_its_own_tests_is_refused(start: Routers, pacs: Pacses) -> None:
    """On reload; what was given, which may be patient data, is not in the log."""
    sink = pacs()
    router = start(destinations=[sink.destination()])
    tests = [{"name": "nothing leaves", "given": {"PatientID": "DOE-1"}, "expect": "unrouted"}]
    router.configure(destinations=[sink.destination()], tests=tests)
    router.signal(signal.SIGHUP)
    (line,) = router.wait_for("configuration refused")
    assert "tests[0].expect: nothing leaves fails" in line["error"]
    assert "DOE" not in line["error"]
    assert set(send(router.port, OBJECTS[:1])) == {0}
    router.until_delivered()


def test_listeners_are_added_and_removed(start: Routers, free_port: FreePort) -> None:
    """The port of an added listener is open, that of a removed one is closed, its associations end between objects."""
    router = start(destinations=NOWHERE)
    added = free_port()
    with Modality(router.port, [OBJECTS[0].pair]) as modality:
        router.configure(destinations=NOWHERE, listen={"port": added})
        _reload(router)
        assert send(added, [OBJECTS[1]]) == [0]
        with pytest.raises(LostError):
            Modality(router.port)
        assert isinstance(modality.ending(), Aborted)


def test_a_listener_that_cannot_be_had_changes_nothing(start: Routers, free_port: FreePort) -> None:
    """A reload that wants a port that is taken is refused whole: not even its destinations are in force."""
    router = start(destinations=NOWHERE)
    before = router.path.read_text()
    taken, free = free_port(), free_port()
    listeners = [{"host": "127.0.0.1", "port": port, "allow_any": True} for port in (router.port, free, taken)]
    changed = {**json.loads(before), "listen": listeners, "destinations": [destination("ELSEWHERE", 1)]}
    router.path.write_text(json.dumps(changed))
    with socket.create_server(("127.0.0.1", taken)):
        router.signal(signal.SIGHUP)
        (line,) = router.wait_for("configuration refused")
    assert f"port {taken}" in line["error"]
    with Modality(router.port, [OBJECTS[0].pair]) as modality:
        assert modality.store(OBJECTS[0]) == 0
    with pytest.raises(LostError):
        Modality(free)
    assert router.status().keys() == {"NOWHERE"}


def test_what_cannot_change_while_it_runs(start: Routers, tmp_path: Path) -> None:
    """Another spool is refused, through the API too; the sentence says to restart."""
    router = start(destinations=NOWHERE)
    router.configure(destinations=NOWHERE, spool={"directory": str(tmp_path / "other")})
    with pytest.raises(RefusedError) as refused:
        router.client.post("/api/reload")
    assert "`spool` cannot change while the daemon runs: restart it" in refused.value.answer["problems"]
    assert not (tmp_path / "other").exists()


def _reload(router: Program) -> None:
    since = len(router.lines)
    router.signal(signal.SIGHUP)
    router.wait_for("configuration reloaded", since=since)


# Not starting


def _refused(router: Program) -> tuple[int, str]:
    """Exit code and words of a start that does not come about."""
    router.launch()
    code = router.ended()
    words, router.words = "".join(router.words), []
    return code, words


@pytest.mark.row("F22", "two daemons on one spool")
def test_one_daemon_per_spool(start: Routers, routers: Routers) -> None:
    """A second one on the same spool ends with 75 and says who has it; the first does not notice."""
    first = start(destinations=NOWHERE)
    second = routers(spool={"directory": str(first.spool)}, destinations=NOWHERE)
    code, words = _refused(second)
    assert code == os.EX_TEMPFAIL
    assert f"process {first.process.pid}" in words
    assert words.count("\n") == 1
    assert send(first.port, [OBJECTS[0]]) == [0]


def test_a_bad_configuration_says_where(routers: Routers) -> None:
    """Exit code 78; file, line and column of each mistake, and nothing else of the line: a secret may stand there."""
    router = routers(destinations=NOWHERE)
    hook = "http://hooks.example/s3cret"
    router.path.write_text(
        f"listen:\n  prot: 11112\nspool: {{reserve: lots}}\nalerts: [{{webhook: '{hook}', on: nothing}}]\n"
    )
    code, words = _refused(router)
    assert code == os.EX_CONFIG
    assert "router.yaml:2:3" in words
    assert "prot" in words
    assert "router.yaml:3:" in words
    assert "router.yaml:4:" in words
    assert "s3cret" not in words
    assert "`dicom-router check` shows the lines" in words
    assert not router.spool.exists()


def test_a_port_that_is_taken(routers: Routers) -> None:
    """Exit code 69, naming the port; the spool is free again at once."""
    router = routers(destinations=NOWHERE)
    with socket.create_server(("127.0.0.1", router.port)):
        code, words = _refused(router)
    assert code == os.EX_UNAVAILABLE
    assert str(router.port) in words
    assert words.count("\n") == 1
    router.start()


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.row("F4", "a small disk fills up, to its reserve or to its end, and is given room again")
@pytest.mark.parametrize("reserve", ["1MiB", "0B"], ids=["reserve", "disk"])
def test_a_full_spool_refuses_for_the_moment(routers: Routers, pacs: Pacses, small_disk: Path, reserve: str) -> None:
    """A700H, by the reserve or by the disk itself; what was accepted is delivered, and with room all goes on."""
    sink = pacs(up=False)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5 << 20))
    spool = {"directory": str(small_disk / "spool"), "reserve": reserve}
    with routers(spool=spool, destinations=[sink.destination()]) as router:
        router.start()
        objects = [made(number, pixels=1 << 18) for number in range(1, 21)]
        statuses = send(router.port, objects)
        taken = [each for each, status in zip(objects, statuses, strict=True) if status == 0]
        assert set(statuses) == {0x0000, 0xA700}
        assert len(taken) < 20
        assert ledger(router.spooled()) == ledger(taken)
        assert not list(router.spool.glob("**/*.part"))
        router.wait_for("instance refused", len(objects) - len(taken), status="A700H")
        ballast.unlink()
        last = made(21)
        assert send(router.port, [last]) == [0]
        sink.start()
        router.until_delivered()
        same(ledger([*taken, last]), sink)
