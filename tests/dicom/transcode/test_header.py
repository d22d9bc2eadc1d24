"""From Implicit to Explicit VR Little Endian and back: nothing is lost, and what is not understood is refused."""

import struct
import warnings
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from router.dicom.part10 import read_meta
from router.dicom.transcode import converts
from router.dicom.transcode.header import CHUNK, DEEPEST, LARGEST_SEQUENCE, ConversionError, Encoding, rewrite
from router.model.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    Kind,
    transfer_syntax,
)
from tests.samples import Sample, large_samples, samples

pytestmark = pytest.mark.unit

OTHER = {
    IMPLICIT_VR_LITTLE_ENDIAN: EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN: IMPLICIT_VR_LITTLE_ENDIAN,
}
NATIVE = [sample for sample in (*samples(), *large_samples()) if sample.transfer_syntax in OTHER]
UNUSABLE = {"MR_truncated.dcm", "rtplan_truncated.dcm"}
"""Cut short: no conversion may pretend that they are whole."""
UNDEFINED = 0xFFFFFFFF


def converted(content: bytes, stored: str) -> bytes:
    """The data set in the other encoding."""
    target = BytesIO()
    rewrite(BytesIO(content), target, Encoding.of(stored), Encoding.of(OTHER[stored]))
    return target.getvalue()


def to_implicit(content: bytes) -> bytes:
    """From Explicit VR."""
    return converted(content, EXPLICIT_VR_LITTLE_ENDIAN)


def to_explicit(content: bytes) -> bytes:
    """From Implicit VR."""
    return converted(content, IMPLICIT_VR_LITTLE_ENDIAN)


def body(sample: Sample) -> bytes:
    """The data set's bytes."""
    return sample.path.read_bytes()[read_meta(sample.path).header_size :]


def read(content: bytes, syntax: str) -> Dataset:
    """By pydicom."""
    meta = (
        b"\2\0\x10\0UI" + struct.pack("<H", len(syntax) + len(syntax) % 2) + syntax.encode() + b"\0" * (len(syntax) % 2)
    )
    return dcmread(BytesIO(bytes(128) + b"DICM" + meta + content), force=True)


def written(dataset: Dataset, syntax: str) -> bytes:
    """By pydicom."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax == IMPLICIT_VR_LITTLE_ENDIAN
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def same(left: Dataset, right: Dataset) -> None:
    """Equal tags, values and items; VRs may differ where one side had none. Group lengths are gone."""
    for one in (element for element in left if element.tag.element):
        other = right[one.tag]
        if one.VR == "SQ" and other.VR == "SQ":
            assert len(one.value) == len(other.value)
            for inner, outer in zip(one.value, other.value, strict=True):
                same(inner, outer)
        elif one.VR == other.VR:
            assert one.value == other.value, one.tag
    assert {each.tag for each in left if each.tag.element} == {each.tag for each in right if each.tag.element}


@pytest.mark.parametrize("sample", NATIVE, ids=lambda sample: sample.path.name)
def test_samples_say_the_same(sample: Sample) -> None:
    """For pydicom they are equal, their pixels to the byte; back again they are what they were."""
    content, target = body(sample), OTHER[sample.transfer_syntax]
    if sample.path.name in UNUSABLE:
        with pytest.raises(ConversionError, match=r"past the end|ends within"):
            converted(content, sample.transfer_syntax)
        return
    there = converted(content, sample.transfer_syntax)
    back = converted(there, target)
    with warnings.catch_warnings(action="ignore"):
        original, changed = read(content, sample.transfer_syntax), read(there, target)
        same(original, changed)
        assert original.get("PixelData") == changed.get("PixelData")
        if not _has_group_length(original) and sample.path.name != "bad_sequence.dcm":
            lost = sample.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN  # the VRs of private and wrong elements
            assert len(back) == len(content) or lost
            if not lost:
                assert back == content
    # Once more changes nothing: implicit, explicit, implicit.
    assert converted(converted(back, sample.transfer_syntax), target) == back


def _has_group_length(dataset: Dataset) -> bool:
    return any(element.tag.element == 0 for element in dataset.iterall())


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An element without VR."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def short(tag: int, vr: bytes, value: bytes) -> bytes:
    """An element with a 16-bit length."""
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element with a 32-bit length."""
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value) if length is None else length) + value


def item(content: bytes, *, delimited: bool = False) -> bytes:
    """An item of either kind."""
    if delimited:
        return implicit(0xFFFEE000, content, UNDEFINED) + implicit(0xFFFEE00D, b"")
    return implicit(0xFFFEE000, content)


PATIENT = 0x00100020
SEQUENCE = 0x00081115
SEQUENCE_END = implicit(0xFFFEE0DD, b"")

PAIRS = {
    "text": (implicit(PATIENT, b"PID "), short(PATIENT, b"LO", b"PID ")),
    "an odd length": (implicit(PATIENT, b"PID"), short(PATIENT, b"LO", b"PID")),
    "no value": (implicit(PATIENT, b""), short(PATIENT, b"LO", b"")),
    "a private creator": (implicit(0x00090010, b"ACME"), short(0x00090010, b"LO", b"ACME")),
    "an unknown private element": (implicit(0x00091001, b"ab"), long(0x00091001, b"UN", b"ab")),
    "a known private element": (
        implicit(0x00290010, b"SIEMENS CSA HEADER") + implicit(0x00291008, b"MR"),
        short(0x00290010, b"LO", b"SIEMENS CSA HEADER") + short(0x00291008, b"CS", b"MR"),
    ),
    "an unknown element": (implicit(0x00081234, b"ab"), long(0x00081234, b"UN", b"ab")),
    "signed values": (
        implicit(0x00280103, b"\1\0") + implicit(0x00280106, b"\xff\xff"),
        short(0x00280103, b"US", b"\1\0") + short(0x00280106, b"SS", b"\xff\xff"),
    ),
    "unsigned values": (
        implicit(0x00280103, b"\0\0") + implicit(0x00280106, b"\xff\xff"),
        short(0x00280103, b"US", b"\0\0") + short(0x00280106, b"US", b"\xff\xff"),
    ),
    "LUT data": (implicit(0x00283006, b"abcd"), long(0x00283006, b"OW", b"abcd")),
    "pixels of 8 bits": (
        implicit(0x00280100, b"\x08\0") + implicit(0x7FE00010, b"abcd"),
        short(0x00280100, b"US", b"\x08\0") + long(0x7FE00010, b"OB", b"abcd"),
    ),
    "pixels of 16 bits": (
        implicit(0x00280100, b"\x10\0") + implicit(0x7FE00010, b"abcd"),
        short(0x00280100, b"US", b"\x10\0") + long(0x7FE00010, b"OW", b"abcd"),
    ),
    "a sequence of defined length": (
        implicit(SEQUENCE, item(implicit(PATIENT, b"PID ")) + item(b"")),
        long(SEQUENCE, b"SQ", item(short(PATIENT, b"LO", b"PID ")) + item(b"")),
    ),
    "a sequence of undefined length": (
        implicit(SEQUENCE, item(implicit(PATIENT, b"PID "), delimited=True) + SEQUENCE_END, UNDEFINED),
        long(SEQUENCE, b"SQ", item(short(PATIENT, b"LO", b"PID "), delimited=True) + SEQUENCE_END, UNDEFINED),
    ),
    "items of one kind in a sequence of the other": (
        implicit(SEQUENCE, item(b"", delimited=True)) + implicit(SEQUENCE, item(b"") + SEQUENCE_END, UNDEFINED),
        long(SEQUENCE, b"SQ", item(b"", delimited=True)) + long(SEQUENCE, b"SQ", item(b"") + SEQUENCE_END, UNDEFINED),
    ),
    "a large value": (
        implicit(0x7FE00010, bytes(2 * CHUNK + 2)),
        long(0x7FE00010, b"OW", bytes(2 * CHUNK + 2)),
    ),
    "what an item inherits": (
        implicit(0x00280103, b"\1\0") + implicit(SEQUENCE, item(implicit(0x00280106, b"\xff\xff"))),
        short(0x00280103, b"US", b"\1\0") + long(SEQUENCE, b"SQ", item(short(0x00280106, b"SS", b"\xff\xff"))),
    ),
    "nothing": (b"", b""),
}  # fmt: skip


@pytest.mark.parametrize(("without", "with_vrs"), PAIRS.values(), ids=PAIRS.keys())
def test_pairs(without: bytes, with_vrs: bytes) -> None:
    """Each is what the other becomes."""
    assert to_explicit(without) == with_vrs
    assert to_implicit(with_vrs) == without


def test_long_text_becomes_unknown() -> None:
    """A value over 64 KiB whose VR has a 16-bit length (PS3.5 6.2.2 note 8)."""
    value = b"x" * 0x10000
    assert to_explicit(implicit(PATIENT, value)) == long(PATIENT, b"UN", value)
    assert to_explicit(implicit(PATIENT, value[1:])) == short(PATIENT, b"LO", value[1:])
    assert to_implicit(long(PATIENT, b"UN", value)) == implicit(PATIENT, value)


def test_group_lengths_go() -> None:
    """They would be wrong, at top level and in items."""
    inner = short(0x00100000, b"UL", bytes(4)) + short(PATIENT, b"LO", b"PID ")
    content = short(0x00080000, b"UL", bytes(4)) + long(SEQUENCE, b"SQ", item(inner))
    assert to_implicit(content) == implicit(SEQUENCE, item(implicit(PATIENT, b"PID ")))


LAST = implicit(PATIENT, b"PID ")

REFUSED = {
    "a header cut short": (LAST + b"\x10\0\x20", "ends within the header"),
    "a value cut short": (LAST[:-1], "past the end"),
    "an item that ends where none began": (implicit(0xFFFEE00D, b"") + LAST, "where none may be"),
    "a sequence that ends where none began": (implicit(0xFFFEE0DD, b"") + LAST, "where none may be"),
    "an item at top level": (item(LAST) + LAST, "where none may be"),
    "an end within an item of defined length": (
        implicit(SEQUENCE, item(implicit(0xFFFEE00D, b"") + LAST)),
        "none may be",
    ),
    "an end within a sequence of defined length": (implicit(SEQUENCE, SEQUENCE_END + item(LAST)), "not an item"),
    "an item without its end": (implicit(SEQUENCE, implicit(0xFFFEE000, LAST, UNDEFINED), UNDEFINED), "no end"),
    "a sequence without its end": (implicit(SEQUENCE, item(LAST), UNDEFINED), "no end"),
    "a sequence without items": (implicit(SEQUENCE, LAST), "not an item"),
    "an item past its sequence": (implicit(SEQUENCE, implicit(0xFFFEE000, b"", 100)), "past the end"),
    "encapsulated pixels": (
        implicit(0x7FE00010, item(b"") + item(implicit(PATIENT, b"PID ")) + SEQUENCE_END, UNDEFINED),
        "encapsulated",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals(content: bytes, sentence: str) -> None:
    """Nothing is dropped, and nothing mended, in silence."""
    with pytest.raises(ConversionError, match=sentence):
        to_explicit(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            long(0x00091001, b"UN", item(b"\x10\0\x20", delimited=True), UNDEFINED),
            "past the end|not an item|none may be",
        ),
        (long(0x7FE00010, b"OB", SEQUENCE_END, UNDEFINED), "encapsulated"),
        (long(0x00420011, b"OB", SEQUENCE_END, UNDEFINED), "no sequence has an undefined length"),
        (short(PATIENT, b"??", b"ab"), "no valid VR"),
        (short(PATIENT, b"lo", b"ab"), "no valid VR"),
        (b"\x08\0\x15\x11SQ\0\0\1", "past the end"),
    ],
)
def test_refusals_of_explicit(content: bytes, sentence: str) -> None:
    """What only a data set with VRs can say."""
    with pytest.raises(ConversionError, match=sentence):
        to_implicit(content)


def test_depth_is_bounded() -> None:
    """So many levels are followed, and no more."""
    content = LAST
    for _ in range(DEEPEST):
        content = implicit(SEQUENCE, item(content))
    assert to_implicit(to_explicit(content)) == content
    with pytest.raises(ConversionError, match="deeper"):
        to_explicit(implicit(SEQUENCE, item(content)))
    opened = implicit(SEQUENCE, b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED)
    with pytest.raises(ConversionError, match="deeper"):
        to_explicit(opened * 100_000)


def test_size_of_a_sequence_is_bounded() -> None:
    """Before any of it is read."""
    with pytest.raises(ConversionError, match="too large"):
        to_explicit(implicit(SEQUENCE, b"", LARGEST_SEQUENCE + 1))


_SHORT_PAIRS = [with_vrs for _, with_vrs in PAIRS.values() if len(with_vrs) < 100]
_OPENED = [implicit(SEQUENCE, b"", UNDEFINED), implicit(0xFFFEE000, b"", UNDEFINED)]
_CLOSED = [SEQUENCE_END, implicit(0xFFFEE00D, b""), item(LAST), implicit(SEQUENCE, item(LAST))]
_PART = st.sampled_from([LAST, implicit(0x00080000, bytes(4)), *_OPENED, *_CLOSED, *_SHORT_PAIRS])


@given(parts=st.lists(_PART | st.binary(max_size=12), max_size=10), stored=st.sampled_from(sorted(OTHER)))
def test_any_arrangement(parts: list[bytes], stored: str) -> None:
    """A conversion, or a sentence; and what was converted comes back as it was, but for group lengths and VRs."""
    content = b"".join(parts)
    try:
        there = converted(content, stored)
    except ConversionError:
        return
    back = converted(there, OTHER[stored])
    assert converted(back, stored) == there
    if stored == IMPLICIT_VR_LITTLE_ENDIAN:
        assert len(back) <= len(content)


def test_what_is_convertible() -> None:
    """The native little endian syntaxes into each other; nothing into itself, and nothing into a lossy one."""
    pairs = {(one, other) for one in TRANSFER_SYNTAXES for other in TRANSFER_SYNTAXES if converts(one, other)}
    assert set(OTHER.items()) <= pairs
    assert all(one != other for one, other in pairs)
    assert all(transfer_syntax(other).kind in {Kind.NATIVE, Kind.LOSSLESS} for _, other in pairs)
