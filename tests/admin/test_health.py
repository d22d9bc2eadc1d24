"""Alive and ready: what a supervisor and a load balancer ask."""

import errno
import os

import anyio
import pytest

from router.admin import health
from router.durable.disk import Disk
from router.durable.queue import QueueError
from router.model.delivery import Standing
from tests.admin.served import Served

pytestmark = pytest.mark.unit


async def test_a_daemon_that_can_receive_is_ready(api: Served) -> None:
    """No reason against it."""
    await api.health.beat()
    assert await api.ask("GET", "/readyz") == (200, {"ready": True, "reasons": []})


async def test_a_daemon_without_listeners_is_not_ready(api: Served) -> None:
    """Before they are open, and from the first moment of a drain."""
    api.listening = False
    reason = "the daemon is starting or stopping: its listeners are not open"
    assert await api.ask("GET", "/readyz") == (503, {"ready": False, "reasons": [reason]})


async def test_a_full_disk_is_not_ready(api: Served) -> None:
    """It would answer A700H."""
    api.reserve = 1 << 62
    assert await api.health.reasons() == ["the spool has reached its reserve of free space"]


async def test_a_queue_that_cannot_be_written_is_not_ready(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it can be again."""

    async def broken(_: str) -> Standing:
        raise QueueError("its last write failed and the disk has not recovered")

    with monkeypatch.context() as patch:
        patch.setattr(api.world.queue.standings, "standing", broken)
        await api.health.beat()
    assert await api.health.reasons() == ["the queue cannot be written: see to the disk; the log says more"]
    await api.health.beat()
    assert await api.health.reasons() == []


async def test_a_writer_that_does_not_answer_is_not_ready(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs in an fsync, or its thread is gone."""
    asked, answer = anyio.Event(), anyio.Event()

    async def slow(_: str) -> Standing:
        asked.set()
        await answer.wait()
        return Standing()

    monkeypatch.setattr(api.world.queue.standings, "standing", slow)
    async with anyio.create_task_group() as beating:
        beating.start_soon(api.health.beat)
        await asked.wait()
        assert await api.health.reasons() == []
        monkeypatch.setattr(health, "LATE_SECONDS", 0.0)
        assert await api.health.reasons() == ["the writer of the queue has not answered for more than 0 s"]
        answer.set()
    assert await api.health.reasons() == []


def _io_error(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("call", ["fsync", "fsync_directory"])
async def test_after_a_failed_fsync_it_is_not_ready_until_one_succeeds(
    api: Served, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next beat tries the disk with a file of its own, which it removes."""
    with monkeypatch.context() as patch:
        patch.setattr(Disk, call, _io_error)
        patch.setattr(Disk, "fsync", _io_error)
        with pytest.raises((OSError, QueueError)):
            await api.world.accepted("PACS", sop_instance="2.25.15")
        if call == "fsync_directory":
            assert api.disk.failed
        await api.health.beat()
        reason = "an fsync in the spool failed, and none has succeeded since: see to the disk"
        assert await api.health.reasons() == [reason]
        assert not (api.world.directory / "trial").exists()
    await api.health.beat()
    assert await api.health.reasons() == []
    assert not (api.world.directory / "trial").exists()


async def test_beats_go_on_and_tell_how_late_the_loop_is(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a beat came too late."""
    beats = 0

    async def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            beating.cancel_scope.cancel()

    monkeypatch.setattr(health, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(api.health, "beat", beat)
    times = iter([100.0, 100.0, 200.0, 203.5, 300.0])
    monkeypatch.setattr(anyio, "current_time", lambda: next(times))
    async with anyio.create_task_group() as beating:
        beating.start_soon(api.health.run)
    assert api.health.lag == 3.5
