"""A modality: the sample objects that come with pydicom, each with a UID of its own, and their way to the router."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.part10 import read_meta
from router.dicom.sop_classes import storage_sop_classes
from router.dicom.transcode.pool import Transcoder
from router.flow.attempt import Attempt
from router.flow.pending import Result
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.instance import Identity

AE_TITLE = "MODALITY"
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Sample:
    """One object as the modality has it."""

    name: str
    path: Path
    identity: Identity
    header_size: int
    content: bytes
    """The data set."""
    cut_off: bool
    """The file ends within its last element: nobody should say that it is stored."""
    plain_image: bool = False
    """One native frame of such pixels that every lossless compression can take them."""


def samples(folder: Path) -> Sequence[Sample]:
    """Copy pydicom's samples, as far as they are objects that can be sent, to ``folder``. Blocks.

    Several are the same object in different transfer syntaxes, with one SOP Instance UID. All but the first get another
    of the same length, so that not one more byte of the file changes.
    """
    folder.mkdir()
    found: list[Sample] = []
    for path in sorted((Path(DATA_ROOT) / "test_files").iterdir()):
        if path.is_file() and (sample := _sample(path, folder, {each.identity.sop_instance for each in found})):
            found.append(sample)
    return found


def _sample(path: Path, folder: Path, taken: set[str]) -> Sample | None:
    with warnings.catch_warnings(action="ignore"):  # some of the samples are odd on purpose
        try:
            dataset = dcmread(path)
        except InvalidDicomError:
            return None
    transfer_syntax = dataset.file_meta.get("TransferSyntaxUID")
    if dataset.get("SOPClassUID") not in storage_sop_classes() or not transfer_syntax:
        return None
    content = path.read_bytes()
    meta = read_meta(path)
    uid = meta.identity.sop_instance
    if uid in taken:
        own = next(other for number in range(11, 100) if (other := f"{uid[:-2]}{number}") not in taken)
        # In a few files the two places that name the instance differ.
        for old in (uid, str(dataset.SOPInstanceUID)):
            content = content.replace(old.encode("ascii"), own.encode("ascii"))
        uid = own
    copy = folder / path.name
    copy.write_bytes(content)
    identity = Identity(meta.identity.sop_class, uid, meta.identity.transfer_syntax)
    header_size = meta.header_size
    return Sample(
        path.name, copy, identity, header_size, content[header_size:], _is_cut_off(dataset), _is_plain(dataset)
    )


def _is_cut_off(dataset: Dataset) -> bool:
    last: object = dataset.get_item(max(dataset.keys()))  # as it was read, until somebody asks for its value
    return isinstance(last, RawDataElement) and last.length not in {len(last.value or b""), _UNDEFINED}


def _is_plain(dataset: Dataset) -> bool:
    """One grey frame, in whole bytes, and as many as the description says."""
    if "PixelData" not in dataset or "NumberOfFrames" in dataset or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return False
    cells = dataset.get("Rows", 0) * dataset.get("Columns", 0)
    grey = str(dataset.get("PhotometricInterpretation")).startswith("MONOCHROME") and dataset.BitsAllocated in {8, 16}
    return grey and 0 <= len(dataset.PixelData) - cells * dataset.BitsAllocated // 8 <= 1  # it may be padded


async def send(found: Sequence[Sample], port: int, directory: Path, tell: Callable[[Result], None]) -> None:
    """Send everything to the router on loopback, byte for byte, by the same SCU that the router forwards with.

    Args:
        found: what to send.
        port: of the router.
        directory: for conversions, of which there are none: the router accepts every transfer syntax.
        tell: is called with each result.
    """
    destination = Destination(
        "the router",
        "ROUTER",
        "127.0.0.1",
        port,
        AE_TITLE,
        transfer_syntax_strategy=Strategy.EXTENDED,
        max_association_retries=0,
    )
    instances = [
        Outgoing(number, each.identity, each.path, each.header_size, each.header_size + len(each.content), digest=None)
        for number, each in enumerate(found)
    ]
    async with Attempt(destination, transcoder=Transcoder(directory), buffers=Buffers(2), journal=Journal()) as attempt:
        async with aclosing(attempt.outcomes(instances)) as results:
            async for result in results:
                tell(result)
        await attempt.release()
