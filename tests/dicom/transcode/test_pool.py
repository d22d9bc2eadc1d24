"""Conversions in worker processes: what they leave behind is what was asked for, or nothing."""

import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_process
import anyio.to_thread
import psutil  # type: ignore[import-untyped]  # no stubs among the requirements
import pytest

from router.dicom.content import Outgoing
from router.dicom.transcode import pool, worker
from router.dicom.transcode.header import LARGEST_SEQUENCE
from router.dicom.transcode.pool import NotConvertedError, Transcoder
from router.dicom.transcode.worker import WorkerError, convert
from router.model.outcome import Cause, Failed
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.peers import written

pytestmark = [pytest.mark.negotiation, pytest.mark.timeout(60), pytest.mark.usefixtures("workers_end")]

IMPLICIT = b"\x10\0\x20\0\4\0\0\0PID "
EXPLICIT = b"\x10\0\x20\0LO\4\0PID "


def stored(path: Path, content: bytes = IMPLICIT, digest: str | None = None) -> Outgoing:
    """An instance in Implicit VR Little Endian."""
    return written(path / "stored", content, IMPLICIT_VR_LITTLE_ENDIAN, digest=digest)


def workers() -> list[psutil.Process]:
    """Those of this process."""
    children = psutil.Process().children()
    return [child for child in children if any("to_process" in part for part in child.cmdline())]


def converted_files(directory: Path) -> list[str]:
    """What conversions left."""
    return [path.name for path in directory.glob("*.converted")]


async def failure_of(transcoder: Transcoder, instance: Outgoing) -> Failed:
    """Why it is not converted to Explicit VR Little Endian."""
    with pytest.raises(NotConvertedError) as raised:
        async with transcoder.converted(instance, EXPLICIT_VR_LITTLE_ENDIAN):
            pass
    return raised.value.failure


async def test_converted_for_the_time_of_a_block(tmp_path: Path) -> None:
    """Another file, another transfer syntax, the same instance; afterwards it is gone."""
    instance = stored(tmp_path)
    async with Transcoder(tmp_path).converted(instance, EXPLICIT_VR_LITTLE_ENDIAN) as converted:
        content = await anyio.Path(converted.path).read_bytes()
        assert content == EXPLICIT
        assert (converted.header_size, converted.size, converted.digest) == (0, len(EXPLICIT), None)
        assert converted.identity.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN
        assert converted.identity.sop_instance == instance.identity.sop_instance
        assert converted.number == instance.number
        assert converted_files(tmp_path)
    assert not converted_files(tmp_path)
    assert instance.path.read_bytes() == IMPLICIT


@pytest.mark.parametrize(
    ("content", "digest", "cause", "sentence"),
    [
        (IMPLICIT, "0" * 32, Cause.PAYLOAD_DAMAGED, "digest differs"),
        (IMPLICIT[:-1], None, Cause.CANNOT_CONVERT, "past the end"),
    ],
)
async def test_failures_come_back_as_they_are(
    tmp_path: Path, content: bytes, digest: str | None, cause: Cause, sentence: str
) -> None:
    """A damaged payload is not a payload that cannot be converted; no file stays."""
    failure = await failure_of(Transcoder(tmp_path), stored(tmp_path, content, digest))
    assert failure.cause is cause
    assert sentence in failure.error
    assert not converted_files(tmp_path)


async def test_missing_payload(tmp_path: Path) -> None:
    """As such, not as one that cannot be converted."""
    instance = stored(tmp_path)
    instance.path.unlink()
    assert (await failure_of(Transcoder(tmp_path), instance)).cause is Cause.PAYLOAD_MISSING


async def test_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """Says why; it is not the instance's fault."""
    failure = await failure_of(Transcoder(tmp_path / "none"), stored(tmp_path))
    assert failure.cause is Cause.LOCAL_TROUBLE
    assert "cannot be written: No such file" in failure.error


def convert_without_room(source: Outgoing, wanted: str, target: str) -> None:
    """With a disk that takes nothing more: runs in a worker process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    convert(source, wanted, target)


async def test_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is this machine's trouble and passes; no file stays."""
    monkeypatch.setattr(pool, "convert", convert_without_room)
    failure = await failure_of(Transcoder(tmp_path), stored(tmp_path))
    assert failure.cause is Cause.LOCAL_TROUBLE
    assert "cannot be written: File too large" in failure.error
    assert not converted_files(tmp_path)


async def test_idle_worker_that_died_meanwhile(tmp_path: Path) -> None:
    """Its successor converts: nobody has to wait, whether its end was noticed by then or not."""
    transcoder = Transcoder(tmp_path)
    for _ in range(2):
        async with transcoder.converted(stored(tmp_path), EXPLICIT_VR_LITTLE_ENDIAN) as converted:
            assert converted.size == len(EXPLICIT)
        for child in workers():
            child.send_signal(signal.SIGKILL)


async def test_worker_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not this object's doing: nothing had looked at it."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    failure = await failure_of(Transcoder(tmp_path), stored(tmp_path))
    assert failure.cause is Cause.LOCAL_TROUBLE
    assert "no worker process could be started" in failure.error


def convert_by_mistake(source: Outgoing, wanted: str, target: str) -> None:
    """With a defect of ours that only this object finds: runs in a worker process."""
    worker.write_converted = None  # type: ignore[assignment]  # calling it is the defect
    convert(source, wanted, target)


async def test_our_own_mistake_costs_one_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the daemon; only the kind of the error is told, as its text may quote a data set."""
    monkeypatch.setattr(pool, "convert", convert_by_mistake)
    failure = await failure_of(Transcoder(tmp_path), stored(tmp_path))
    assert failure.cause is Cause.CONVERSION_DIED
    assert failure.error == "The instance cannot be converted: TypeError in the worker process"


async def test_error_of_the_sender_removes_the_file_too(tmp_path: Path) -> None:
    """Whatever ends the block."""
    with pytest.raises(RuntimeError, match="sender"):
        async with Transcoder(tmp_path).converted(stored(tmp_path), EXPLICIT_VR_LITTLE_ENDIAN):
            raise RuntimeError("sender")
    assert not converted_files(tmp_path)


def _fifo(tmp_path: Path) -> Outgoing:
    """A payload that is never there: whoever opens it waits."""
    instance = stored(tmp_path)
    instance.path.unlink()
    os.mkfifo(instance.path)
    return instance


async def test_conversion_that_hangs(tmp_path: Path) -> None:
    """Killed at its deadline; the next conversion works."""
    transcoder = Transcoder(tmp_path, seconds=0.5)
    failure = await failure_of(transcoder, _fifo(tmp_path))
    assert failure == Failed(Cause.CONVERSION_DIED, "The instance cannot be converted: it took more than 0.5 s")
    assert not converted_files(tmp_path)
    (tmp_path / "stored").unlink()
    async with Transcoder(tmp_path).converted(stored(tmp_path), EXPLICIT_VR_LITTLE_ENDIAN) as converted:
        assert converted.size == len(EXPLICIT)


async def test_worker_that_dies(tmp_path: Path) -> None:
    """Costs one attempt, not the daemon."""
    transcoder = Transcoder(tmp_path)
    instance = _fifo(tmp_path)

    async def kill() -> None:
        while not (converted_files(tmp_path) and (found := workers())):
            await anyio.lowlevel.checkpoint()
        for child in found:
            child.send_signal(signal.SIGKILL)

    async with anyio.create_task_group() as killing:
        killing.start_soon(kill)
        failure = await failure_of(transcoder, instance)
    assert failure == Failed(Cause.CONVERSION_DIED, "The instance cannot be converted: the worker process died of it")
    assert not converted_files(tmp_path)


def limits_after(source: Outgoing, target: str) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Convert, and tell under what limits; runs in a worker process."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))  # as a service manager may have set it
    convert(source, EXPLICIT_VR_LITTLE_ENDIAN, target)
    return resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU), os.nice(0)


async def test_worker_limits_itself(tmp_path: Path) -> None:
    """Memory, processor time and priority; also below a hard limit that was there before."""
    memory, processor, niceness = await anyio.to_process.run_sync(
        limits_after, stored(tmp_path), str(tmp_path / "target")
    )
    assert memory == (worker.MEMORY, 3 << 30)
    assert niceness >= worker.NICENESS
    assert worker.PROCESSOR_SECONDS <= processor[0] <= worker.PROCESSOR_SECONDS + 20


def too_much(source: Outgoing, target: str) -> str:
    """Convert with little memory; runs in a worker process."""
    worker.MEMORY = 1 << 30
    try:
        convert(source, EXPLICIT_VR_LITTLE_ENDIAN, target)
    except WorkerError as error:
        return str(error)
    return ""


async def test_bomb_costs_one_attempt(tmp_path: Path) -> None:
    """More memory than a worker may have is an error like any other."""
    size = LARGEST_SEQUENCE
    items = b"\xfe\xff\0\xe0" + (size - 8).to_bytes(4, "little") + b"\x08\0\x08\0" + (size - 16).to_bytes(4, "little")
    bomb = replace(stored(tmp_path, b"\x08\0\x15\x11" + size.to_bytes(4, "little") + items), size=size + 8, digest=None)
    os.truncate(bomb.path, bomb.size)
    assert "MiB of memory" in await anyio.to_process.run_sync(too_much, bomb, str(tmp_path / "target"))
