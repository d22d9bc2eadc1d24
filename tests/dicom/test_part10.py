"""The head of a Part 10 file: written so that others can read it, read whatever it says."""

import os
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import UID

from router.dicom import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from router.dicom.part10 import DIGEST_LENGTH, LARGEST_META, PREAMBLE, Part10Error, head, read_meta
from router.model.instance import Envelope, Identity
from tests.protocol.pair import CT, EXPLICIT
from tests.samples import Sample, large_samples, samples

pytestmark = pytest.mark.unit

IDENTITY = Identity(CT, "1.2.3.4", EXPLICIT)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENVELOPE = Envelope("CT1", "ROUTER", "10.1.2.3", 50000, "01KABCDEF", NOW)
MODALITY = b"\x08\0\x60\0CS\2\0CT"


def written(path: Path, identity: Identity = IDENTITY, envelope: Envelope = ENVELOPE, digest: bytes = b"") -> Path:
    """A file with our head and a small data set."""
    made = head(identity, envelope)
    content = bytearray(made.content + MODALITY)
    content[made.digest_at : made.digest_at + len(digest)] = digest
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("host", ["10.1.2.3", "2001:db8::1"])
def test_pydicom_reads_the_head(tmp_path: Path, host: str) -> None:
    """Every element of the file meta information is where and what the Standard says."""
    envelope = Envelope("CT1", "ROUTER", host, 50000, "01KABCDEF", NOW)
    meta = dcmread(written(tmp_path / "file.dcm", envelope=envelope)).file_meta
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (CT, "1.2.3.4")
    assert meta.TransferSyntaxUID == EXPLICIT
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert UID(meta.ImplementationClassUID).is_valid
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == ("CT1", "ROUTER")
    shown = f"[{host}]" if ":" in host else host
    assert meta.SendingPresentationAddress == f"dicom://{shown}:50000"
    assert meta.PrivateInformationCreatorUID == IMPLEMENTATION_CLASS_UID
    whole = (tmp_path / "file.dcm").read_bytes()
    assert meta.FileMetaInformationGroupLength == len(whole) - len(MODALITY) - len(PREAMBLE) - 12
    assert dcmread(tmp_path / "file.dcm").Modality == "CT"


def test_digest_has_a_slot(tmp_path: Path) -> None:
    """Written later, in place, without changing anything else; also beside titles that look like one."""
    envelope = Envelope('"digest":"', '"digest":"', "10.1.2.3", 1, '"digest":"', NOW)
    made = head(IDENTITY, envelope)
    assert made.content[made.digest_at :][:DIGEST_LENGTH] == b"0" * DIGEST_LENGTH
    digest = bytes(range(97, 97 + 26)) + b"012345"
    meta = read_meta(written(tmp_path / "file.dcm", envelope=envelope, digest=digest))
    assert meta.digest == digest.decode()
    assert meta.envelope == envelope


_TEXT = st.text(max_size=80)
_INSTANTS = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    envelope=st.builds(
        Envelope, _TEXT, _TEXT, st.text(min_size=1, max_size=60), st.integers(0, 65535), _TEXT, _INSTANTS
    ),
    uid=st.from_regex(r"[0-9.]{1,64}", fullmatch=True),
)
def test_every_envelope_comes_back(tmp_path: Path, envelope: Envelope, uid: str) -> None:
    """Whatever the peer called itself, and however long."""
    identity = Identity(uid, uid, uid)
    path = written(tmp_path / "file.dcm", identity, envelope)
    meta = read_meta(path)
    assert (meta.identity, meta.envelope) == (identity, envelope)
    assert meta.header_size == path.stat().st_size - len(MODALITY)


@pytest.mark.parametrize("sample", [*samples(), *large_samples()], ids=lambda sample: sample.path.name)
def test_samples(sample: Sample) -> None:
    """Files that others wrote: identity as pydicom reads it, no envelope, and the data set begins where it does."""
    meta = read_meta(sample.path)
    assert meta.identity.transfer_syntax == sample.transfer_syntax
    assert (meta.envelope, meta.digest) == (None, None)
    with sample.path.open("rb") as file:
        file.seek(meta.header_size)
        group = int.from_bytes(file.read(2), "big" if meta.identity.transfer_syntax.endswith(".1.2.2") else "little")
    deflated = meta.identity.transfer_syntax.endswith(".99")
    assert deflated or group == 8


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "prefix DICM"),
        (b"x" * 50, "prefix DICM"),
        (b"%PDF-1.7" + bytes(400), "prefix DICM"),
        (PREAMBLE, "lacks Media Storage SOP Class UID"),
        (PREAMBLE + b"\2\0\2\0UI\xff\xff1.2", "lacks Media Storage SOP Class UID"),
        (PREAMBLE + b"\2\0\2\0OB\0\0\xff", "Transfer Syntax UID"),
        (PREAMBLE + b"\2\0\2\0UI\2\0\0\0", "lacks Media Storage SOP Class UID"),
        (head(IDENTITY, ENVELOPE).content[:200], "lacks"),
        (head(IDENTITY, ENVELOPE).content[:300], "ends within its file meta information"),
        (head(IDENTITY, ENVELOPE).content[:-1], "ends within its file meta information"),
        (head(Identity("1.2", "x" * 65, EXPLICIT), ENVELOPE).content, "no UID in Media Storage SOP Instance UID"),
        (head(Identity("1.2", "1\n2", EXPLICIT), ENVELOPE).content, "no UID in Media Storage SOP Instance UID"),
        (head(IDENTITY, ENVELOPE).content.replace(b"1.2.3.4", b"1.2.\xff.4"), "no UID in"),
    ],
)
def test_files_that_cannot_be_sent(tmp_path: Path, content: bytes, sentence: str) -> None:
    """Says why, with the file's name, and does not crash where the UID would be used."""
    path = tmp_path / "file.dcm"
    path.write_bytes(content)
    with pytest.raises(Part10Error, match=sentence) as raised:
        read_meta(path)
    assert "file.dcm" in str(raised.value)


def test_missing_file(tmp_path: Path) -> None:
    """The operating system's own error."""
    with pytest.raises(FileNotFoundError):
        read_meta(tmp_path / "nothing")


def _private(value: bytes) -> bytes:
    made = head(IDENTITY, ENVELOPE).content
    at = made.index(b"\2\0\2\1OB\0\0")
    return made[:at] + struct.pack("<HH2sHI", 2, 0x102, b"OB", 0, len(value)) + value + MODALITY


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"peer": ["h", 1e999]}',
        b'{"peer": ["h", "x"], "calling_ae_title": ""}',
        b'{"peer": ["h", 1], "calling_ae_title": "", "called_ae_title": "", "association": "", "received_at": 5}',
        b'{"peer": ["h", 1], "calling_ae_title": "", "called_ae_title": "", "association": "", "received_at": "?"}',
    ],
)
def test_damaged_private_information(tmp_path: Path, value: bytes) -> None:
    """The data set may still be good: only the envelope is unknown."""
    path = tmp_path / "file.dcm"
    path.write_bytes(_private(value))
    meta = read_meta(path)
    assert (meta.identity, meta.envelope, meta.digest) == (IDENTITY, None, None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), cut=st.integers(0, 400), mine=st.booleans())
def test_any_bytes(tmp_path: Path, content: bytes, cut: int, *, mine: bool) -> None:
    """A result or a sentence."""
    path = tmp_path / "file.dcm"
    path.write_bytes((head(IDENTITY, ENVELOPE).content[:cut] if mine else PREAMBLE) + content)
    with suppress(Part10Error):
        assert read_meta(path).header_size <= path.stat().st_size


def test_reads_a_bounded_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the file is."""
    read: list[int] = []
    real = os.pread

    def counted(descriptor: int, count: int, offset: int) -> Any:
        read.append(count)
        return real(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    path = written(tmp_path / "file.dcm")
    os.truncate(path, 1 << 30)
    read_meta(path)
    assert sum(read) <= LARGEST_META
