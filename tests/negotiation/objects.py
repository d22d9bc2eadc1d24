"""What is sent: the samples of pydicom and pydicom-data, and of the transfer syntaxes that these lack one made here."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.data import get_testdata_file

from router.dicom.content import Outgoing
from tests.dicom.transcode.images import Cells, Picture
from tests.dicom.transcode.test_samples import REFUSALS
from tests.dicom.transcode.witness import HTJ2K, HTJ2K_LOSSY, HTJ2K_RPCL, JPEG, LOSSLESS, outgoing
from tests.samples import large_samples, samples

MPEG2, MPEG4 = JPEG + "100", JPEG + "102"
CELLS: Cells = np.random.default_rng(3).integers(0, 4000, (2, 40, 50, 1)).astype("<u2")


@dataclass(frozen=True, slots=True)
class Object:
    """A Part 10 file, ready to be sent."""

    name: str
    outgoing: Outgoing

    @property
    def stored(self) -> str:
        """Its transfer syntax."""
        return self.outgoing.identity.transfer_syntax

    def exception(self, target: str) -> bool:
        """Whether this very object cannot be converted, where others of its transfer syntax can."""
        return any(refusal.covers(self.name, target) for refusal in REFUSALS)


def all_objects(directory: Path, dcmcjpeg: Path) -> Sequence[Object]:
    """Every one.

    Args:
        directory: for those that are made or changed.
        dcmcjpeg: DCMTK's program.
    """
    paths = [*(_even(sample.path, directory) for sample in (*samples(), *large_samples())), *_made(directory, dcmcjpeg)]
    return [Object(path.name, outgoing(path)) for path in paths]


def one_of_each(objects: Sequence[Object]) -> Sequence[Object]:
    """The smallest of each transfer syntax, an ordinary one if there is one."""
    chosen: dict[str, Object] = {}
    for each in sorted(objects, key=lambda each: (_exceptional(each), each.outgoing.size)):
        chosen.setdefault(each.stored, each)
    return list(chosen.values())


def _exceptional(each: Object) -> bool:
    return any(target != each.stored and each.exception(target) for refusal in REFUSALS for target in refusal.targets)


def _even(path: Path, directory: Path) -> Path:
    """A data set that was cut short gets a byte more: DCMTK aborts when fragments have an odd length (PS3.8 E.1)."""
    instance = outgoing(path)
    if (instance.size - instance.header_size) % 2 == 0:
        return path
    copy = directory / path.name
    copy.write_bytes(path.read_bytes() + b"\0")
    return copy


def _made(directory: Path, dcmcjpeg: Path) -> Iterator[Path]:
    lossless = directory / "MR_small.jpeg_lossless.dcm"
    source = get_testdata_file("MR_small.dcm", download=False)
    subprocess.run([dcmcjpeg, "+el", str(source), lossless], check=True, capture_output=True)
    assert outgoing(lossless).identity.transfer_syntax == LOSSLESS
    yield lossless
    frames = [bytes(imagecodecs.htj2k_encode(plane[:, :, 0])) for plane in CELLS]
    for syntax in (HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY):
        yield Picture(CELLS).write(directory / f"htj2k.{syntax[len(JPEG) :]}.dcm", syntax, frames)
    for syntax in (MPEG2, MPEG4):  # nobody decodes it on the way: any bytes will do
        yield Picture(CELLS).write(directory / f"video.{syntax[len(JPEG) :]}.dcm", syntax, [bytes(range(256)) * 40])
