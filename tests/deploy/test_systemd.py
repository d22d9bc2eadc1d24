"""systemd: what the real program tells it, what it takes over, and when the watchdog goes hungry."""

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from router.admin import Systemd, health
from router.flow.forwarders import Forwarders
from router.journal import ReloadRefused, Started
from router.model.delivery import Standing
from router.model.destination import Destination
from tests.admin.served import Served, served
from tests.daemon.conftest import FreePort, Pacses, Routers
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.sinks import destination
from tests.daemon.waiting import until

pytestmark = pytest.mark.operate

NOWHERE = destination("NOWHERE", 1)
DESTINATION = Destination("PACS", "PACS", "127.0.0.1", 1)


class Supervisor:
    """The end of the notification socket that systemd has."""

    def __init__(self, listening: socket.socket, address: str) -> None:
        listening.setblocking(False)
        self._listening = listening
        self.address = address
        self.heard: list[str] = []
        """Assignments, in order."""

    def listen(self) -> list[str]:
        """Everything that was said so far."""
        with suppress(BlockingIOError):
            while datagram := self._listening.recv(4096):
                self.heard += datagram.decode().splitlines()
        return self.heard

    def wait_for(self, assignment: str, *, since: int = 0) -> list[str]:
        """What was said from position ``since`` on, as soon as this is among it."""
        until(lambda: assignment in self.listen()[since:], f"{assignment}; heard: {self.heard[since:]}")
        return self.heard[since:]


@pytest.fixture
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervisor]:
    """On a path, or where its parameter says: ``@`` begins a name in the abstract namespace."""
    address: str = getattr(request, "param", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        yield Supervisor(listening, address)


@pytest.mark.parametrize("supervisor", [f"@dicom-router-{os.getpid()}"], ids=["abstract"], indirect=True)
def test_it_says_ready_reloading_and_stopping(
    supervisor: Supervisor, routers: Routers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a line on how everything stands; the watchdog is fed all along."""
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    router = routers(destinations=[NOWHERE])
    router.start()
    supervisor.wait_for("STATUS=1 destination, 0 in trouble, 0 waiting")
    assert "READY=1" in supervisor.heard
    assert supervisor.heard.count("WATCHDOG=1") >= 1
    before = len(supervisor.heard)
    router.signal(signal.SIGHUP)
    said = [each for each in supervisor.wait_for("READY=1", since=before) if not each.startswith("WATCHDOG")]
    assert said[0] == "RELOADING=1"
    assert said[1].startswith("MONOTONIC_USEC=")
    assert int(said[1].partition("=")[2]) > 0
    before = len(supervisor.heard)
    router.path.write_text("listen: 7")
    router.signal(signal.SIGHUP)
    supervisor.wait_for("STATUS=the new configuration is refused, the log says why", since=before)
    assert "READY=1" in supervisor.heard[before:]
    supervisor.wait_for("WATCHDOG=1", since=len(supervisor.heard))
    router.stop()
    supervisor.wait_for("STOPPING=1", since=before)


async def test_a_watchdog_of_somebody_else_is_not_fed(supervisor: Supervisor, tmp_path: Path) -> None:
    """WATCHDOG_PID names another process, as when a wrapper is supervised; the line is kept up to date all the same."""
    async with served(tmp_path) as api, anyio.create_task_group() as telling:
        telling.start_soon(_systemd(api, supervisor, WATCHDOG_PID="1").run)
        await anyio.to_thread.run_sync(supervisor.wait_for, "STATUS=0 destinations, 0 in trouble, 2 waiting")
        telling.cancel_scope.cancel()
    assert supervisor.listen() == ["STATUS=0 destinations, 0 in trouble, 2 waiting"]


async def test_without_a_supervisor_nothing_runs(supervisor: Supervisor, tmp_path: Path) -> None:
    """As in a terminal or a container."""
    async with served(tmp_path) as api:
        systemd = _systemd(api, supervisor, NOTIFY_SOCKET="")
        systemd(Started(version="1"))
        await systemd.run()


async def test_a_supervisor_that_is_gone_stops_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    """Nor one that does not read."""
    async with served(tmp_path) as api:
        _systemd(api, supervisor, NOTIFY_SOCKET=str(tmp_path / "nobody"))(Started(version="1"))
        busy = _systemd(api, supervisor)
        for _ in range(10_000):
            busy(Started(version="1"))
    assert set(supervisor.listen()) == {"READY=1"}


async def test_the_watchdog_goes_hungry_while_the_writer_hangs(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says why; as soon as it answers again the watchdog is fed."""
    async with served(tmp_path) as api, anyio.create_task_group() as telling:
        systemd = _systemd(api, supervisor)
        asked, answer = anyio.Event(), anyio.Event()

        async def slow(_: str) -> Standing:
            asked.set()
            await answer.wait()
            return Standing()

        with monkeypatch.context() as patch:
            patch.setattr(api.world.queue.standings, "standing", slow)
            patch.setattr(health, "LATE_SECONDS", 0.0)
            telling.start_soon(api.health.beat)
            await asked.wait()
            telling.start_soon(systemd.run)
            said = "STATUS=stuck: the writer of the queue does not answer"
            await anyio.to_thread.run_sync(supervisor.wait_for, said)
            assert "WATCHDOG=1" not in supervisor.heard
            answer.set()
        await anyio.to_thread.run_sync(supervisor.wait_for, "WATCHDOG=1")
        telling.cancel_scope.cancel()


async def test_the_watchdog_goes_hungry_when_a_forwarder_is_gone(supervisor: Supervisor, tmp_path: Path) -> None:
    """The line says whose."""
    async with served(tmp_path) as api, anyio.create_task_group() as telling:
        systemd = _systemd(api, supervisor)
        systemd._forwarders.configure([DESTINATION], telling)
        telling.start_soon(systemd.run)
        said = "STATUS=stuck: nothing is forwarded any more to PACS"
        await anyio.to_thread.run_sync(supervisor.wait_for, said)
        assert "WATCHDOG=1" not in supervisor.heard
        telling.cancel_scope.cancel()


async def test_the_watchdog_goes_hungry_when_a_forwarder_hangs(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it has not ended; what hangs, `tests/flow/test_forwarder.py` says."""
    monkeypatch.setattr(Ended, "hangs", True)
    monkeypatch.setattr(Ended, "told_to_stop", True)
    async with served(tmp_path) as api, anyio.create_task_group() as telling:
        systemd = _systemd(api, supervisor)
        systemd._forwarders.configure([DESTINATION], telling)
        telling.start_soon(systemd.run)
        await anyio.to_thread.run_sync(supervisor.wait_for, "STATUS=stuck: nothing is forwarded any more to PACS")
        assert "WATCHDOG=1" not in supervisor.heard
        telling.cancel_scope.cancel()


class Ended:
    """A forwarder that ends at once, though nobody told it to."""

    works = True
    told_to_stop = False
    hangs = False

    def __init__(self, destination: Destination) -> None:
        self.destination = destination

    async def run(self) -> None:
        """Nothing."""


def _systemd(api: Served, supervisor: Supervisor, **environment: str) -> Systemd:
    return Systemd(
        {"NOTIFY_SOCKET": supervisor.address, "WATCHDOG_USEC": "30000", **environment},
        health=api.health,
        forwarders=Forwarders(cast("Any", Ended)),
        desk=api.world.desk,
    )


async def test_a_reload_that_was_not_announced_says_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    """While the daemon starts, `ready` would be a lie."""
    async with served(tmp_path) as api:
        _systemd(api, supervisor)(ReloadRefused(error="the daemon is starting or stopping"))
    assert supervisor.listen() == []


def test_a_socket_of_systemd_outlives_the_daemon(routers: Routers, pacs: Pacses, free_port: FreePort) -> None:
    """Who calls while nobody runs is not refused, but served as soon as the daemon is there."""
    sink, objects = pacs(), [made(1), made(2)]
    with socket.socket() as listening, ThreadPoolExecutor(1) as calling:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port := free_port()))
        listening.listen()
        router = routers(destinations=[sink.destination()], listen={"port": port})
        router.module = ("tests.deploy.activated", str(listening.fileno()))
        router.handed_over = [listening.fileno()]
        early = calling.submit(send, port, objects[:1])
        router.start()
        assert early.result() == [0]
        assert send(port, objects[1:]) == [0]
        router.until_delivered()
        router.stop()
        with socket.create_connection(("127.0.0.1", port)):
            pass
    assert len(sink.received()) == 2


def test_a_socket_without_listener_keeps_the_daemon_from_starting(routers: Routers, free_port: FreePort) -> None:
    """Whoever called there would wait for ever."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port := free_port()))
        listening.listen()
        router = routers(destinations=[NOWHERE])
        router.module = ("tests.deploy.activated", str(listening.fileno()))
        router.handed_over = [listening.fileno()]
        router.launch()
        assert router.ended() == 78
    said = "".join(router.words)
    router.words.clear()
    assert f"127.0.0.1 port {port}" in said
    assert "`ListenStream=` and `listen:` have to agree" in said
