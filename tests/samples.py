"""The DICOM objects that pydicom and pydicom-data bring along, as far as a Storage SCU can send them."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom.data.data_manager import DATA_ROOT, external_data_sources
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread
from pydicom.uid import MediaStorageDirectoryStorage


@dataclass(frozen=True, slots=True)
class Sample:
    """One Part 10 file, with the SOP class and instance of its data set and the transfer syntax of its file meta."""

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str


def _sample(path: Path) -> Sample | None:
    """The object in ``path``; None when it is not one that can be sent (no file meta information, a DICOMDIR, …)."""
    with warnings.catch_warnings(action="ignore"):
        try:
            dataset = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        except InvalidDicomError:
            return None
        sop_class, sop_instance = dataset.get("SOPClassUID"), dataset.get("SOPInstanceUID")
        transfer_syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not (sop_class and sop_instance and transfer_syntax) or sop_class == MediaStorageDirectoryStorage:
        return None
    return Sample(path, str(sop_class), str(sop_instance), str(transfer_syntax))


def _all(paths: Iterator[Path]) -> tuple[Sample, ...]:
    return tuple(sample for path in sorted(paths) if path.is_file() and (sample := _sample(path)) is not None)


@cache
def samples() -> tuple[Sample, ...]:
    """Small objects of many kinds, 2 MB together; some share a SOP Instance UID."""
    return _all((Path(DATA_ROOT) / "test_files").glob("*"))


@cache
def large_samples() -> tuple[Sample, ...]:
    """Objects of up to 7 MB, multi-frame and colour ones among them, 58 MB together."""
    return _all(Path(path) for path in external_data_sources()["pydicom-data"].get_paths("*.dcm", 0))
