"""A survey of a data set: right about good ones, bounded and calm about all others."""

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue

from router.dicom import survey as survey_module
from router.dicom.part10 import read_meta
from router.dicom.survey import INFLATED_AT_MOST, MOST_ELEMENTS, WINDOW, Read, Survey, known_keywords, survey, tags
from router.model.transfer_syntax import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    transfer_syntax,
)
from tests.samples import Sample, large_samples, samples

pytestmark = pytest.mark.unit

KEYWORDS = (
    "Modality",
    "PatientID",
    "PatientName",
    "StudyDate",
    "StudyDescription",
    "SeriesDescription",
    "Manufacturer",
    "InstitutionName",
    "BodyPartExamined",
    "ImageType",
    "Rows",
    "InstanceNumber",
    "SliceThickness",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PixelSpacing",
)
WANTED = tags(KEYWORDS)
IMPLICIT, EXPLICIT = transfer_syntax(IMPLICIT_VR_LITTLE_ENDIAN), transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
BIG, DEFLATED = transfer_syntax(EXPLICIT_VR_BIG_ENDIAN), transfer_syntax(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
SYNTAXES = (IMPLICIT, EXPLICIT, BIG, DEFLATED)
CT_SMALL, MR_IMPLICIT = (
    next(sample for sample in samples() if sample.path.name == name)
    for name in ("CT_small.dcm", "MR_small_implicit.dcm")
)


class Reads:
    """Reads from memory, and counts."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.calls = 0
        self.largest = 0

    def __call__(self, offset: int, count: int) -> bytes:
        """As ``Read``."""
        self.calls += 1
        self.largest = max(self.largest, count)
        return self.content[offset : offset + count]


def surveyed(content: bytes, syntax: Any = EXPLICIT, wanted: dict[int, str] | None = None) -> Survey:
    """The survey of bytes."""
    return survey(Reads(content), len(content), syntax, WANTED if wanted is None else wanted)


def body(sample: Sample) -> bytes:
    """The data set's bytes."""
    return sample.path.read_bytes()[read_meta(sample.path).header_size :]


def texts(value: Any) -> tuple[str, ...]:
    """What pydicom has read, as text."""
    if value is None or value == "":
        return ()
    values = value if isinstance(value, MultiValue | list) else [value]
    # Numbers as they were written, names as text; blanks around a value mean nothing.
    original = [getattr(each, "original_string", None) for each in values]
    written = [
        text if isinstance(text, str) and text else str(each) for text, each in zip(original, values, strict=True)
    ]
    return tuple(text.strip() for text in written)


@pytest.mark.parametrize("sample", [*samples(), *large_samples()], ids=lambda sample: sample.path.name)
def test_agrees_with_pydicom(sample: Sample) -> None:
    """Every attribute asked about has the values that pydicom reads; whole samples are not called truncated."""
    content = body(sample)
    reads = Reads(content)
    found = survey(reads, len(content), transfer_syntax(sample.transfer_syntax), WANTED)
    with warnings.catch_warnings(action="ignore"):
        dataset = dcmread(sample.path, stop_before_pixels=True)
        expected = {keyword: texts(dataset[keyword].value) for keyword in KEYWORDS if keyword in dataset}
        study = str(dataset.get("StudyInstanceUID", ""))
    if sample.path.name == "SC_rgb_jpeg.dcm":  # says that it has explicit VRs, and has not: pydicom guesses
        assert found == Survey(error="an element has no valid VR")
        return
    assert dict(found.attributes) == expected
    assert found.study == study
    assert found.sop_instance == sample.sop_instance
    cut = sample.path.name in {"MR_truncated.dcm", "rtplan_truncated.dcm"}
    assert (found.truncated or bool(found.error)) is cut
    assert reads.largest <= WINDOW


def _written(dataset: Dataset, *, implicit: bool, little: bool = True) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = little, implicit
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("terms", "name"),
    [
        ("ISO_IR 192", "Müller^日本"),
        ("GB18030", "王^小东"),
        ("ISO_IR 100", "Äneas^Rüdiger"),
        ("ISO_IR 144", "Люкceмбypг"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞"),
    ],
)
@pytest.mark.parametrize("implicit", [False, True])
def test_character_sets(terms: str | list[str], name: str, *, implicit: bool) -> None:
    """What routes compare is text, whatever the Specific Character Set."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = terms
    dataset.PatientName = name
    found = surveyed(_written(dataset, implicit=implicit), IMPLICIT if implicit else EXPLICIT)
    assert found.attributes["PatientName"] == (name,)


@pytest.mark.parametrize(
    "term", [b"ISO_IR 999", b"utf-8 (the patient's)", b"\xff\xfe", b"ISO_IR 192\\ISO_IR 100", b"rot13"]
)
def test_character_set_that_is_none_causes_no_warning(term: bytes) -> None:
    """A warning would carry the peer's text, and stay in memory; warnings are errors here."""
    content = _short(0x00080005, b"CS", term) + _short(0x00100010, b"PN", b"M\xfcller")
    assert "ller" in surveyed(content).attributes["PatientName"][0]


def _short(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value) if length is None else length) + value


def _item(tag: int, length: int) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)


UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = _item(0xFFFEE000, UNDEFINED), _item(0xFFFEE00D, 0), _item(0xFFFEE0DD, 0)
MODALITY = _short(0x00080060, b"CS", b"CT")
OPENED = _long(0x00081115, b"SQ", b"", UNDEFINED)
LATER = _short(0x00100020, b"LO", b"PID")


def test_values_behind_sequences_are_found() -> None:
    """Of defined and undefined length, of unknown VR, and encapsulated pixel data; what is inside is not."""
    inner = _short(0x00080060, b"CS", b"XX")
    implicit_inner = struct.pack("<HHI", 8, 0x60, 2) + b"YY"
    content = b"".join(
        (
            _long(0x00081115, b"SQ", _item(0xFFFEE000, len(inner)) + inner),
            OPENED + ITEM + inner + OPENED + ITEM_WITH_END + SEQUENCE_END + ITEM_END + SEQUENCE_END,
            _long(0x00091001, b"UN", b"", UNDEFINED) + ITEM + implicit_inner + ITEM_END + SEQUENCE_END,
            OPENED + ITEM + _long(0x00091001, b"UN", b"", UNDEFINED) + ITEM + implicit_inner + ITEM_END + SEQUENCE_END,
            ITEM_END + SEQUENCE_END,
            _long(0x7FE00010, b"OB", b"", UNDEFINED) + _item(0xFFFEE000, 0),
            _item(0xFFFEE000, 4) + b"abcd" + SEQUENCE_END,
            LATER,
        )
    )  # fmt: skip
    found = surveyed(content)
    assert found == Survey(attributes={"PatientID": ("PID",)}, patient_id="PID")


ITEM_WITH_END = ITEM + ITEM_END


def test_first_of_two_counts() -> None:
    """An element that comes twice does not change its mind."""
    assert surveyed(MODALITY + _short(0x00080060, b"CS", b"MR")).attributes == {"Modality": ("CT",)}


def test_long_value_counts_as_absent() -> None:
    """Nobody compares 16 KiB."""
    assert surveyed(_short(0x00100020, b"LO", b"x" * 20000) + MODALITY).attributes == {"Modality": ("CT",)}


def test_wrong_vr_is_read_as_text() -> None:
    """Explicit VRs are the sender's word; numbers of a wrong length lose their rest."""
    content = _long(0x00100020, b"UN", b"PID ") + _short(0x00280010, b"US", b"\1\0\2") + _short(0x00080060, b"CS", b"")
    assert surveyed(content).attributes == {"PatientID": ("PID",), "Rows": ("1", "8194"), "Modality": ()}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (MODALITY + b"\x10\0\x20", "within the header"),
        (MODALITY + struct.pack("<HH2sH", 0x10, 0x20, b"OB", 0), "within the header"),
        (MODALITY + struct.pack("<HH2sH", 0x10, 0x20, b"?!", 4) + bytes(4), "no valid VR"),
        (MODALITY + OPENED + ITEM, "has no end"),
        (MODALITY + OPENED + ITEM_END, "delimitation item"),
        (MODALITY + OPENED + ITEM + SEQUENCE_END, "delimitation item"),
        (MODALITY + OPENED + LATER, "not an item"),
    ],
)
def test_what_cannot_be_understood(content: bytes, error: str) -> None:
    """Said in our own words; what came before it is kept, and it is not called truncated."""
    found = surveyed(content)
    assert error in found.error
    assert found.attributes == {"Modality": ("CT",)}
    assert not found.truncated


@pytest.mark.parametrize(
    "content",
    [
        _short(0x00100020, b"LO", b"PID ")[:-1],
        _long(0x7FE00010, b"OW", b"", 100),
        OPENED + ITEM + _long(0x7FE00010, b"OW", b"", 100),
        _long(0x7FE00010, b"OB", b"", UNDEFINED) + _item(0xFFFEE000, 100),
    ],
)
def test_what_runs_past_the_end_is_truncated(content: bytes) -> None:
    """The sender did not send all of it."""
    found = surveyed(MODALITY + content)
    assert found.truncated
    assert not found.error
    assert found.attributes == {"Modality": ("CT",)}


@pytest.mark.parametrize("sample", [CT_SMALL, MR_IMPLICIT], ids=lambda sample: sample.path.name)
def test_every_cut_is_noticed_or_between_elements(sample: Sample) -> None:
    """Cut anywhere: truncated, or not understood, or a shorter data set that is whole."""
    content = body(sample)
    syntax = transfer_syntax(sample.transfer_syntax)
    whole = surveyed(content, syntax)
    ends = _ends_of_elements(content, explicit=syntax.explicit_vr)
    assert len(content) in ends
    for cut in [*range(6000), *range(6000, len(content), 251)]:
        found = surveyed(content[:cut], syntax)
        noticed = found.truncated or bool(found.error)
        assert noticed is (cut not in ends), cut
        assert found.attributes.items() <= whole.attributes.items()


def _ends_of_elements(content: bytes, *, explicit: bool) -> set[int]:
    """By pydicom, which reads these two samples without a sequence of undefined length."""
    from pydicom.filereader import data_element_generator

    buffer = BytesIO(content)
    ends = {0}
    for _ in data_element_generator(buffer, not explicit, True):
        ends.add(buffer.tell())
    return ends


def test_deep_nesting_costs_no_stack() -> None:
    """20,000 levels are walked; their end is found."""
    content = (OPENED + ITEM) * 20000 + (ITEM_END + SEQUENCE_END) * 20000 + LATER
    found = surveyed(content)
    assert found.attributes == {"PatientID": ("PID",)}
    assert "has no end" in surveyed((OPENED + ITEM) * 20000).error


def test_number_of_elements_is_bounded() -> None:
    """A million items: the walk ends early, and says so."""
    content = MODALITY + OPENED + ITEM_WITH_END * 500_000 + SEQUENCE_END + LATER
    reads = Reads(content)
    found = survey(reads, len(content), EXPLICIT, WANTED)
    assert str(MOST_ELEMENTS) in found.error
    assert found.attributes == {"Modality": ("CT",)}
    assert reads.calls * WINDOW < 3 * 8 * MOST_ELEMENTS


def test_windows_are_crossed() -> None:
    """Elements and values that lie across the border of two windows are read whole."""
    for padding in range(WINDOW - 40, WINDOW + 4, 2):
        filler = _long(0x00070010, b"OB", bytes(padding))
        assert surveyed(filler + MODALITY + LATER).attributes == {"Modality": ("CT",), "PatientID": ("PID",)}
        assert surveyed(_short(0x00070010, b"OB"[:0] + b"LO", bytes(12)) * 2 + filler + LATER).attributes


def _deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


def test_bomb_is_inflated_to_one_mebibyte() -> None:
    """What lies in the beginning is found; the rest is never there."""
    inflated: list[int] = []
    real = survey_module._inflate

    def measured(read: Read) -> bytes:
        inflated.append(len(content := real(read)))
        return content

    bomb = _deflated(MODALITY + _long(0x00091010, b"OB", bytes(300 << 20)) + LATER)
    assert len(bomb) < 400_000
    assert len(measured(Reads(bomb))) == INFLATED_AT_MOST
    found = surveyed(bomb, DEFLATED)
    assert found.attributes == {"Modality": ("CT",)}
    assert not found.truncated


@pytest.mark.parametrize("content", [b"", b"garbage, not deflated", _deflated(MODALITY + LATER)[:-4]])
def test_what_is_not_deflated(content: bytes) -> None:
    """As far as it goes, and no error."""
    found = surveyed(content, DEFLATED)
    assert not found.truncated


def test_deflated_data_set_is_read() -> None:
    """In many windows too."""
    noise = _long(0x00091010, b"OB", Path(__file__).read_bytes() * 10)
    assert surveyed(_deflated(noise + LATER), DEFLATED).attributes == {"PatientID": ("PID",)}


def test_big_endian() -> None:
    """Numbers and lengths are turned round."""
    dataset = Dataset()
    dataset.Modality, dataset.Rows = "CT", 258
    content = _written(dataset, implicit=False, little=False)
    assert surveyed(content, BIG).attributes == {"Modality": ("CT",), "Rows": ("258",)}


@given(content=st.binary(max_size=400), syntax=st.sampled_from(sorted(TRANSFER_SYNTAXES)))
def test_any_bytes(content: bytes, syntax: str) -> None:
    """Never an exception."""
    survey(Reads(content), len(content), transfer_syntax(syntax), WANTED)


_UNKNOWN = _long(0x00091001, b"UN", b"", UNDEFINED)
_PIXELS = _long(0x7FE00010, b"OB", b"", UNDEFINED)
_CHARACTER_SETS = _short(0x00080005, b"CS", b"ISO 2022 IR 87\\ISO_IR 192")
_NAMES = st.binary(max_size=40).map(lambda raw: _short(0x00100010, b"PN", b"\x1b" + raw))
_PARTS = st.sampled_from(
    [MODALITY, OPENED, ITEM, ITEM_END, SEQUENCE_END, LATER, _item(0xFFFEE000, 16), _PIXELS, _UNKNOWN, _CHARACTER_SETS]
)


@pytest.mark.filterwarnings("ignore:Found unknown escape sequence", "ignore:Failed to decode byte string")
@given(parts=st.lists(_PARTS | _NAMES | st.binary(max_size=6), max_size=12), explicit=st.booleans())
def test_any_arrangement_of_elements(parts: list[bytes], *, explicit: bool) -> None:
    """Never an exception, and nothing that was not sent."""
    content = b"".join(parts)
    found = surveyed(content, EXPLICIT if explicit else IMPLICIT)
    assert set(found.attributes) <= set(KEYWORDS)
    assert not (found.truncated and found.error)


def test_keywords() -> None:
    """All of the dictionary's, and no others."""
    assert {"Modality", "PatientID"} <= known_keywords()
    assert tags(["Modality"]) == {0x00080060: "Modality"}
    with pytest.raises(KeyError):
        tags(["Modalitty"])


def test_pydicom_writes_what_is_surveyed(tmp_path: Path) -> None:
    """A file made by another library, encapsulated, from the file itself."""
    dataset = dcmread(CT_SMALL.path)
    dataset.compress("1.2.840.10008.1.2.5")
    path = tmp_path / "rle.dcm"
    dcmwrite(path, dataset)
    content = path.read_bytes()[read_meta(path).header_size :]
    found = surveyed(content, transfer_syntax("1.2.840.10008.1.2.5"))
    assert found.attributes["Modality"] == ("CT",)
    assert not found.error
    assert not found.truncated
