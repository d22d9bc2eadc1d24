"""Lossless conversion: from file to file in this process, beside the codec library alone; and what it costs the others.

Turns are timed in CPU seconds, which is what throughput per core means: nothing runs beside the one thread.
"""

import random
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, MRImageStorage, UltrasoundMultiFrameImageStorage

from benchmarks import objects, peers, scu
from benchmarks.figures import Measured, Sample, Table, Turn, at_least, compete
from benchmarks.objects import Series
from benchmarks.peers import BenchmarkError, Server
from benchmarks.program import FORWARD, Router, another
from benchmarks.scale import Scale
from router.cli.files import find
from router.dicom.content import Outgoing
from router.dicom.transcode.worker import write_converted
from router.model.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)

Pixels = npt.NDArray[np.unsignedinteger]

LEAST_SECONDS = 0.06
"""Of a turn, in CPU time: objects are converted again until so much has passed."""
SIGNIFICANT_BITS = 12
TENTH = 10
MIXED = 300
"""Objects of the mixed queue."""


@dataclass(frozen=True, slots=True)
class Bare:
    """A codec as its library has it, frame by frame."""

    uid: str
    decode: Callable[[bytes | bytearray, Pixels], object]
    """A frame, and an array of the shape and type that comes out; an array, or its bytes."""
    encode: Callable[[Pixels], bytes | bytearray]
    recompresses: bool = True
    """Whether the router encodes it, too."""


def _colours(frame: Pixels) -> str | None:
    """The same colour space before and after: samples are not transformed."""
    return "RGB" if frame.ndim > 2 else None


def _bits(frame: Pixels) -> int:
    return SIGNIFICANT_BITS if frame.itemsize > 1 else 8


def _rle(frame: Pixels) -> bytes:
    """The library packs bits, and has no RLE frames: byte planes, most significant first (PS3.5 annex G)."""
    planes = frame.view("u1").reshape(*frame.shape[:2], -1, frame.itemsize)
    segments = []
    for sample, byte in np.ndindex(planes.shape[2:]):
        packed = imagecodecs.packbits_encode(planes[:, :, sample, frame.itemsize - 1 - byte].copy())
        segments.append(packed + bytes(len(packed) % 2))
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *bytes(15 - len(segments))) + b"".join(segments)


CODECS: Mapping[str, Bare] = {
    "JPEG 2000": Bare(
        JPEG_2000_LOSSLESS,
        lambda frame, _: imagecodecs.jpeg2k_decode(frame, planar=False, numthreads=1),
        lambda frame: imagecodecs.jpeg2k_encode(
            frame,
            codecformat="J2K",
            bitspersample=_bits(frame),
            reversible=True,
            mct=frame.ndim > 2,
            planar=False,
            numthreads=1,
        ),
    ),
    "JPEG-LS": Bare(
        JPEG_LS_LOSSLESS,
        lambda frame, _: imagecodecs.jpegls_decode(frame),
        imagecodecs.jpegls_encode,
    ),
    "JPEG Lossless": Bare(
        JPEG_LOSSLESS_SV1,
        lambda frame, like: imagecodecs.jpeg8_decode(frame, colorspace=_colours(like), outcolorspace=_colours(like)),
        lambda frame: imagecodecs.jpeg8_encode(
            frame,
            lossless=True,
            predictor=1,
            bitspersample=8 * frame.itemsize,
            colorspace=_colours(frame),
            outcolorspace=_colours(frame),
        ),
        recompresses=False,
    ),
    "RLE": Bare(
        RLE_LOSSLESS,
        lambda frame, like: imagecodecs.dicomrle_decode(frame, like.dtype),
        _rle,
    ),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One native object."""

    name: str
    dataset: Dataset
    frames: Sequence[Pixels]

    @property
    def megabytes(self) -> float:
        """Of native pixels."""
        return sum(frame.nbytes for frame in self.frames) / 1e6

    @property
    def colour(self) -> bool:
        """Whether its pixels have three samples."""
        return self.frames[0].ndim > 2

    def _write(self, path: Path, pixels: bytes, transfer_syntax: str) -> Outgoing:
        self.dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
        self.dataset.PixelData = pixels
        self.dataset["PixelData"].is_undefined_length = transfer_syntax != EXPLICIT_VR_LITTLE_ENDIAN
        self.dataset["PixelData"].VR = "OW" if self.dataset.BitsAllocated == 16 else "OB"
        self.dataset.save_as(path, enforce_file_format=True)
        return find([path]).instances[0]

    def native(self, path: Path) -> Outgoing:
        """Write it uncompressed."""
        self.dataset.PhotometricInterpretation = "RGB" if self.colour else "MONOCHROME2"
        return self._write(path, b"".join(frame.tobytes() for frame in self.frames), EXPLICIT_VR_LITTLE_ENDIAN)

    def compressed(self, path: Path, frames: Sequence[bytes | bytearray], transfer_syntax: str) -> Outgoing:
        """Write it in a compressed transfer syntax."""
        transformed = self.colour and transfer_syntax == JPEG_2000_LOSSLESS
        self.dataset.PhotometricInterpretation = "YBR_RCT" if transformed else "RGB" if self.colour else "MONOCHROME2"
        return self._write(path, encapsulate([*map(bytes, frames)]), transfer_syntax)


def pictures() -> Sequence[Picture]:
    """A CT and an MR image, and 30 frames of ultrasound in colour."""
    chance = np.random.default_rng(3)
    return (
        _grey("CT", _blank(CTImageStorage, 512), chance),
        _grey("MR", _blank(MRImageStorage, 256), chance),
        _ultrasound(_blank(UltrasoundMultiFrameImageStorage, 256), chance),
    )


def _blank(sop_class: UID, edge: int) -> Dataset:
    dataset = objects.blank(sop_class, edge)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.{random.getrandbits(96)}")
    return dataset


def _grey(name: str, dataset: Dataset, chance: np.random.Generator) -> Picture:
    shape = _shape(dataset.Rows, 0)
    noise = chance.normal(0, 8, shape.shape)
    return Picture(name, dataset, [np.where(shape > 0.05, 3000 * shape + noise, 0).clip(0, 4095).astype("<u2")])


def _ultrasound(dataset: Dataset, chance: np.random.Generator) -> Picture:
    dataset.Modality = "US"
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.NumberOfFrames = 30
    frames = []
    for number in range(30):
        shape = _shape(dataset.Rows, number)
        grey = np.where(shape > 0.05, 200 * shape + chance.normal(0, 4, shape.shape), 0)
        tinted = grey[:, :, None] * np.array([1.0, 0.95, 0.85])
        frames.append(tinted.clip(0, 255).astype("u1"))
    return Picture("US", dataset, frames)


def _shape(edge: int, moved: int) -> npt.NDArray[np.float64]:
    """Something smooth on a black background, from 0 to 1."""
    across, down = np.meshgrid(np.linspace(-1, 1, edge), np.linspace(-1, 1, edge))
    body = 1 - (across / 0.9) ** 2 - (down / 0.7) ** 2
    inside = 0.6 + 0.2 * np.sin(7 * across + moved / 5) * np.cos(9 * down) + 0.2 * np.sin(23 * across * down)
    return np.where(body > 0, inside * np.minimum(1, 8 * body), 0)


# One core

OURS, BARE = "router", "imagecodecs, frame by frame"
FILES = "imagecodecs between a read and a write"

SUBJECT = "conversion"


def measure(scale: Scale, memory: Path, _: Path) -> Measured:
    """Decompress and recompress every kind of picture with every codec; then a queue in which some is converted."""
    measured = Measured()
    folder = memory / "conversion"
    folder.mkdir()
    rows = []
    for picture in pictures():
        for way, codec, turns in _converting(picture, folder):
            figures = compete(f"{way} {picture.name}, {codec}", turns, scale.rounds)
            ours, bare = figures[OURS], figures[BARE]
            measured.goals.append(at_least(SUBJECT, ours, "imagecodecs", bare.rate, 0.8))
            rates = [figures[each].rate for each in (OURS, BARE, FILES)]
            reached = [f"{rate / bare.rate:.2f}" for rate in (ours.rate, figures[FILES].rate)]
            rows.append((ours.what, *[f"{rate * picture.megabytes:,.0f}" for rate in rates], *reached))
    columns = (
        "MB/s of one core", "router", "imagecodecs", "between a read and a write",
        "router ÷ imagecodecs", "the most that can be reached",
    )  # fmt: skip
    measured.tables.append(Table("Native pixels converted, of one thread", columns, rows))
    with mixing(memory) as turns:
        figures = compete("CT, a mixed queue", turns, scale.rounds)
    measured.figures += figures.values()
    measured.goals.append(at_least(SUBJECT, figures[MIXED_QUEUE], PLAIN_QUEUE, figures[PLAIN_QUEUE].rate, 0.9))
    return measured


def _converting(picture: Picture, folder: Path) -> Iterator[tuple[str, str, dict[str, Turn]]]:
    """Both ways with every codec: the turns of all contenders."""
    native = picture.native(folder / f"{picture.name}.dcm")
    target = folder / "converted.dcm"
    for name, codec in CODECS.items():
        frames = [codec.encode(frame) for frame in picture.frames]
        compressed = picture.compressed(folder / f"{picture.name}, {name}.dcm", frames, codec.uid)
        _verify(compressed, picture, target)
        decode = partial(_decode_all, codec, frames, picture.frames)
        yield (
            "decompress",
            name,
            {
                OURS: _router(compressed, EXPLICIT_VR_LITTLE_ENDIAN, target),
                BARE: _timed(decode),
                FILES: _between_files(decode, compressed, native.size, target),
            },
        )
        if codec.recompresses:
            encode = partial(_encode_all, codec, picture.frames)
            yield (
                "recompress",
                name,
                {
                    OURS: _router(native, codec.uid, target),
                    BARE: _timed(encode),
                    FILES: _between_files(encode, native, compressed.size, target),
                },
            )


def _verify(compressed: Outgoing, picture: Picture, target: Path) -> None:
    """What the router decompresses is what was compressed here."""
    write_converted(compressed, EXPLICIT_VR_LITTLE_ENDIAN, str(target))
    if not target.read_bytes().endswith(b"".join(frame.tobytes() for frame in picture.frames)):
        raise BenchmarkError(f"the pixels of {compressed.path.name} do not come back")
    target.unlink()


def _decode_all(codec: Bare, frames: Sequence[bytes | bytearray], like: Sequence[Pixels]) -> None:
    for frame, original in zip(frames, like, strict=True):
        codec.decode(frame, original)


def _encode_all(codec: Bare, frames: Sequence[Pixels]) -> None:
    """And decode: every lossless encoding is verified."""
    for frame in frames:
        codec.decode(codec.encode(frame), frame)


def _router(source: Outgoing, wanted: str, target: Path) -> Turn:
    def convert() -> None:
        write_converted(source, wanted, str(target))
        target.unlink()

    return _timed(convert)


def _between_files(convert: Callable[[], None], source: Outgoing, size: int, target: Path) -> Turn:
    """The codec, and before and behind it what every conversion from file to file needs: a read, a write, an unlink."""
    result = bytes(size)

    def turn() -> None:
        source.path.read_bytes()
        convert()
        target.write_bytes(result)
        target.unlink()

    return _timed(turn)


def _timed(convert: Callable[[], None]) -> Turn:
    def turn() -> Sample:
        began = time.process_time()
        done = 0
        while (used := time.process_time() - began) < LEAST_SECONDS or not done:
            convert()
            done += 1
        return Sample(done, used, cpu=used)

    return turn


# A mixed queue

MIXED_QUEUE = "router, a tenth of JPEG 2000 to convert among them"
PLAIN_QUEUE = "router, without that tenth"


@contextmanager
def mixing(memory: Path) -> Iterator[dict[str, Turn]]:
    """Forward native CT images to a peer that takes only native ones; and the same with JPEG 2000 among them."""
    with ExitStack() as ends:
        sink = ends.enter_context(peers.sink())  # DCMTK's default: the native transfer syntaxes
        router = ends.enter_context(Router(memory / "router", [sink]))
        plain = objects.series("CT", memory / "objects", MIXED - MIXED // TENTH)
        folder = memory / "objects" / "compressed"
        folder.mkdir()
        files = [*plain.files]
        for number in range(MIXED // TENTH):
            files.insert(number * TENTH, _fresh_jpeg_2000(folder, number))
        mixed = Series("mixed", files, plain.size)
        yield {
            PLAIN_QUEUE: _drain(router, sink, plain, len(plain.files)),
            MIXED_QUEUE: _drain(router, sink, mixed, len(plain.files)),
        }


def _fresh_jpeg_2000(folder: Path, number: int) -> Path:
    picture = _grey("CT", _blank(CTImageStorage, 512), np.random.default_rng(number))
    path = folder / f"{number:06d}.dcm"
    frames = [CODECS["JPEG 2000"].encode(frame) for frame in picture.frames]
    picture.compressed(path, frames, JPEG_2000_LOSSLESS)
    return path


def _drain(router: Router, sink: Server, series: Series, plain: int) -> Turn:
    """As in ``forward``, but to the last success of those that are not converted."""

    def turn() -> Sample:
        sink.wait_idle()
        sink.pause()
        scu.send(router.port, another(FORWARD), [series.files])
        router.skip_log()
        cpu = router.cpu()
        began = time.time()
        sink.proceed()
        router.wait_delivered(len(series.files))
        sent = router.delivered_as_stored()
        if len(sent) != plain:
            raise BenchmarkError(f"{len(sent)} instances were sent as they are, of {plain}")
        sample = Sample(plain, max(sent) - began, series.size, cpu=router.cpu() - cpu)
        router.clear()
        return sample

    return turn
