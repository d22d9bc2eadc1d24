"""The witness of the demonstration: it must notice a change."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.uid import ImplicitVRLittleEndian

from router.demo.comparison import Likeness, compare
from router.demo.modality import Sample
from router.demo.pacs import Received
from router.dicom.part10 import read_meta
from router.model.instance import Identity
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.samples import samples

pytestmark = pytest.mark.unit


def as_sent(name: str) -> Sample:
    """One of pydicom's samples."""
    path = next(sample.path for sample in samples() if sample.path.name == name)
    meta = read_meta(path)
    return Sample(name, path, meta.identity, meta.header_size, path.read_bytes()[meta.header_size :], cut_off=False)


def as_received(sent: Sample, content: bytes, transfer_syntax: str) -> Received:
    """The same object as a PACS has it."""
    return Received(Identity(sent.identity.sop_class, sent.identity.sop_instance, transfer_syntax), content)


def in_implicit_vr(sent: Sample, path: Path, **changes: str) -> bytes:
    """What pydicom makes of its data set, by way of a file."""
    dataset = dcmread(sent.path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    return path.read_bytes()[read_meta(path).header_size :]


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm"])
def test_as_stored(name: str) -> None:
    """In the stored transfer syntax every byte counts."""
    sent = as_sent(name)
    changed = sent.content[:-1] + bytes([sent.content[-1] ^ 1])
    syntax = sent.identity.transfer_syntax
    assert compare(sent, as_received(sent, sent.content, syntax)) is Likeness.BYTES
    assert compare(sent, as_received(sent, changed, syntax)) is Likeness.CHANGED


def test_other_vr_encoding(tmp_path: Path) -> None:
    """In the other VR encoding the value of every element counts."""
    sent = as_sent("CT_small.dcm")
    same = in_implicit_vr(sent, tmp_path / "same.dcm")
    other = in_implicit_vr(sent, tmp_path / "other.dcm", PatientName="Somebody^Else")
    assert compare(sent, as_received(sent, same, IMPLICIT_VR_LITTLE_ENDIAN)) is Likeness.ELEMENTS
    assert compare(sent, as_received(sent, other, IMPLICIT_VR_LITTLE_ENDIAN)) is Likeness.CHANGED


def test_lossy() -> None:
    """What was decompressed from a lossy transfer syntax is not called the same."""
    sent = as_sent("JPEG-lossy.dcm")
    native = as_sent("SC_rgb_small_odd.dcm").content
    assert compare(sent, as_received(sent, native, EXPLICIT_VR_LITTLE_ENDIAN)) is Likeness.UNKNOWN


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "MR_small_RLE.dcm"])
def test_other_encoding_of_pixels(name: str) -> None:
    """Where pixels were converted, pixels count."""
    pytest.importorskip("numpy", reason="pydicom compares pixels with numpy")
    sent = as_sent(name)
    same, other = as_sent("MR_small.dcm").content, as_sent("CT_small.dcm").content
    assert compare(sent, as_received(sent, same, EXPLICIT_VR_LITTLE_ENDIAN)) is Likeness.PIXELS
    assert compare(sent, as_received(sent, other, EXPLICIT_VR_LITTLE_ENDIAN)) is Likeness.CHANGED
