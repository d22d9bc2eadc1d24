"""Properties: bytes in any pieces, bytes of any value, fragments of any size."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.protocol import Acceptor, Connection, Event, Fragment, ProtocolError, Requestor, State
from router.protocol import pdu as pdus
from tests.protocol.pair import (
    CT,
    STORE_RQ,
    ConnectionPair,
    associate,
    association,
    command_set,
    element,
    feed,
    item,
    p_data,
    pdu,
    pdv,
    proposed,
    user_information,
)

pytestmark = pytest.mark.unit

STORE = command_set(STORE_RQ)
CONVERSATION = (
    p_data(pdv(1, 1, STORE[:30]), pdv(1, 3, STORE[30:]), pdv(1, 0, b"abcd"))
    + p_data(pdv(1, 0, b"e" * 700))
    + p_data(pdv(1, 2, b""), pdv(1, 3, STORE))
    + p_data(pdv(1, 2, b"fg"))
    + pdu(5, bytes(4))
)
RELEASES = [pdu(5, bytes(4)), pdu(6, bytes(4)), pdu(7, bytes(4))]
REQUEST = association(
    item(0x10, b"1.2.840.10008.3.1.1.1"),
    proposed(1, CT.encode()),
    proposed(3),
    user_information(item(0x55, b"NAME"), item(0x58, b"\1\0\0\4user\0\0")),
)
ACCEPTANCE = association(
    item(0x21, bytes((1, 0, 0, 0)) + item(0x40, b"1.2.840.10008.1.2.1")), user_information(), pdu_type=2
)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(0, 3000))
def test_pieces_make_no_difference(sizes: list[int], buffer: int) -> None:
    """However the bytes arrive, and whatever the buffer, the same happens."""
    expected = ConnectionPair().establish().to_acceptor(CONVERSATION)
    acceptor = Acceptor(buffer=bytearray(buffer))
    pair = ConnectionPair(acceptor=acceptor).establish()
    events: list[Event] = []
    at = 0
    while at < len(CONVERSATION):
        for size in sizes:
            events += feed(pair.acceptor, CONVERSATION[at : at + size])
            at += size
    assert events == expected


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """A valid sequence of bytes with some cut out, put in, or changed."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 8))
        content[at : at + length] = draw(st.binary(max_size=8))
    return bytes(content)


def survives(connection: Connection, content: bytes) -> None:
    """Whatever this is, it is understood or refused."""
    refusal = None
    try:
        feed(connection, content)
        if isinstance(connection, Acceptor) and connection.state is State.STA3:
            connection.request()
    except ProtocolError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal).isprintable()
        assert len(connection.abort_for(refusal)) == 10


@settings(max_examples=200)
@given(mutated(REQUEST))
def test_mutated_request(content: bytes) -> None:
    """A damaged A-ASSOCIATE-RQ never raises anything but a ProtocolError."""
    survives(Acceptor(), content)


@settings(max_examples=200)
@given(mutated(REQUEST[6:]))
def test_mutated_items_of_a_request(body: bytes) -> None:
    """Likewise if the length of the whole is right."""
    survives(Acceptor(), pdu(1, body))


@settings(max_examples=200)
@given(mutated(ACCEPTANCE[6:]))
def test_mutated_items_of_an_acceptance(body: bytes) -> None:
    """A damaged A-ASSOCIATE-AC is no different."""
    requestor = Requestor()
    associate(requestor)
    survives(requestor, pdu(2, body))


@settings(max_examples=200)
@given(mutated(CONVERSATION))
def test_mutated_conversation(content: bytes) -> None:
    """Nor are damaged P-DATA-TFs, in either direction."""
    survives(ConnectionPair().establish().acceptor, content)
    survives(ConnectionPair().establish().requestor, content)


@settings(max_examples=200)
@given(mutated(STORE))
def test_mutated_command(content: bytes) -> None:
    """Nor damaged command sets in sound fragments."""
    survives(ConnectionPair().establish().acceptor, p_data(pdv(1, 3, content)))
    answer = content + element(0x0900, b"\0\0") + element(0x0120, b"\0\0") + element(0x0100, b"\1\x80")
    survives(ConnectionPair().establish().requestor, p_data(pdv(1, 3, answer)))


@settings(max_examples=200)
@given(st.lists(st.sampled_from([REQUEST, ACCEPTANCE, CONVERSATION, *RELEASES]), max_size=6))
def test_pdus_in_any_order(sequence: list[bytes]) -> None:
    """Sound PDUs in an unsound order are refused by the table, in every state."""
    content = b"".join(sequence)
    survives(Acceptor(), content)
    pair = ConnectionPair().establish()
    pair.requestor.release()
    survives(pair.requestor, content)
    survives(pair.acceptor, content)


@given(
    content=st.binary(max_size=600),
    maximum=st.one_of(st.integers(0, 40), st.sampled_from([16384, 131072, 2**32 - 1])),
    last=st.booleans(),
    command=st.booleans(),
)
@example(content=bytes(40), maximum=9, last=True, command=False)
@example(content=bytes(40), maximum=26, last=True, command=True)
def test_fragments(content: bytes, maximum: int, *, last: bool, command: bool) -> None:
    """Fragments keep the content and the limit, only the last is odd or flagged, equal headers are one object."""
    pieces = list(pdus.fragments(1, memoryview(content), maximum, command=command, last=last))
    headers, bodies = pieces[::2], pieces[1::2]
    assert b"".join(bodies) == content
    assert all(bodies) or not content
    limit = max(8, maximum or 131072)
    for number, (header, body) in enumerate(zip(headers, bodies, strict=True)):
        pdu_type, pdu_length, pdv_length, context_id, control = struct.unpack(">BxIIBB", header)
        assert (pdu_type, context_id) == (4, 1)
        assert pdu_length == pdv_length + 4 == len(body) + 6 <= limit
        is_last = number == len(headers) - 1
        assert is_last or len(body) % 2 == 0
        assert control == (1 if command else 0) | (2 if last and is_last else 0)
    assert len({id(header) for header in headers[:-1]}) <= 1
    assert len(headers) > 0 or not (content or last)


@pytest.mark.parametrize("maximum", [0, 131072, 131074, 2**32 - 1])
def test_large_fragments(maximum: int) -> None:
    """A peer without a limit gets 128 KiB, as slices of what was given."""
    content = bytes(300_000)
    pieces = list(pdus.fragments(1, memoryview(content), maximum, command=False, last=True))
    assert [len(piece) for piece in pieces] == [12, 131066, 12, 131066, 12, 37868]
    assert pieces[0] is pieces[2]
    assert all(piece.obj is content for piece in pieces if isinstance(piece, memoryview))


@given(st.binary(max_size=300), st.integers(8, 200))
def test_data_set_through_a_pair(content: bytes, maximum: int) -> None:
    """What one end fragments the other puts together again."""
    pair = ConnectionPair(acceptor=Acceptor(maximum_length=maximum)).establish()
    sent = pair.requestor.store_request(1, 7, CT, "1.2.3.4")
    events = pair.to_acceptor(sent + b"".join(pair.requestor.fragments(1, memoryview(content), last=True)))
    assert b"".join(event.content for event in events if isinstance(event, Fragment)) == content
