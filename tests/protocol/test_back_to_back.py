"""An acceptor and a requestor talk to each other, in whole PDUs and byte by byte."""

import pytest

from router.model.presentation_context import PresentationContext
from router.protocol import (
    Aborted,
    Acceptor,
    AssociationAccepted,
    AssociationAnnounced,
    AssociationRejected,
    Closed,
    EchoAnswered,
    EchoRequested,
    Event,
    Fragment,
    LocalProtocolError,
    ReleaseConfirmed,
    ReleaseRequested,
    Requestor,
    State,
    StoreAnswered,
    StoreRequested,
)
from tests.protocol.pair import (
    ANSWERS,
    CLASS_UID,
    CONTEXTS,
    CT,
    VERIFICATION,
    VERSION,
    ConnectionPair,
    associate,
    p_data,
    pdv,
    take,
)

pytestmark = pytest.mark.unit

EITHER = pytest.mark.parametrize("chunk", [None, 1], ids=["whole", "byte by byte"])


def content_of(events: list[Event]) -> bytes:
    """The data set in these events."""
    return b"".join(event.content for event in events if isinstance(event, Fragment))


@EITHER
def test_association(chunk: int | None) -> None:
    """The acceptor learns who asks for what, the requestor learns what it may send."""
    pair = ConnectionPair(chunk=chunk, acceptor=Acceptor(maximum_length=4096), requestor=Requestor(maximum_length=8192))
    sent = associate(pair.requestor)
    assert pair.to_acceptor(sent) == [AssociationAnnounced("CT1", "ROUTER", len(sent))]
    request = pair.acceptor.request()
    assert request.contexts == CONTEXTS
    assert (request.calling_ae_title, request.called_ae_title) == ("CT1", "ROUTER")
    assert (request.maximum_length, request.protocol_version) == (8192, 1)
    assert (request.implementation_class_uid, request.implementation_version_name) == (CLASS_UID, VERSION)
    assert request.application_context == "1.2.840.10008.3.1.1.1"
    assert request.user_identity is None

    (accepted,) = pair.to_requestor(pair.accept())
    assert accepted == AssociationAccepted(ANSWERS, 4096, CLASS_UID, VERSION)
    assert pair.requestor.peer_maximum_length == 4096
    assert pair.acceptor.peer_maximum_length == 8192
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA6, State.STA6)


@EITHER
def test_rejection(chunk: int | None) -> None:
    """A rejected requestor learns why, and is idle again."""
    pair = ConnectionPair(chunk=chunk)
    pair.announce()
    assert pair.to_requestor(pair.acceptor.reject(1, 1, 3)) == [AssociationRejected(result=1, source=1, reason=3)]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA13, State.STA1)


@EITHER
@pytest.mark.parametrize("size", [0, 1, 2, 4090, 4091, 100_001])
def test_store(chunk: int | None, size: int) -> None:
    """A data set arrives as it was sent, in fragments that respect the maximum length, and is answered."""
    pair = ConnectionPair(chunk=chunk, acceptor=Acceptor(maximum_length=4096)).establish()
    content = bytes(i & 0xFF for i in range(size))
    sent = pair.requestor.store_request(1, 7, CT, "1.2.3.4", move_originator=("MOVER", 9), priority=2)
    events = pair.to_acceptor(sent + b"".join(pair.requestor.fragments(1, memoryview(content), last=True)))
    request = StoreRequested(1, 7, CT, "1.2.3.4", 2, "MOVER", 9)
    assert events[0] == request
    fragments = events[1:]
    assert content_of(fragments) == content
    assert [isinstance(event, Fragment) and event.last for event in fragments] == [False] * (len(fragments) - 1) + [
        True
    ]

    answer = pair.acceptor.store_answer(request, 0xA700, error_comment="disk full")
    assert pair.to_requestor(answer) == [StoreAnswered(1, 7, 0xA700, "disk full")]


@EITHER
def test_echo(chunk: int | None) -> None:
    """A C-ECHO is asked and answered."""
    pair = ConnectionPair(chunk=chunk).establish()
    (request,) = pair.to_acceptor(pair.requestor.echo_request(3, 1))
    assert request == EchoRequested(3, 1, VERIFICATION)
    assert pair.to_requestor(pair.acceptor.echo_answer(request)) == [EchoAnswered(1, 0)]


def test_pipelined_requests() -> None:
    """Requests sent ahead of our answers are events in order."""
    pair = ConnectionPair().establish()
    sent = b""
    for message_id in (1, 2, 3):
        sent += pair.requestor.store_request(1, message_id, CT, f"1.2.{message_id}")
        sent += b"".join(pair.requestor.fragments(1, memoryview(b"ab"), last=True))
    events = pair.to_acceptor(sent)
    assert [event.message_id for event in events if isinstance(event, StoreRequested)] == [1, 2, 3]
    assert len(events) == 6


def test_answers_fit_a_peer_with_a_tiny_maximum_length() -> None:
    """Command sets are fragmented too; whatever a peer announces, at least 8 bytes are sent."""
    pair = ConnectionPair(requestor=Requestor(maximum_length=8)).establish()
    pair.acceptor.peer_maximum_length = 3
    answer = pair.acceptor.store_answer(StoreRequested(1, 7, CT, "1.2.3.4"), 0)
    assert len(answer) > 500
    assert pair.to_requestor(answer) == [StoreAnswered(1, 7, 0)]


@EITHER
def test_release(chunk: int | None) -> None:
    """A release is confirmed; then the requestor closes."""
    pair = ConnectionPair(chunk=chunk).establish()
    assert pair.to_acceptor(pair.requestor.release()) == [ReleaseRequested()]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA8, State.STA7)
    assert pair.to_requestor(pair.acceptor.confirm_release()) == [ReleaseConfirmed()]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA13, State.STA1)
    pair.acceptor.buffer()
    pair.acceptor.received(0)
    assert take(pair.acceptor) == [Closed()]
    assert pair.acceptor.state is State.STA1


def test_data_still_flows_around_a_release() -> None:
    """What was under way when one side asked for the release is delivered (AR-6), and answered (AR-7)."""
    pair = ConnectionPair().establish()
    (request,) = pair.to_acceptor(pair.requestor.echo_request(3, 1))
    assert isinstance(request, EchoRequested)
    assert pair.to_acceptor(pair.requestor.release()) == [ReleaseRequested()]
    assert pair.to_requestor(pair.acceptor.echo_answer(request)) == [EchoAnswered(1, 0)]
    assert pair.requestor.state is State.STA7


def test_release_collision() -> None:
    """Both ask for the release at once: the requestor answers first, then the acceptor (PS3.8 7.2.2.7)."""
    pair = ConnectionPair().establish()
    from_requestor, from_acceptor = pair.requestor.release(), pair.acceptor.release()
    assert pair.to_acceptor(from_requestor) == []
    assert pair.to_requestor(from_acceptor) == [ReleaseRequested()]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA10, State.STA9)
    with pytest.raises(LocalProtocolError):
        pair.acceptor.confirm_release()

    assert pair.to_acceptor(pair.requestor.confirm_release()) == [ReleaseRequested()]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA12, State.STA11)
    assert pair.to_requestor(pair.acceptor.confirm_release()) == [ReleaseConfirmed()]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA13, State.STA1)


@EITHER
def test_abort(chunk: int | None) -> None:
    """Either side aborts with any source and reason; the other is told and idle."""
    pair = ConnectionPair(chunk=chunk).establish()
    assert pair.to_acceptor(pair.requestor.abort()) == [Aborted(source=0, reason=0)]
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA1, State.STA13)
    pair = ConnectionPair(chunk=chunk).establish()
    assert pair.to_requestor(pair.acceptor.abort(2, 6)) == [Aborted(source=2, reason=6)]


def test_abort_is_possible_in_every_state() -> None:
    """Without a connection there is nothing to send; after the end an A-ABORT may be repeated."""
    fresh = Requestor()
    assert fresh.abort() == b""
    assert fresh.state is State.STA1
    abort = bytes.fromhex("07 00 00000004 0000 00 00")

    def states() -> list[Acceptor | Requestor]:
        asking = Requestor()
        associate(asking)
        announced = ConnectionPair()
        announced.announce()
        both = ConnectionPair().establish()
        both.to_acceptor(both.requestor.release())
        ended = ConnectionPair().establish()
        ended.to_acceptor(ended.requestor.release())
        ended.acceptor.confirm_release()
        established = ConnectionPair().establish()
        return [
            Acceptor(), announced.acceptor, asking, established.acceptor, established.requestor,
            both.requestor, both.acceptor, ended.acceptor,
        ]  # fmt: skip

    reached = set()
    for connection in states():
        reached.add(connection.state)
        assert connection.abort() == abort
        assert connection.state is State.STA13
    assert reached == {State(number) for number in (2, 3, 5, 6, 7, 8, 13)}


def test_after_an_abort_nothing_is_heard_but_the_close() -> None:
    """A driver may read on while it waits for the peer to close."""
    pair = ConnectionPair().establish()
    sent = pair.requestor.store_request(1, 7, CT, "1.2.3.4")
    content = sent + p_data(pdv(1, 0, b"ab"), pdv(1, 0, b"cd"))
    pair.acceptor.buffer()[: len(content)] = content
    pair.acceptor.received(len(content))
    assert isinstance(pair.acceptor.next_event(), StoreRequested)
    assert isinstance(pair.acceptor.next_event(), Fragment)
    pair.acceptor.abort()
    assert pair.acceptor.next_event() is None
    assert pair.to_acceptor(sent * 1000 + associate(Requestor())) == []
    pair.acceptor.received(0)
    assert take(pair.acceptor) == [Closed()]
    assert pair.acceptor.state is State.STA1


def test_contexts_that_were_not_accepted_cannot_be_used() -> None:
    """Our own side is held to the negotiation as well."""
    pair = ConnectionPair().establish()
    for context_id in (5, 7):
        with pytest.raises(LocalProtocolError, match=f"context {context_id} is not one that was accepted"):
            pair.requestor.store_request(context_id, 1, CT, "1.2.3")
        with pytest.raises(LocalProtocolError):
            pair.requestor.fragments(context_id, memoryview(b""), last=True)
        with pytest.raises(LocalProtocolError):
            pair.requestor.echo_request(context_id, 1)


def test_only_the_last_part_of_a_data_set_may_be_odd() -> None:
    """PS3.8 E.1: fragments are of even length."""
    pair = ConnectionPair().establish()
    with pytest.raises(LocalProtocolError, match="odd length"):
        pair.requestor.fragments(1, memoryview(b"abc"), last=False)
    assert pair.requestor.fragments(1, memoryview(b""), last=False) == []


@pytest.mark.parametrize(
    "contexts",
    [
        (),
        tuple(PresentationContext(1 + 2 * i, CT, ("1.2",)) for i in range(129)),
        (PresentationContext(2, CT, ("1.2",)),),
        (PresentationContext(0, CT, ("1.2",)),),
        (PresentationContext(1, CT, ("1.2",)), PresentationContext(1, CT, ("1.2",))),
    ],
    ids=["none", "129", "even", "zero", "twice"],
)
def test_impossible_proposals_are_refused(contexts: tuple[PresentationContext, ...]) -> None:
    """What no A-ASSOCIATE-RQ can say is an error before anything is sent."""
    requestor = Requestor()
    with pytest.raises(LocalProtocolError, match="odd ids"):
        associate(requestor, contexts)
    assert requestor.state is State.STA1


def test_every_context_is_answered_once() -> None:
    """An acceptor cannot forget a context, or invent one."""
    pair = ConnectionPair(answers=ANSWERS[:2])
    pair.announce()
    for answers in (ANSWERS[:2], (*ANSWERS, ANSWERS[0])):
        pair.answers = answers
        with pytest.raises(LocalProtocolError, match="must be answered"):
            pair.accept()
    assert pair.acceptor.state is State.STA3


def test_nothing_is_done_out_of_turn() -> None:
    """What the table does not allow is refused and changes nothing."""
    acceptor = Acceptor()
    for forbidden in (
        acceptor.request,
        acceptor.release,
        acceptor.confirm_release,
        lambda: acceptor.reject(1, 1, 1),
        lambda: acceptor.echo_answer(EchoRequested(3, 1, VERIFICATION)),
    ):
        with pytest.raises(LocalProtocolError):
            forbidden()
        assert acceptor.state is State.STA2
    pair = ConnectionPair().establish()
    with pytest.raises(LocalProtocolError):
        associate(pair.requestor)
    with pytest.raises(LocalProtocolError):
        pair.acceptor.request()
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA6, State.STA6)
