"""Compressed instances through the worker processes: what a codec does to itself, it does to nobody else."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest
from anyio import to_process

from router.dicom.content import Outgoing
from router.dicom.transcode.pool import NotConvertedError, Transcoder
from router.dicom.transcode.worker import convert
from router.model.outcome import Cause
from tests.dicom.transcode.images import Picture
from tests.dicom.transcode.witness import EXPLICIT, J2K, JPEG_LS, converted, outgoing

pytestmark = [pytest.mark.negotiation, pytest.mark.timeout(60), pytest.mark.usefixtures("workers_end")]

PICTURE = Picture(np.random.default_rng(3).integers(0, 4000, (4, 100, 100, 1)).astype("<u2"))


def left_behind(directory: Path) -> list[Path]:
    """What conversions left."""
    return list(directory.glob("*.converted"))


@pytest.fixture
def native(tmp_path: Path) -> Outgoing:
    """An image as it is."""
    return outgoing(PICTURE.write(tmp_path / "original"))


@pytest.fixture
def compressed(native: Outgoing, tmp_path: Path) -> Outgoing:
    """The image as JPEG 2000."""
    return outgoing(converted(native.path, J2K, tmp_path))


@pytest.fixture
def damaged(tmp_path: Path) -> Outgoing:
    """An image whose frames are none."""
    return outgoing(PICTURE.write(tmp_path / "damaged", JPEG_LS, [b"\xff\xd8\xff\xf7"] * 4))


async def test_decompressed_in_a_worker(compressed: Outgoing, native: Outgoing, tmp_path: Path) -> None:
    """The data set comes back."""
    async with Transcoder(tmp_path).converted(compressed, EXPLICIT) as back:
        content = await anyio.Path(back.path).read_bytes()
    assert content == (await anyio.Path(native.path).read_bytes())[native.header_size :]


async def test_refusal_comes_back_as_it_is(damaged: Outgoing, tmp_path: Path) -> None:
    """With its reason, and no file."""
    with pytest.raises(NotConvertedError, match="frame 1: it has no frame header") as raised:
        async with Transcoder(tmp_path).converted(damaged, EXPLICIT):
            pass
    assert raised.value.failure.cause is Cause.CANNOT_CONVERT
    assert not left_behind(tmp_path)


async def test_payload_that_changed_on_disk(compressed: Outgoing, tmp_path: Path) -> None:
    """Is told from one that cannot be converted, though its pixels were looked at before its digest was known."""
    with pytest.raises(NotConvertedError, match="digest differs") as raised:
        async with Transcoder(tmp_path).converted(replace(compressed, digest="0" * 32), EXPLICIT):
            pass
    assert raised.value.failure.cause is Cause.PAYLOAD_DAMAGED


def crash() -> None:
    """As a codec might; runs in a worker process."""
    os.kill(os.getpid(), signal.SIGSEGV)


async def test_crash_of_a_codec(native: Outgoing, tmp_path: Path) -> None:
    """The worker is replaced; the next conversion works."""
    with pytest.raises(anyio.BrokenWorkerProcess):
        await to_process.run_sync(crash)
    async with Transcoder(tmp_path).converted(native, JPEG_LS) as there:
        assert there.size > 0


def chatter(source: Outgoing, target: str) -> None:
    """Convert as usual, and warn more than a pipe holds; runs in a worker process."""
    convert(source, JPEG_LS, target)
    os.write(2, bytes(1 << 20))


async def test_warnings_of_codecs(native: Outgoing, tmp_path: Path) -> None:
    """Go nowhere: nobody reads them, and a full pipe would stop the worker."""
    with anyio.fail_after(30):
        await to_process.run_sync(chatter, native, str(tmp_path / "target"), cancellable=True)


async def test_codecs_stay_out_of_the_daemon() -> None:
    """Who asks for a conversion does not load what does it."""
    script = "import sys, router.dicom.transcode.pool; sys.exit('imagecodecs' in sys.modules)"
    await anyio.run_process([sys.executable, "-c", script], check=True)
