"""Bad input, upper layer (PS3.8): what is no PDU, too long, too short, or not due."""

import struct

import pytest

from router.protocol import (
    Aborted,
    AbortReason,
    AbortSource,
    Acceptor,
    Closed,
    Connection,
    Fragment,
    Paused,
    ProtocolError,
    ReleaseRequested,
    Requestor,
    State,
    StoreRequested,
)
from router.protocol.connection import VALUES_AT_A_STRETCH
from tests.protocol.pair import (
    STORE_RQ,
    ConnectionPair,
    associate,
    association,
    command_set,
    element,
    feed,
    p_data,
    pdu,
    pdv,
    proposed,
    take,
)

pytestmark = pytest.mark.unit

ABORT_BY_USER = bytes.fromhex("07 00 00000004 0000 00 00")
AS_USER = (AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED)
COMMAND_LAST = 3
DATA, DATA_LAST = 0, 2
STORE = command_set(STORE_RQ)
FIND = command_set({0x100: b"\x20\0", 0x110: b"\x01\0", 0x800: b"\1\0"})
RQ = association(proposed(1))


def refused(connection: Connection, content: bytes) -> ProtocolError:
    """The error that this meets; afterwards the association waits for the close, and hears nothing else."""
    with pytest.raises(ProtocolError) as caught:
        feed(connection, content)
    assert connection.state is State.STA13
    assert feed(connection, RQ + STORE) == []
    assert connection.abort_for(caught.value) == pdu(7, bytes((0, 0, caught.value.source, caught.value.reason)))
    connection.received(0)
    assert take(connection) == [Closed()]
    return caught.value


def verdict(error: ProtocolError) -> tuple[AbortSource, AbortReason]:
    """What the A-ABORT will say."""
    return error.source, error.reason


def by_provider(reason: AbortReason) -> tuple[AbortSource, AbortReason]:
    """An A-ABORT by the provider."""
    return AbortSource.SERVICE_PROVIDER, reason


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: router\r\n\r\n",
        bytes.fromhex("16030100f8010000f4"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 6,
        bytes.fromhex("08 00 00000004 00000000"),
    ],
    ids=["HTTP", "TLS", "SSH", "zeros", "type 8"],
)
def test_not_dicom(greeting: bytes) -> None:
    """What does not speak DICOM is told apart by its first six bytes (AA-1)."""
    error = refused(Acceptor(), greeting)
    assert verdict(error) == AS_USER
    assert f"{greeting[0]:02X}H is not the type of a DICOM PDU" in str(error)


def test_unknown_type_within_an_association() -> None:
    """AA-8: the provider aborts, and says why."""
    error = refused(ConnectionPair().establish().acceptor, pdu(9, b"abcd"))
    assert verdict(error) == by_provider(AbortReason.UNRECOGNIZED_PDU)


@pytest.mark.parametrize("length", [0, 1, 67, 256 * 1024 - 5, 0xFFFFFFFF])
def test_length_of_an_association_request(length: int) -> None:
    """A request that is shorter than its fixed fields, or larger than 256 KiB, is refused at its header."""
    error = refused(Acceptor(), struct.pack(">BxI", 1, length))
    assert verdict(error) == AS_USER
    assert f"A-ASSOCIATE-RQ announces {length} bytes" in str(error)


def test_largest_association_request_is_taken() -> None:
    """256 KiB fit, although the first buffer is small."""
    padding = RQ + b"\x99\0\xff\xff" + bytes(0xFFFF)
    body = padding[6:]
    while len(body) + 4 + 0xFFFF <= 256 * 1024 - 6:
        body += b"\x99\0\xff\xff" + bytes(0xFFFF)
    rest = 256 * 1024 - 6 - len(body) - 4
    body += struct.pack(">BxH", 0x99, rest) + bytes(rest)
    acceptor = Acceptor()
    (announced,) = feed(acceptor, pdu(1, body))
    assert announced.size == 256 * 1024  # type: ignore[union-attr]  # the only event there can be
    assert len(acceptor.request().contexts) == 1


@pytest.mark.parametrize("pdu_type", [3, 5, 6, 7])
@pytest.mark.parametrize("length", [0, 3, 5, 0xFFFFFFFF])
def test_length_of_the_small_pdus(pdu_type: int, length: int) -> None:
    """Each of the small PDUs has four bytes, nothing else."""
    connection: Connection
    if pdu_type == 3:
        connection = Requestor()
        associate(connection)
    else:
        pair = ConnectionPair().establish()
        connection = pair.requestor
        pair.requestor.release()
    error = refused(connection, struct.pack(">BxI", pdu_type, length))
    assert verdict(error) == by_provider(AbortReason.INVALID_PARAMETER_VALUE)


@pytest.mark.parametrize("length", [0, 5, 4097, 0xFFFFFFFF])
def test_length_of_p_data(length: int) -> None:
    """More than was offered, or nothing at all, is refused before any of it is received."""
    pair = ConnectionPair(acceptor=Acceptor(maximum_length=4096)).establish()
    error = refused(pair.acceptor, struct.pack(">BxI", 4, length))
    assert verdict(error) == by_provider(AbortReason.INVALID_PARAMETER_VALUE)
    assert "6 to 4096 are possible" in str(error)


@pytest.mark.parametrize(
    "unexpected",
    [association(pdu_type=2), pdu(3, bytes(4)), p_data(pdv(1, 3, b"")), pdu(5, bytes(4)), pdu(6, bytes(4))],
    ids=["AC", "RJ", "P-DATA", "RELEASE-RQ", "RELEASE-RP"],
)
def test_before_the_request(unexpected: bytes) -> None:
    """Before an A-ASSOCIATE-RQ nothing but an A-ABORT may come (AA-1); the header is enough to know."""
    assert verdict(refused(Acceptor(), unexpected[:6])) == AS_USER
    acceptor = Acceptor()
    assert feed(acceptor, ABORT_BY_USER) == [Aborted(0, 0)]
    assert acceptor.state is State.STA1


@pytest.mark.parametrize(
    "unexpected",
    [RQ, association(pdu_type=2), pdu(3, bytes(4)), pdu(6, bytes(4))],
    ids=["RQ", "AC", "RJ", "RELEASE-RP"],
)
def test_within_an_association(unexpected: bytes) -> None:
    """A second request, an answer to none, a confirmation of no release (AA-8)."""
    for connection in (ConnectionPair().establish().acceptor, ConnectionPair().establish().requestor):
        error = refused(connection, unexpected[:6])
        assert verdict(error) == by_provider(AbortReason.UNEXPECTED_PDU)
        assert str(error).endswith("arrived in Sta6")


def test_data_before_the_answer() -> None:
    """A requestor has to wait for the A-ASSOCIATE-AC."""
    pair = ConnectionPair()
    pair.announce()
    assert verdict(refused(pair.acceptor, p_data(pdv(1, 3, STORE)))) == by_provider(AbortReason.UNEXPECTED_PDU)


@pytest.mark.parametrize(
    "values", [[pdv(1, 1, STORE[:9])], [pdv(1, 3, STORE)], [pdv(1, 3, STORE), pdv(1, DATA, b"ab")]]
)
def test_release_in_the_middle_of_a_message(values: list[bytes]) -> None:
    """A message that is not complete can never become so after a release: no release, but an error."""
    error = refused(ConnectionPair().establish().acceptor, p_data(*values) + pdu(5, bytes(4)))
    assert verdict(error) == by_provider(AbortReason.UNEXPECTED_PDU)
    for pdu_type in (5, 6):
        pair = ConnectionPair().establish()
        pair.acceptor.release()
        error = refused(pair.acceptor, p_data(*values) + pdu(pdu_type, bytes(4)))
        assert str(error).endswith("in the middle of a message")


def test_while_the_close_is_awaited() -> None:
    """After a confirmed release PDUs are ignored (AA-6), but not a new request (AA-7); an A-ABORT ends it (AA-2)."""
    pair = ConnectionPair().establish()
    pair.to_acceptor(pair.requestor.release())
    pair.acceptor.confirm_release()
    assert pair.to_acceptor(p_data(pdv(1, 3, b"junk")) + pdu(5, bytes(4)) + pdu(3, bytes(4))) == []
    assert pair.to_acceptor(pdu(7, bytes((0, 0, 2, 1)))) == [Aborted(2, 1)]
    assert pair.acceptor.state is State.STA1

    pair = ConnectionPair().establish()
    pair.to_acceptor(pair.requestor.release())
    pair.acceptor.confirm_release()
    assert verdict(refused(pair.acceptor, RQ)) == by_provider(AbortReason.UNEXPECTED_PDU)


def test_reserved_bytes_are_not_tested() -> None:
    """PS3.8 9.3.1: reserved fields are not looked at."""
    pair = ConnectionPair().establish()
    assert pair.to_acceptor(bytes.fromhex("05 ff 00000004 ffffffff")) == [ReleaseRequested()]


def test_bytes_after_the_end() -> None:
    """What follows an A-ABORT is not looked at."""
    pair = ConnectionPair().establish()
    assert pair.to_acceptor(ABORT_BY_USER + b"GET / HTTP/1.1\r\n\r\n") == [Aborted(0, 0)]


def test_events_before_an_error_come_first() -> None:
    """The error is raised where it is reached, not before."""
    pair = ConnectionPair().establish()
    content = p_data(pdv(1, COMMAND_LAST, STORE), pdv(1, DATA, b"ab")) + b"XXXXXX"
    pair.acceptor.buffer()[: len(content)] = content
    pair.acceptor.received(len(content))
    assert isinstance(pair.acceptor.next_event(), StoreRequested)
    assert isinstance(pair.acceptor.next_event(), Fragment)
    with pytest.raises(ProtocolError):
        pair.acceptor.next_event()


@pytest.mark.parametrize(
    "body",
    [
        b"\0\0\0\0\1\3",
        b"\0\0\0\1\1\3",
        b"\0\0\0\3\1\3",
        b"\x80\0\0\0\1\3",
        b"\xff\xff\xff\xff\1\3",
        pdv(1, 1, b"ab") + b"\0",
        pdv(1, 1, b"ab") + b"\0\0\0\2\1",
    ],
    ids=["0", "1", "one too many", "2 GiB", "4 GiB", "trailing byte", "half a header"],
)
def test_length_of_a_value(body: bytes) -> None:
    """A presentation data value has at least its two fixed bytes, and ends within its PDU."""
    error = refused(ConnectionPair().establish().acceptor, pdu(4, body))
    assert verdict(error) == by_provider(AbortReason.INVALID_PARAMETER_VALUE)
    assert ("does not fit" in str(error)) is (len(body) == 6)
    assert ("ends within the header" in str(error)) is (len(body) > 6)


@pytest.mark.parametrize("context_id", [0, 2, 5, 7, 255])
@pytest.mark.parametrize("control", [0, 3])
def test_context_that_was_not_accepted(context_id: int, control: int) -> None:
    """Neither a rejected context nor an invented one carries anything."""
    error = refused(ConnectionPair().establish().acceptor, p_data(pdv(context_id, control, STORE)))
    assert verdict(error) == by_provider(AbortReason.INVALID_PARAMETER_VALUE)
    assert f"context {context_id} is not one that was accepted" in str(error)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([pdv(1, DATA, b"ab")], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(1, 1, STORE[:10]), pdv(1, DATA, b"ab")], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(1, 1, STORE[:10]), pdv(3, 3, STORE[10:])], AbortReason.INVALID_PARAMETER_VALUE),
        ([pdv(1, 3, STORE), pdv(3, DATA, b"ab")], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(1, 3, STORE), pdv(1, 3, STORE)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(1, 3, STORE), pdv(1, DATA, b"ab"), pdv(1, 3, STORE)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(1, 3, STORE), pdv(1, DATA_LAST, b"ab"), pdv(1, DATA_LAST, b"cd")], AbortReason.UNEXPECTED_PARAMETER),
    ],
    ids=[
        "data without a command", "data within a command", "command changes context", "data in another context",
        "command instead of data", "command within data", "last twice",
    ],
)  # fmt: skip
def test_order_of_fragments(values: list[bytes], reason: AbortReason) -> None:
    """A command, then its data set, in one context and without interleaving; in one PDU or in several."""
    assert verdict(refused(ConnectionPair().establish().acceptor, p_data(*values))) == by_provider(reason)
    separate = b"".join(p_data(value) for value in values)
    assert verdict(refused(ConnectionPair().establish().acceptor, separate)) == by_provider(reason)


def test_ten_thousand_values_in_one_pdu() -> None:
    """Each is an event, however small; empty ones are legal, and so are odd ones, and unknown bits are ignored."""
    pair = ConnectionPair().establish()
    values = [pdv(1, 0xFC, b"a" if i % 2 else b"") for i in range(10_000)]
    events = pair.to_acceptor(p_data(pdv(1, 3, STORE), *values, pdv(1, DATA_LAST, b"")))
    assert len(events) == 10_002
    assert events[-1] == Fragment(1, memoryview(b""), last=True)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (p_data(pdv(1, 3, STORE)) + p_data(*[pdv(1, 0, b"")] * 20_000), 20_001),
        (p_data(pdv(1, 3, STORE)) + p_data(pdv(1, 0, b"")) * 20_000, 20_001),
        (p_data(*[pdv(1, 1, b"")] * 20_000), 20_000),
        (p_data(pdv(1, 3, FIND)) + p_data(*[pdv(1, 0, b"a")] * 10_000), 10_001),
    ],
    ids=["a data set", "a data set in many PDUs", "a command", "a data set that nobody wants"],
)
def test_values_without_end_leave_others_their_turn(content: bytes, values: int) -> None:
    """However many are there at once, and whatever they are part of: it pauses in between, and misses nothing."""
    acceptor = ConnectionPair(acceptor=Acceptor(buffer=bytearray(1 << 20))).establish().acceptor
    acceptor.buffer()[: len(content)] = content
    acceptor.received(len(content))
    events = list(iter(acceptor.next_event, None))
    assert events.count(Paused()) == values // VALUES_AT_A_STRETCH
    stretch = 0
    for event in events:
        stretch = 0 if isinstance(event, Paused) else stretch + 1
        assert stretch <= VALUES_AT_A_STRETCH


def test_command_in_many_pieces() -> None:
    """A command set may be split anywhere, and empty fragments add nothing."""
    pair = ConnectionPair().establish()
    pieces = [pdv(1, 1, STORE[i : i + 1]) + pdv(1, 1, b"") for i in range(len(STORE))]
    (event,) = pair.to_acceptor(p_data(*pieces) + p_data(pdv(1, 3, b"")))
    assert isinstance(event, StoreRequested)


def test_command_without_an_end() -> None:
    """At most 64 KiB of a command set are collected."""
    pair = ConnectionPair().establish()
    largest = STORE + element(0x5010, bytes(64 * 1024 - len(STORE) - 8))
    events = pair.to_acceptor(p_data(pdv(1, 3, largest)) + p_data(pdv(1, DATA_LAST, b"")))
    assert isinstance(events[0], StoreRequested)
    assert pair.to_acceptor(p_data(pdv(1, 1, bytes(40_000)))) == []
    error = refused(pair.acceptor, p_data(pdv(1, 1, bytes(25_537))))
    assert verdict(error) == by_provider(AbortReason.INVALID_PARAMETER_VALUE)
    assert "more than 65536 bytes" in str(error)


@pytest.mark.parametrize("sent", [b"", b"\1", RQ[:6], RQ[:-1]])
def test_close_in_the_middle(sent: bytes) -> None:
    """A peer that closes is reported, wherever it stood."""
    acceptor = Acceptor()
    assert feed(acceptor, sent) == []
    assert acceptor.mid_pdu is bool(sent)
    acceptor.buffer()
    acceptor.received(0)
    assert take(acceptor) == [Closed()]
    assert acceptor.state is State.STA1
    acceptor.received(0)
    assert take(acceptor) == [Closed()]
