"""What is sent: generated series, every object with UIDs and pixels of its own."""

import io
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

LARGE = 2 * 1024**3
"""Bytes of the multi-frame object's pixel data."""

_PIXEL_DATA = 0x7FE0, 0x0010
_TWELVE_BITS = b"\xff\x0f"
"""Of each 16-bit pixel, as a CT or MR stores them."""


@dataclass(frozen=True, slots=True)
class Series:
    """Files of one kind and size."""

    name: str
    files: Sequence[Path]
    size: int
    """Bytes of one file."""

    def first(self, count: int) -> "Series":
        """The same, with at most ``count`` files: for peers that would take all day."""
        return Series(self.name, self.files[:count], self.size)

    def dealt(self, hands: int) -> Sequence[Sequence[Path]]:
        """Disjoint parts of equal length."""
        return [self.files[hand::hands] for hand in range(hands)]


def ct(folder: Path, count: int) -> Series:
    """CT images of 512 KB."""
    return _series("CT", CTImageStorage, 512, folder, count)


def mr(folder: Path, count: int) -> Series:
    """MR images of 33 KB."""
    return _series("MR", MRImageStorage, 128, folder, count)


def large(folder: Path) -> Series:
    """One object of 4096 frames. The file is sparse: a hole is read as zeros, like any other pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "large.dcm"
    image = blank(MultiFrameGrayscaleWordSecondaryCaptureImageStorage, 512)
    image.NumberOfFrames = LARGE // (512 * 512 * 2)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.{random.getrandbits(96)}")
    with path.open("wb") as file:
        image.save_as(file, enforce_file_format=True)
        file.write(struct.pack("<HH2sHI", *_PIXEL_DATA, b"OW", 0, LARGE))
        file.truncate(file.tell() + LARGE)
    return Series("2 GiB multi-frame", [path], path.stat().st_size)


def _series(name: str, sop_class: UID, edge: int, folder: Path, count: int) -> Series:
    """Written from one template: only what must differ is replaced, at the same length."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    chance = random.Random(edge)
    pixels = chance.randbytes(edge * edge * 2)
    mask = _TWELVE_BITS * (edge * edge)
    pixels = (int.from_bytes(pixels) & int.from_bytes(mask)).to_bytes(len(mask))
    stem = f"2.25.{random.getrandbits(64) | 1 << 64}"
    image = blank(sop_class, edge)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"{stem}{0:08d}")
    written = io.BytesIO()
    image.save_as(written, enforce_file_format=True)
    head = written.getvalue() + struct.pack("<HH2sHI", *_PIXEL_DATA, b"OW", 0, len(pixels))
    files = []
    for number in range(count):
        start = chance.randrange(edge * edge) * 2
        path = folder / name / f"{number:06d}.dcm"
        uid = f"{stem}{number:08d}".encode()
        path.write_bytes(head.replace(f"{stem}{0:08d}".encode(), uid) + pixels[start:] + pixels[:start])
        files.append(path)
    return Series(name, files, len(head) + len(pixels))


def blank(sop_class: UID, edge: int) -> Dataset:
    """Everything but the pixel data."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = sop_class
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = sop_class
    image.StudyDate = "20260101"
    image.StudyTime = "120000"
    image.AccessionNumber = "B1"
    image.Modality = "CT" if sop_class == CTImageStorage else "MR" if sop_class == MRImageStorage else "OT"
    image.Manufacturer = "benchmarks"
    image.StudyDescription = "Generated for a benchmark"
    image.PatientName = "Benchmark^Generated"
    image.PatientID = "BENCHMARK"
    image.StudyInstanceUID = f"2.25.{random.getrandbits(96)}"
    image.SeriesInstanceUID = f"2.25.{random.getrandbits(96)}"
    image.SeriesNumber = 1
    image.InstanceNumber = 1
    image.ImagePositionPatient = [0, 0, 0]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = [0.5, 0.5]
    image.SliceThickness = 1
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = image.Columns = edge
    image.BitsAllocated = 16
    image.BitsStored = 12
    image.HighBit = 11
    image.PixelRepresentation = 0
    return image
