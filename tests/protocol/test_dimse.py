"""Command sets (PS3.7): what is understood, what is refused, what is answered."""

import struct

import pytest

from router.protocol import (
    AbortReason,
    EchoAnswered,
    EchoRequested,
    Fragment,
    LocalProtocolError,
    ProtocolError,
    StoreAnswered,
    StoreRequested,
    UnsupportedCommand,
    dimse,
)
from tests.protocol.pair import CT, STORE_RQ, VERIFICATION, ConnectionPair, command_set, element, p_data, pdv, us

pytestmark = pytest.mark.unit


def command(elements: dict[int, bytes]) -> bytes:
    """A command set in one fragment."""
    return p_data(pdv(1, 3, command_set(elements)))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, StoreRequested(1, 7, CT, "1.2.3.4")),
        ({0x0110: b"\xff\xff"}, StoreRequested(1, 65535, CT, "1.2.3.4")),
        ({0x0110: b"\0\0"}, StoreRequested(1, 0, CT, "1.2.3.4")),
        ({0x0700: b"\3\0"}, StoreRequested(1, 7, CT, "1.2.3.4", priority=3)),
        ({0x0700: b""}, StoreRequested(1, 7, CT, "1.2.3.4")),
        ({0x0800: b"\0\0"}, StoreRequested(1, 7, CT, "1.2.3.4")),
        ({0x1000: b"1.02"}, StoreRequested(1, 7, CT, "1.02")),
        ({0x1000: b"../../etc/x "}, StoreRequested(1, 7, CT, "../../etc/x")),
        ({0x1000: b"1" * 64}, StoreRequested(1, 7, CT, "1" * 64)),
        ({0x1030: b"MOVER ", 0x1031: b"\2\0"}, StoreRequested(1, 7, CT, "1.2.3.4", 0, "MOVER", 2)),
        ({0x1030: b"\x1b[2J"}, StoreRequested(1, 7, CT, "1.2.3.4", 0, "\\x1b[2J")),
        ({0x4711: b"whatever"}, StoreRequested(1, 7, CT, "1.2.3.4")),
    ],
)
def test_store_request(changed: dict[int, bytes], expected: StoreRequested) -> None:
    """What other systems make of a C-STORE-RQ is read as it is; unknown elements are ignored."""
    assert ConnectionPair().establish().to_acceptor(command(STORE_RQ | changed)) == [expected]


def without(*numbers: int) -> bytes:
    """A C-STORE-RQ that lacks elements."""
    return command_set({number: value for number, value in STORE_RQ.items() if number not in numbers})


def explicit_vr() -> bytes:
    """A C-STORE-RQ in the wrong transfer syntax."""
    return b"".join(
        struct.pack("<HH2sH", 0, number, b"UI" if number in (2, 0x1000) else b"US", len(value)) + value
        for number, value in STORE_RQ.items()
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 7,
        explicit_vr(),
        without(0x0002),
        without(0x0100),
        without(0x0110),
        without(0x0800),
        without(0x1000),
        command_set(STORE_RQ | {0x0100: b""}),
        command_set(STORE_RQ | {0x0110: b"\1"}),
        command_set(STORE_RQ | {0x0110: b"\1\0\2\0"}),
        command_set(STORE_RQ | {0x0002: b"\0\0"}),
        command_set(STORE_RQ | {0x1000: b"1" * 65 + b"\0"}),
        command_set(STORE_RQ | {0x1000: b"1.2\n3\0"}),
        command_set(STORE_RQ | {0x1000: b"1.2\0.3"}),
        command_set(STORE_RQ | {0x1000: b"1.\xe9\0\0"}),
        command_set(STORE_RQ) + element(0x0010, b"1.2.3 ", group=0x0008),
        command_set(STORE_RQ) + struct.pack("<HHI", 0, 0x5010, 1),
        command_set(STORE_RQ) + struct.pack("<HHI", 0, 0x5010, 0xFFFFFFFF),
        command_set(STORE_RQ) + b"\0\0\0",
    ],
    ids=[
        "empty", "half a header", "explicit VR", "no SOP class", "no command field", "no message id",
        "no data set type",
        "no SOP instance", "empty command field", "US of 1", "US of 4", "empty UID", "UID of 65", "newline",
        "NUL within",
        "not ASCII", "group 0008", "one byte short", "4 GiB", "trailing bytes",
    ],
)  # fmt: skip
def test_garbage(raw: bytes) -> None:
    """No command set is guessed at."""
    with pytest.raises(ProtocolError) as caught:
        ConnectionPair().establish().to_acceptor(p_data(pdv(1, 3, raw)))
    assert caught.value.reason is AbortReason.INVALID_PARAMETER_VALUE


def test_store_request_without_a_data_set() -> None:
    """A C-STORE-RQ that denies its data set is a contradiction."""
    with pytest.raises(ProtocolError, match="no data set") as caught:
        ConnectionPair().establish().to_acceptor(command(STORE_RQ | {0x0800: b"\1\1"}))
    assert caught.value.reason is AbortReason.UNEXPECTED_PARAMETER


def test_data_after_a_command_that_has_none() -> None:
    """A C-ECHO-RQ that says 0101H may not be followed by data."""
    pair = ConnectionPair().establish()
    pair.to_acceptor(pair.requestor.echo_request(3, 1))
    with pytest.raises(ProtocolError):
        pair.to_acceptor(p_data(pdv(3, 2, b"ab")))


@pytest.mark.parametrize("field", [0x0020, 0x0010, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x4711])
def test_unsupported_command(field: int) -> None:
    """Any other request is an event, can be answered 0211H, and its data set is skipped."""
    pair = ConnectionPair().establish()
    elements = {
        0x0003: b"1.2.840.10008.1.20.1",
        0x0100: struct.pack("<H", field),
        0x0110: b"\5\0",
        0x0800: b"\1\0",
        0x1001: b"1.2.840.10008.1.20.1.1",
    }
    (event,) = pair.to_acceptor(command(elements) + p_data(pdv(1, 0, b"abcd")) + p_data(pdv(1, 2, b"ef")))
    assert event == UnsupportedCommand(1, 5, field, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1")
    assert isinstance(event, UnsupportedCommand)
    answer = pair.acceptor.unsupported_answer(event)
    body = answer[12:]
    assert us(0x0100, field | 0x8000) in body
    assert us(0x0120, 5) in body
    assert us(0x0900, 0x0211) in body
    assert element(0x0002, b"1.2.840.10008.1.20.1") in body
    assert element(0x1000, b"1.2.840.10008.1.20.1.1") in body
    assert isinstance(pair.to_acceptor(command(STORE_RQ))[0], StoreRequested)


def test_unsupported_command_that_names_nothing() -> None:
    """The answer repeats only what the request said."""
    pair = ConnectionPair().establish()
    (event,) = pair.to_acceptor(command({0x0100: b"\x20\0", 0x0110: b"\5\0", 0x0800: b"\1\1"}))
    assert event == UnsupportedCommand(1, 5, 0x0020)
    assert isinstance(event, UnsupportedCommand)
    assert len(pair.acceptor.unsupported_answer(event)) == 12 + 12 + 4 * 10


def test_cancel() -> None:
    """A C-CANCEL-RQ has no message id of its own and is never answered."""
    pair = ConnectionPair().establish()
    (event,) = pair.to_acceptor(command({0x0100: b"\xff\x0f", 0x0120: b"\5\0", 0x0800: b"\1\1"}))
    assert event == UnsupportedCommand(1, 5, 0x0FFF)
    assert isinstance(event, UnsupportedCommand)
    assert pair.acceptor.unsupported_answer(event) == b""


@pytest.mark.parametrize("field", [0x8001, 0x8030, 0x8020, 0xFFFF])
def test_response_to_an_acceptor(field: int) -> None:
    """The acceptor of the association asked nothing, so nothing can answer it."""
    with pytest.raises(ProtocolError, match="response") as caught:
        ConnectionPair().establish().to_acceptor(
            command({0x0100: struct.pack("<H", field), 0x0120: b"\1\0", 0x0800: b"\1\1", 0x0900: b"\0\0"})
        )
    assert caught.value.reason is AbortReason.UNEXPECTED_PARAMETER


def test_requests_to_a_requestor() -> None:
    """Without role selection the acceptor may not ask: whatever it asks for is unsupported."""
    pair = ConnectionPair().establish()
    (event,) = pair.to_requestor(command(STORE_RQ) + p_data(pdv(1, 2, b"ab")))
    assert event == UnsupportedCommand(1, 7, 0x0001, CT, "1.2.3.4")
    (event,) = pair.to_requestor(pair.requestor.echo_request(3, 8))
    assert event == UnsupportedCommand(3, 8, 0x0030, VERIFICATION)


def test_store_answer() -> None:
    """A response is read with what it complains about; a data set that comes with it is skipped."""
    pair = ConnectionPair().establish()
    elements = {
        0x0100: b"\x01\x80",
        0x0120: b"\7\0",
        0x0800: b"\0\0",
        0x0900: b"\0\xa9",
        0x0901: struct.pack("<HHHHB", 0x0010, 0x0020, 0x0008, 0x0018, 1),
        0x0902: b"cannot read\x1b ",
    }
    events = pair.to_requestor(command(elements) + p_data(pdv(1, 2, b"ab")))
    assert events == [StoreAnswered(1, 7, 0xA900, "cannot read\\x1b", (0x00100020, 0x00080018))]


@pytest.mark.parametrize("missing", [0x0120, 0x0900])
def test_answer_without_what_makes_it_one(missing: int) -> None:
    """A response without a status, or that does not say to what, is refused."""
    elements = {0x0100: b"\x01\x80", 0x0120: b"\7\0", 0x0800: b"\1\1", 0x0900: b"\0\0"}
    del elements[missing]
    with pytest.raises(ProtocolError, match=f"{missing:04X}"):
        ConnectionPair().establish().to_requestor(command(elements))


def test_comment_is_cut() -> None:
    """An Error Comment has 64 characters of ASCII, whatever we have to say."""
    pair = ConnectionPair().establish()
    answer = pair.acceptor.store_answer(StoreRequested(1, 7, CT, "1.2.3.4"), 0xC000, error_comment="é" * 70)
    assert pair.to_requestor(answer) == [StoreAnswered(1, 7, 0xC000, "?" * 64)]


@pytest.mark.parametrize("uid", ["", "1" * 65, "1.é"])
def test_uid_that_cannot_be_written(uid: str) -> None:
    """Our own side is stopped before it sends nonsense."""
    pair = ConnectionPair().establish()
    with pytest.raises(LocalProtocolError):
        pair.requestor.store_request(1, 1, CT, uid)
    with pytest.raises(LocalProtocolError):
        pair.requestor.store_request(1, 1, uid, "1.2")


def test_every_number_is_little_endian() -> None:
    """A C-ECHO-RQ, byte by byte (PS3.7 E.1)."""
    expected = (
        "0000 0000 04000000 38000000"
        "0000 0200 12000000 312e322e3834302e31303030382e312e3100"
        "0000 0001 02000000 3000"
        "0000 1001 02000000 0201"
        "0000 0008 02000000 0101"
    )
    assert dimse.write_echo_request(0x0102, VERIFICATION) == bytes.fromhex(expected)


def test_echo_answers_carry_a_status() -> None:
    """A status other than success comes through."""
    pair = ConnectionPair().establish()
    assert pair.to_requestor(pair.acceptor.echo_answer(EchoRequested(3, 4, VERIFICATION), 0x0122)) == [
        EchoAnswered(4, 0x0122)
    ]


def test_zero_length_data_set() -> None:
    """An empty last fragment ends a data set of nothing."""
    pair = ConnectionPair().establish()
    events = pair.to_acceptor(command(STORE_RQ) + p_data(pdv(1, 2, b"")))
    assert events[1] == Fragment(1, memoryview(b""), last=True)
