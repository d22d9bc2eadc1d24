"""DICOM objects to send: what identifies one, and the bytes of its data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from router.dicom import part10
from router.model.instance import Identity
from tests.samples import samples

UNREADABLE = frozenset(
    {"MR_truncated.dcm", "rtplan_truncated.dcm", "SC_rgb_jpeg.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"}
)
"""Samples that end early, are not in their transfer syntax, or have UIDs of VR UN: DCMTK sends other things or none."""


@dataclass(frozen=True, slots=True)
class Object:
    """A Part 10 file: what it is, and its data set as it stands behind the file meta information."""

    identity: Identity
    head: bytes
    dataset: bytes

    @property
    def uid(self) -> str:
        """The SOP Instance UID."""
        return self.identity.sop_instance

    @property
    def pair(self) -> tuple[str, str]:
        """What a presentation context for it has to name."""
        return self.identity.sop_class, self.identity.transfer_syntax

    def write(self, path: Path) -> Path:
        """Write the file, for a modality that reads files."""
        path.write_bytes(self.head + self.dataset)
        return path


def read(path: Path) -> Object:
    """The object in a Part 10 file."""
    meta = part10.read_meta(path)
    content = path.read_bytes()
    return Object(meta.identity, content[: meta.header_size], content[meta.header_size :])


def read_all(paths: Iterator[Path]) -> list[Object]:
    """The objects in several files."""
    return [read(path) for path in sorted(paths)]


def sample_objects(*, readable: bool = False) -> Sequence[Object]:
    """The samples of pydicom, each with a SOP Instance UID of its own: many of them share one.

    Two data sets get a byte more: fragments have an even length (PS3.8 E.1), and DCMTK aborts when one has not.

    Args:
        readable: only those that a modality can send that reads what it sends.
    """
    taken: set[str] = set()
    objects = []
    for number, sample in enumerate(samples()):
        if readable and sample.path.name in UNREADABLE:
            continue
        found = read(sample.path)
        if {sample.sop_instance, found.uid} & taken:
            found = _renamed(found, sample.sop_instance, f"2.25.{number + 101}")
        taken |= {sample.sop_instance, found.uid}
        objects.append(replace(found, dataset=found.dataset + bytes(len(found.dataset) % 2)))
    return objects


def _renamed(one: Object, in_dataset: str, prefix: str) -> Object:
    """With another UID of the same length, so that nothing else has to change."""
    uid = prefix.ljust(len(one.uid), "0")
    if len(in_dataset) != len(uid) or in_dataset.encode() not in one.dataset:
        raise ValueError(f"{one.uid} cannot be replaced in place")
    return Object(
        replace(one.identity, sop_instance=uid),
        one.head.replace(one.uid.encode(), uid.encode()),
        one.dataset.replace(in_dataset.encode(), uid.encode()),
    )


def made(number: int = 1, *, pixels: int = 512, **attributes: object) -> Object:
    """A small native CT image.

    Args:
        number: makes its UID and its pixels.
        pixels: bytes of pixel data, a multiple of 512.
        attributes: by keyword, in place of its own.
    """
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = f"2.25.4711{number:08}"
    image.StudyInstanceUID = "2.25.4710"
    image.SeriesInstanceUID = "2.25.4709"
    image.PatientName, image.PatientID = "Nobody^At^All", "0"
    image.Modality = "CT"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels // 512, 256
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = bytes(value % 251 for value in range(number, number + pixels))
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dcmwrite(file, image, enforce_file_format=True)
    content = file.getvalue()
    # The group length (0002,0000) stands first, and says where the file meta information ends (PS3.10 7.1).
    end = 144 + int.from_bytes(content[140:144], "little")
    identity = Identity(str(image.SOPClassUID), str(image.SOPInstanceUID), ExplicitVRLittleEndian)
    return Object(identity, content[:end], content[end:])
