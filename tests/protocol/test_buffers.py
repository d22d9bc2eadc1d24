"""The receive buffer: who owns it, when it moves, and how long fragments stay valid."""

import pytest

from router.protocol import Acceptor, AssociationAnnounced, Fragment, LocalProtocolError, Requestor, StoreRequested
from tests.protocol.pair import CT, STORE_RQ, ConnectionPair, associate, command_set, feed, p_data, pdv, take

pytestmark = pytest.mark.unit

STORE = p_data(pdv(1, 3, command_set(STORE_RQ)))


def put(connection: Acceptor, content: bytes) -> None:
    """Receive all of this at once."""
    connection.buffer()[: len(content)] = content
    connection.received(len(content))


def fragments(connection: Acceptor) -> list[Fragment]:
    """What has arrived, not copied."""
    found = []
    while (event := connection.next_event()) is not None:
        if isinstance(event, Fragment):
            found.append(event)
    return found


def established(buffer: bytearray, maximum_length: int = 1000) -> Acceptor:
    """The acceptor of an association, receiving into this buffer."""
    pair = ConnectionPair(acceptor=Acceptor(maximum_length=maximum_length, buffer=bytearray(400))).establish()
    pair.acceptor.exchange(buffer)
    return pair.acceptor


def test_fragments_lie_in_the_buffer() -> None:
    """Nothing of a data set is copied."""
    buffer = bytearray(4096)
    acceptor = established(buffer)
    put(acceptor, STORE + p_data(pdv(1, 2, b"abcd")))
    (fragment,) = fragments(acceptor)
    assert fragment.content.obj is buffer
    assert bytes(fragment.content) == b"abcd"
    with pytest.raises(BufferError):
        buffer.extend(b"it is exported")


def test_until_the_buffer_is_full_fragments_stay_valid() -> None:
    """As long as another PDU is sure to fit, `buffer` only appends."""
    acceptor = established(bytearray(4096))
    put(acceptor, STORE)
    held: list[Fragment] = []
    assert not acceptor.full()
    for number in range(4):
        assert not acceptor.full()
        put(acceptor, p_data(pdv(1, 0, bytes((number,)) * 900)))
        held += fragments(acceptor)
    assert acceptor.full()
    assert [bytes(fragment.content) for fragment in held] == [bytes((number,)) * 900 for number in range(4)]
    acceptor.buffer()
    assert not acceptor.full()


def test_a_pdu_that_is_known_to_fit_is_awaited() -> None:
    """Once the header is there, `full` knows what the PDU takes."""
    acceptor = established(bytearray(1600))
    put(acceptor, STORE + p_data(pdv(1, 0, b"a" * 500)))
    assert len(fragments(acceptor)) == 1
    assert acceptor.full()
    small = p_data(pdv(1, 0, b"b" * 300))
    acceptor = established(bytearray(1600))
    put(acceptor, STORE + p_data(pdv(1, 0, b"a" * 500)) + small[:20])
    (first,) = fragments(acceptor)
    assert not acceptor.full()
    put(acceptor, small[20:])
    (second,) = fragments(acceptor)
    assert (bytes(first.content), bytes(second.content)) == (b"a" * 500, b"b" * 300)


def test_exchange_in_the_middle_of_a_pdu() -> None:
    """What is not consumed moves on; the old buffer with its fragments belongs to the caller."""
    first = bytearray(1400)
    acceptor = established(first)
    large = p_data(pdv(1, 2, b"b" * 900))
    put(acceptor, STORE + p_data(pdv(1, 0, b"a" * 500)) + large[:400])
    (held,) = fragments(acceptor)
    assert acceptor.mid_pdu
    assert acceptor.full()
    second = bytearray(1024)
    assert acceptor.exchange(second) is first
    assert acceptor.mid_pdu
    assert not acceptor.full()
    put(acceptor, large[400:])
    (fragment,) = fragments(acceptor)
    assert bytes(fragment.content) == b"b" * 900
    assert fragment.content.obj is second
    assert bytes(held.content) == b"a" * 500
    assert not acceptor.mid_pdu


def test_without_fragments_there_is_nothing_to_write_away() -> None:
    """Commands alone never make a buffer full, and after an exchange the new one is empty."""
    acceptor = established(bytearray(1400))
    put(acceptor, STORE + p_data(pdv(1, 2, b"ab")))
    assert len(fragments(acceptor)) == 1
    acceptor.exchange(bytearray(1024))
    put(acceptor, STORE)
    assert isinstance(acceptor.next_event(), StoreRequested)
    assert not acceptor.full()


def test_exchange_between_two_values_of_a_pdu() -> None:
    """A driver may exchange whenever it likes, even with events still to be taken."""
    acceptor = established(bytearray(2048))
    put(acceptor, STORE + p_data(pdv(1, 0, b"ab"), pdv(1, 2, b"cd")) + STORE)
    assert isinstance(acceptor.next_event(), StoreRequested)
    first = acceptor.next_event()
    acceptor.exchange(bytearray(1024))
    second = acceptor.next_event()
    assert isinstance(first, Fragment)
    assert isinstance(second, Fragment)
    assert (bytes(first.content), bytes(second.content)) == (b"ab", b"cd")
    assert isinstance(acceptor.next_event(), StoreRequested)


def test_exchange_for_a_buffer_that_is_too_small() -> None:
    """Received bytes are never lost; the exchange is refused and nothing changes."""
    acceptor = established(bytearray(2048))
    put(acceptor, STORE[:100])
    with pytest.raises(LocalProtocolError, match="100 received bytes"):
        acceptor.exchange(bytearray(99))
    assert acceptor.next_event() is None
    acceptor.exchange(bytearray(100))
    put(acceptor, STORE[100:])
    assert isinstance(acceptor.next_event(), StoreRequested)


@pytest.mark.parametrize("size", [0, 1, 6, 7, 200])
def test_a_small_buffer_grows(size: int) -> None:
    """A PDU that does not fit gets a larger buffer, fragments in the old one stay what they are until then."""
    pair = ConnectionPair(acceptor=Acceptor(buffer=bytearray(size)), requestor=Requestor(buffer=bytearray(size)))
    pair.establish()
    content = bytes(range(256)) * 1024
    sent = pair.requestor.store_request(1, 7, CT, "1.2.3.4")
    events = pair.to_acceptor(sent + b"".join(pair.requestor.fragments(1, memoryview(content), last=True)))
    assert b"".join(event.content for event in events if isinstance(event, Fragment)) == content


def test_the_first_buffer_is_small_until_it_has_to_grow() -> None:
    """An idle association costs 16 KiB, not a whole PDU."""
    pair = ConnectionPair().establish()
    assert len(pair.acceptor.exchange(bytearray(1))) == 16 * 1024
    assert len(pair.requestor.exchange(bytearray(1))) == 16 * 1024


def test_complete_pdus_have_to_be_taken() -> None:
    """A driver that never takes events is told so, before the buffer would grow without end."""
    pair = ConnectionPair(acceptor=Acceptor(maximum_length=100)).establish()
    echo = pair.requestor.echo_request(3, 1)
    acceptor = pair.acceptor
    acceptor.exchange(bytearray(len(echo) * 2))
    put(acceptor, echo * 2)
    with pytest.raises(LocalProtocolError, match="take their events"):
        acceptor.buffer()
    assert len(take(acceptor)) == 2
    assert len(acceptor.buffer()) == len(echo) * 2


@pytest.mark.parametrize("n", [-1, 16 * 1024 + 1])
def test_more_than_fits_cannot_have_been_received(n: int) -> None:
    """A driver that counts wrong is told."""
    acceptor = Acceptor()
    acceptor.buffer()
    with pytest.raises(LocalProtocolError):
        acceptor.received(n)


def test_a_maximum_length_that_carries_nothing() -> None:
    """Below 8 bytes no peer could send us anything."""
    with pytest.raises(LocalProtocolError):
        Acceptor(maximum_length=7)


def test_announced_request_survives_the_buffer() -> None:
    """The request may be read, in a thread, after the buffer has gone elsewhere."""
    acceptor = Acceptor()
    (announced,) = feed(acceptor, associate(Requestor()))
    assert isinstance(announced, AssociationAnnounced)
    old = acceptor.exchange(bytearray(16))
    old[:] = bytes(len(old))
    assert len(acceptor.request().contexts) == 3
