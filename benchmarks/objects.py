"""What is sent: generated series, every object with UIDs and pixels of its own."""

import io
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    BreastTomosynthesisImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

_PIXEL_DATA = 0x7FE0, 0x0010


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

    def remove(self) -> None:
        """Give the memory back that its files take."""
        for file in self.files:
            file.unlink()

    def dealt(self, hands: int) -> Sequence[Sequence[Path]]:
        """Disjoint parts of equal length."""
        return [self.files[hand::hands] for hand in range(hands)]


@dataclass(frozen=True, slots=True)
class Kind:
    """What all objects of a series have in common."""

    sop_class: UID
    modality: str
    rows: int
    columns: int
    frames: int = 1

    @property
    def pixels(self) -> int:
        """Bytes of pixel data."""
        return self.rows * self.columns * 2 * self.frames


KINDS: Mapping[str, Kind] = {
    "MR": Kind(MRImageStorage, "MR", 128, 128),  # 33 KB
    "CT": Kind(CTImageStorage, "CT", 512, 512),  # 512 KB
    "mammography": Kind(DigitalMammographyXRayImageStorageForPresentation, "MG", 2048, 2048),  # 8 MB
    "tomosynthesis": Kind(BreastTomosynthesisImageStorage, "MG", 2048, 1024, 48),  # 200 MB
    "2 GiB": Kind(MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "OT", 512, 512, 4096),
}

SPARSE_FROM = 100_000_000
"""Bytes of pixels from which on a file has a hole for them: it is read as zeros, like any other pixels."""


def series(name: str, folder: Path, count: int) -> Series:
    """Files of one of ``KINDS``, written from one template: only UIDs and pixels differ."""
    kind = KINDS[name]
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    stem = f"2.25.{random.getrandbits(64) | 1 << 64}"
    image = blank(kind.sop_class, kind.rows)
    image.Columns, image.Modality = kind.columns, kind.modality
    if kind.frames > 1:
        image.NumberOfFrames = kind.frames
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"{stem}{0:08d}")
    written = io.BytesIO()
    image.save_as(written, enforce_file_format=True)
    head = written.getvalue() + struct.pack("<HH2sHI", *_PIXEL_DATA, b"OW", 0, kind.pixels)
    files = []
    chance = random.Random(kind.pixels)
    pixels = b"" if kind.pixels >= SPARSE_FROM else _noise(chance, kind.pixels)
    for number in range(count):
        path = target / f"{number:06d}.dcm"
        with path.open("wb") as file:
            file.write(head.replace(f"{stem}{0:08d}".encode(), f"{stem}{number:08d}".encode()))
            start = chance.randrange(len(pixels) // 2) * 2 if pixels else 0
            file.writelines((pixels[start:], pixels[:start]))
            file.truncate(len(head) + kind.pixels)
        files.append(path)
    return Series(name, files, len(head) + kind.pixels)


def _noise(chance: random.Random, size: int) -> bytes:
    """Of pixels with twelve bits in sixteen, as a CT or MR stores them."""
    mask = b"\xff\x0f" * (size // 2)
    return (int.from_bytes(chance.randbytes(size)) & int.from_bytes(mask)).to_bytes(size)


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
