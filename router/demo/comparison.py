"""Whether a PACS has what the modality sent; pydicom is the witness, as far as it can read both."""

import zlib
from enum import StrEnum
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from router.demo.modality import Sample
from router.demo.pacs import LITTLE_ENDIAN, Received
from router.model.transfer_syntax import Kind, TransferSyntax, transfer_syntax


class Likeness(StrEnum):
    """What the comparison of one object came to."""

    BYTES = "the same bytes"
    ELEMENTS = "the same value in every element"
    PIXELS = "the same pixels"
    UNKNOWN = "not compared"
    """Decompressed from a lossy syntax, or from one that pydicom has no decoder for here."""
    CHANGED = "changed"


def compare(sent: Sample, received: Received) -> Likeness:
    """How alike they are; a conversion may change how an object is encoded, and nothing else."""
    stored, arrived = (transfer_syntax(each.identity.transfer_syntax) for each in (sent, received))
    if stored == arrived:
        return Likeness.BYTES if received.content == sent.content else Likeness.CHANGED
    if {stored.uid, arrived.uid} <= LITTLE_ENDIAN:
        same = _in_implicit_vr(sent.content, stored) == _in_implicit_vr(received.content, arrived)
        return Likeness.ELEMENTS if same else Likeness.CHANGED
    before, after = _pixels(sent.content, stored), _pixels(received.content, arrived)
    if before is None or after is None:
        return Likeness.UNKNOWN
    return Likeness.PIXELS if before.shape == after.shape and (before == after).all() else Likeness.CHANGED


def _read(content: bytes, syntax: TransferSyntax) -> Dataset:
    stream = BytesIO(zlib.decompress(content, -zlib.MAX_WBITS) if syntax.deflated else content)
    return read_dataset(stream, not syntax.explicit_vr, syntax.little_endian)


def _in_implicit_vr(content: bytes, syntax: TransferSyntax) -> bytes:
    """A data set as pydicom writes it: one form for every element's value."""
    written = DicomBytesIO()
    written.is_implicit_VR, written.is_little_endian = True, True
    write_dataset(written, _read(content, syntax))
    return written.getvalue()


def _pixels(content: bytes, syntax: TransferSyntax) -> Any:
    """An array; None where pydicom cannot tell: without pixels, without numpy or a decoder, or lossy."""
    if syntax.kind not in {Kind.NATIVE, Kind.LOSSLESS}:
        return None
    dataset = _read(content, syntax)
    if "PixelData" not in dataset:
        return None
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax.uid)
    try:
        decoder = get_decoder(UID(syntax.uid))
        return decoder.as_array(dataset)[0] if decoder.is_available else None
    except (ImportError, NotImplementedError):
        return None
