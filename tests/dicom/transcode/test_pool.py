"""Conversions in worker processes: what they leave behind is what was asked for, or nothing."""

import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_process
import anyio.to_thread
import psutil  # type: ignore[import-untyped]  # no stubs among the requirements
import pytest

from router.dicom.content import ContentError, Outgoing
from router.dicom.transcode import worker
from router.dicom.transcode.header import LARGEST_SEQUENCE, ConversionError
from router.dicom.transcode.pool import Transcoder
from router.dicom.transcode.worker import convert
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dicom.peers import written

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60), pytest.mark.usefixtures("workers_end")]

IMPLICIT = b"\x10\0\x20\0\4\0\0\0PID "
EXPLICIT = b"\x10\0\x20\0LO\4\0PID "


def stored(path: Path, content: bytes = IMPLICIT, digest: str | None = None) -> Outgoing:
    """An instance in Implicit VR Little Endian."""
    return written(path / "stored", content, IMPLICIT_VR_LITTLE_ENDIAN, digest=digest)


def converted_files(directory: Path) -> list[str]:
    """What conversions left."""
    return [path.name for path in directory.glob("*.converted")]


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
    ("content", "digest", "error", "sentence"),
    [
        (IMPLICIT, "0" * 32, ContentError, "digest differs"),
        (IMPLICIT[:-1], None, ConversionError, "past the end"),
    ],
)
async def test_failures_come_back_as_they_are(
    tmp_path: Path, content: bytes, digest: str | None, error: type[Exception], sentence: str
) -> None:
    """A damaged payload is not a payload that cannot be converted; no file stays."""
    with pytest.raises(error, match=sentence):
        async with Transcoder(tmp_path).converted(stored(tmp_path, content, digest), EXPLICIT_VR_LITTLE_ENDIAN):
            pass
    assert not converted_files(tmp_path)


async def test_missing_payload(tmp_path: Path) -> None:
    """As damaged."""
    instance = stored(tmp_path)
    instance.path.unlink()
    with pytest.raises(ContentError, match="cannot be read"):
        async with Transcoder(tmp_path).converted(instance, EXPLICIT_VR_LITTLE_ENDIAN):
            pass


async def test_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """Says why."""
    with pytest.raises(ConversionError, match="cannot be written: No such file"):
        async with Transcoder(tmp_path / "none").converted(stored(tmp_path), EXPLICIT_VR_LITTLE_ENDIAN):
            pass


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
    with pytest.raises(ConversionError, match=r"more than 0\.5 s"):
        async with transcoder.converted(_fifo(tmp_path), EXPLICIT_VR_LITTLE_ENDIAN):
            pass
    assert not converted_files(tmp_path)
    (tmp_path / "stored").unlink()
    async with Transcoder(tmp_path).converted(stored(tmp_path), EXPLICIT_VR_LITTLE_ENDIAN) as converted:
        assert converted.size == len(EXPLICIT)


async def test_worker_that_dies(tmp_path: Path) -> None:
    """Costs one attempt, not the daemon."""
    transcoder = Transcoder(tmp_path)
    instance = _fifo(tmp_path)

    def workers() -> list[psutil.Process]:
        children = psutil.Process().children()
        return [child for child in children if any("to_process" in part for part in child.cmdline())]

    async def kill() -> None:
        while not (found := workers()):
            await anyio.lowlevel.checkpoint()
        for child in found:
            child.send_signal(signal.SIGKILL)

    with pytest.raises(ConversionError, match="worker process died"):  # noqa: PT012 -- killed while it waits
        async with anyio.create_task_group() as killing:
            killing.start_soon(kill)
            try:
                async with transcoder.converted(instance, EXPLICIT_VR_LITTLE_ENDIAN):
                    pass
            except ConversionError as died:
                error = died
        raise error
    assert not converted_files(tmp_path)


def limits_after(source: Outgoing, target: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Convert, and tell under what limits; runs in a worker process."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))  # as a service manager may have set it
    convert(source, EXPLICIT_VR_LITTLE_ENDIAN, target)
    return resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU)


async def test_worker_limits_itself(tmp_path: Path) -> None:
    """Memory and processor time; also below a hard limit that was there before."""
    memory, processor = await anyio.to_process.run_sync(limits_after, stored(tmp_path), str(tmp_path / "target"))
    assert memory == (worker.MEMORY, 3 << 30)
    assert worker.PROCESSOR_SECONDS <= processor[0] <= worker.PROCESSOR_SECONDS + 20


def too_much(source: Outgoing, target: str) -> str:
    """Convert with little memory; runs in a worker process."""
    worker.MEMORY = 1 << 30
    try:
        convert(source, EXPLICIT_VR_LITTLE_ENDIAN, target)
    except ConversionError as error:
        return str(error)
    return ""


async def test_bomb_costs_one_attempt(tmp_path: Path) -> None:
    """More memory than a worker may have is an error like any other."""
    size = LARGEST_SEQUENCE
    items = b"\xfe\xff\0\xe0" + (size - 8).to_bytes(4, "little") + b"\x08\0\x08\0" + (size - 16).to_bytes(4, "little")
    bomb = replace(stored(tmp_path, b"\x08\0\x15\x11" + size.to_bytes(4, "little") + items), size=size + 8, digest=None)
    os.truncate(bomb.path, bomb.size)
    assert "MiB of memory" in await anyio.to_process.run_sync(too_much, bomb, str(tmp_path / "target"))
