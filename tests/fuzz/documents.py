"""Targets: what is read out of data sets, files and configurations."""

import json
import math
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.datadict import dictionary_VR

from router.dicom.part10 import Part10Error, head, meta_of
from router.dicom.survey import INFLATED_AT_MOST, LONGEST_VALUE, WINDOW, known_keywords, survey, tags
from router.model.instance import Envelope, Identity
from router.model.transfer_syntax import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    transfer_syntax,
)
from router.rules.conditions import AllOf, Between, Like, Matches, Not, Subject, ask
from router.settings import Configuration, ConfigurationError, load
from tests.daemon.objects import made
from tests.fuzz.target import Target

SYNTAXES = tuple(
    transfer_syntax(uid)
    for uid in (
        EXPLICIT_VR_LITTLE_ENDIAN,
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    )
)
"""The first byte of an input names one."""

ENVELOPE = Envelope("CT1", "ROUTER", "192.0.2.1", 50000, "01J0000000000000000000000A", datetime(2026, 1, 1, tzinfo=UTC))
_CONFIGURATIONS = Path(__file__).parents[1] / "configurations"
_PRINTABLE = frozenset((0x0A, *range(0x20, 0x7F)))
_NASTY = (
    b"on",
    b"NO",
    b"0104",
    b"1e999999",
    b"-1",
    b"~",
    b"null",
    b"[]",
    b"{}",
    b"''",
    b"*a",
    b"&a ",
    b"<<: ",
    b"!!python/x ",
    b"? ",
    b"- ",
    b": ",
    b"|\n",
    b"9" * 400,
    b"10.0.0.0/33",
    b"::/0",
    b"0x10",
    b"1_000",
    b"12:30:45",
    b"999999999999d",
    b"\xe2\x80\xae",
    b"\xc2\x85",
    b"\xed\xa0\x80",
    b"\x00",
    b"\t",
    b"%s%n",
    b"../../x",
    b"*" * 60,
    b"[[[]",
    b"{first_of: []}",
)


@cache
def _wanted() -> Mapping[int, str]:
    """A keyword of each VR, and those that routes ask about most."""
    of_vr: dict[str, str] = {}
    for keyword in sorted(known_keywords()):
        of_vr.setdefault(dictionary_VR(keyword), keyword)
    return tags({*of_vr.values(), "Modality", "PatientName", "StudyDate", "Rows", "NumberOfFrames", "PixelSpacing"})


def _survey(content: bytes) -> str:
    """A data set, for the one that finds what routes ask about."""
    syntax, content = SYNTAXES[(content[:1] or b"\0")[0] % len(SYNTAXES)], content[1:]
    calls = 0

    def read(offset: int, count: int) -> bytes:
        nonlocal calls
        calls += 1
        assert 0 <= offset <= len(content)
        assert count <= WINDOW
        return content[offset : offset + count]

    found = survey(read, len(content), syntax, _wanted())
    assert calls <= len(content) // 4 + 16
    known = [value for values in found.attributes.values() for value in values]
    known += [found.study, found.series, found.accession_number, found.patient_id, found.sop_instance]
    for value in known:
        # As the queue's database and the pages will have it.
        assert len(value.encode("utf-8")) <= LONGEST_VALUE * 4
        assert not syntax.deflated or len(value) <= INFLATED_AT_MOST
    assert found.error.isascii()
    for keyword in found.attributes:
        _asked(keyword, found.attributes)
    return f"{syntax.name}: {found.error or ('truncated' if found.truncated else 'understood')}"


def _asked(keyword: str, attributes: Mapping[str, tuple[str, ...]]) -> None:
    subject = Subject(ENVELOPE, Identity("1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN), attributes)
    tests = (Like("*[!a]*b?c*"), Between(0, 20261231), Between(None, math.pi))
    condition = Not(AllOf((Matches(keyword, tests), Matches("calling_ae_title", tests))))
    assert ask(condition, subject).words


def _meta(content: bytes) -> str:
    """The head of a file: of any file that `send` is given, or that lies in the spool."""
    try:
        meta = meta_of(content, "x.dcm")
    except Part10Error as refused:
        sentence = str(refused)
        assert sentence.isascii()
        assert sentence.isprintable()
        return sentence
    assert 132 <= meta.header_size <= len(content)
    if meta.envelope is None:
        return "of others"
    # A queue that is rebuilt stores it and compares it.
    assert meta.envelope.received_at <= datetime.max.replace(tzinfo=UTC)
    assert 0 <= meta.envelope.peer_port < 1 << 16
    assert repr(meta).encode("utf-8")
    again = head(meta.identity, meta.envelope)
    assert meta_of(again.content, "x.dcm").envelope == meta.envelope
    return "of ours"


def _configuration(content: bytes) -> str:
    """A file that somebody wrote by hand; in three of four cases with an editor that writes text."""
    if len(content) % 4:
        content = bytes(byte for byte in content if byte in _PRINTABLE)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "router.yaml"
        path.write_bytes(content)
        try:
            configuration = load(path, environment={}, known_keywords=known_keywords())
        except ConfigurationError as refused:
            sentence = str(refused)
            assert sentence.encode("utf-8")
            return refused.problems[0].sentence
    assert isinstance(configuration, Configuration)
    assert configuration.listeners
    return "taken"


def _routing_test(given: Mapping[str, object], expect: object, when: Mapping[str, object]) -> bytes:
    return json.dumps(
        {
            "destinations": [{"name": "A", "remote_ae_title": "A", "remote_host": "192.0.2.1", "remote_port": 104}],
            "routes": [{"name": "r", "when": when, "to": "A"}],
            "unrouted": "discard",
            "tests": [{"name": "t", "given": given, "expect": expect}],
        },
        indent=1,
    ).encode()


def _dataset(number: int) -> bytes:
    return made(
        number,
        SpecificCharacterSet=["ISO 2022 IR 6", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=\u5c71\u7530^\u592a\u90ce",
        ImageType=["ORIGINAL", "PRIMARY"],
        PixelSpacing=[0.5, 0.25],
    ).dataset


def _deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


_SEQUENCE = bytes.fromhex("0800 4011 5351 0000 ffffffff fefff000 ffffffff".replace("fefff000", "feff00e0"))
_ENDS = bytes.fromhex("feff0de0 00000000 feffdde0 00000000")

TARGETS = (
    Target(
        "survey",
        [
            b"\0" + _dataset(1),
            b"\0" + _SEQUENCE + _dataset(1)[:40] + _ENDS + _dataset(2),
            b"\1" + bytes.fromhex("08006000 02000000 4354 10002000 04000000 31323320 280010000200 0000 0001"),
            b"\2" + bytes.fromhex("00080060 4353 0002 4354 00280010 5553 0002 0100"),
            b"\3" + _deflated(_dataset(1)),
        ],
        _survey,
        rounds=20000,
        variety=16,
        words=(
            b"SQ\0\0\xff\xff\xff\xff",
            b"UN\0\0\xff\xff\xff\xff",
            _SEQUENCE,
            _ENDS,
            b"\x1b$B",
            b"\x1b(I",
            b"\\",
            b"UT\0\0",
            b"ISO 2022 IR 149",
            b"ISO_IR 192 ",
            b"GB18030 ",
            b"\xfe\xff\0\xe0\xff\xff\xff\xff",
        ),
    ),
    Target(
        "part10",
        [
            head(Identity("1.2", "1.2.3", IMPLICIT_VR_LITTLE_ENDIAN), ENVELOPE).content,
            made(1).head,
            head(Identity("1.2", "1.2.3", "1.2.4"), ENVELOPE).content + made(1).dataset[:64],
        ],
        _meta,
        rounds=20000,
        variety=8,
        words=(
            b'"peer":[',
            b"50000",
            b"1e400",
            b"9" * 40,
            b"-1",
            b"+00:00",
            b"null",
            b"[[[[",
            b"\\ud800",
            b'"',
            b"OB\0\0",
        ),
    ),
    Target(
        "configuration",
        [
            (Path(__file__).parents[2] / "config" / "router.yaml").read_bytes(),
            *(path.read_bytes() for path in sorted(_CONFIGURATIONS.glob("*/router.yaml"))),
        ],
        _configuration,
        rounds=300,
        variety=12,
        words=_NASTY,
    ),
    Target(
        "routing-test",
        [
            _routing_test({"Modality": "CT", "StudyDate": "20260101"}, ["A"], {"Modality": ["CT", "P*"]}),
            _routing_test({"peer": "10.0.0.1"}, {"to": [], "route": "r"}, {"not": {"peer": "10.0.0.0/8"}}),
            _routing_test(
                {"Rows": "7"}, ["A"], {"any": [{"Rows": {"from": 1, "to": 9}}, {"all": [{"PatientID": "*"}]}]}
            ),
        ],
        _configuration,
        rounds=600,
        variety=10,
        words=(
            *_NASTY,
            b'"from"',
            b'"to"',
            b'"not"',
            b'"any"',
            b'"all"',
            b'"first_of"',
            b'"A"',
            b'"r"',
            b'"peer"',
            b'"Rows"',
        ),
    ),
)
"""What reads documents."""
