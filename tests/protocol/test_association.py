"""Bad and unusual input, A-ASSOCIATE (PS3.8 9.3.2 and 9.3.3, PS3.7 D.3.3)."""

import struct
from collections.abc import Sequence

import pytest

from router.model.presentation_context import AnsweredContext, ContextResult, PresentationContext
from router.protocol import (
    AbortReason,
    AbortSource,
    Acceptor,
    AssociationAccepted,
    AssociationAnnounced,
    AssociationRequest,
    LocalProtocolError,
    ProtocolError,
    Requestor,
    State,
    UserIdentity,
)
from tests.protocol.pair import (
    ANSWERS,
    CLASS_UID,
    CONTEXTS,
    EXPLICIT,
    IMPLICIT,
    VERSION,
    ConnectionPair,
    associate,
    association,
    feed,
    item,
    proposed,
    user_information,
)

pytestmark = pytest.mark.unit

APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
ALL_BYTES = bytes(range(256))


def request_of(content: bytes) -> AssociationRequest:
    """What is read from an A-ASSOCIATE-RQ."""
    acceptor = Acceptor()
    (announced,) = feed(acceptor, content)
    assert isinstance(announced, AssociationAnnounced)
    assert announced.size == len(content)
    return acceptor.request()


def refused(content: bytes, reason: AbortReason = AbortReason.INVALID_PARAMETER_VALUE) -> str:
    """Why an A-ASSOCIATE-RQ is refused when it is read."""
    acceptor = Acceptor()
    feed(acceptor, content)
    with pytest.raises(ProtocolError) as caught:
        acceptor.request()
    assert (caught.value.source, caught.value.reason) == (AbortSource.SERVICE_PROVIDER, reason)
    assert acceptor.abort_for(caught.value)[-2:] == bytes((2, reason))
    assert acceptor.state is State.STA13
    return str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 128])
def test_number_of_contexts(count: int) -> None:
    """1 to 128 presentation contexts are read."""
    request = request_of(association(APPLICATION, *(proposed(1 + 2 * i) for i in range(count))))
    assert [context.id for context in request.contexts] == [1 + 2 * i for i in range(count)]


@pytest.mark.parametrize("count", [0, 129, 300])
def test_impossible_number_of_contexts(count: int) -> None:
    """None, or more than 128, are refused."""
    sentence = refused(association(APPLICATION, *(proposed(1 + 2 * i & 0xFF) for i in range(count))))
    assert sentence.startswith(f"{count} presentation contexts")


@pytest.mark.parametrize("context_id", [0, 2, 254])
def test_even_context_id(context_id: int) -> None:
    """Ids are odd (PS3.8 9.3.2.2)."""
    assert str(context_id) in refused(association(APPLICATION, proposed(1), proposed(context_id)))


def test_duplicate_context_id() -> None:
    """Ids are unique."""
    assert "same id" in refused(association(APPLICATION, proposed(3), proposed(3)))


@pytest.mark.parametrize("count", [0, 5000])
def test_number_of_transfer_syntaxes(count: int) -> None:
    """A context may propose none, which nobody can accept, or far too many: that is for the negotiation."""
    syntaxes = b"".join(item(0x40, b"1.2.%d" % i) for i in range(count))
    context = item(0x20, bytes((1, 0, 0, 0)) + item(0x30, b"1.2") + syntaxes)
    (read,) = request_of(association(context)).contexts
    assert len(read.transfer_syntaxes) == count


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"1.02", "1.02"),
        (b"1..2", "1..2"),
        (b"1.2\0", "1.2"),
        (b"1.2 ", "1.2"),
        (b"1.2\0\0 \0", "1.2"),
        (b"1" * 64, "1" * 64),
        (b"../x", "../x"),
    ],
)
def test_unusual_uid(raw: bytes, expected: str) -> None:
    """A router takes the UIDs that others make up, without their padding."""
    (context,) = request_of(association(APPLICATION, proposed(1, raw, raw))).contexts
    assert context == PresentationContext(1, expected, (expected,))


@pytest.mark.parametrize("raw", [b"", b"\0", b"1" * 65, b"1" * 65_000, b"1.2\n3", b"1.\0002", b"1.\x1b[2J", b"1.\xff"])
def test_impossible_uid(raw: bytes) -> None:
    """What cannot be a UID is refused, and not repeated."""
    for context in (proposed(1, raw), proposed(1, b"1.2", raw)):
        assert refused(association(APPLICATION, context)).isprintable()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ""),
        (b"  CT 1  ", "CT 1"),
        (b"ct1\0\0", "ct1"),
        (b"X\nINFO fake\x1b", "X\\nINFO fake\\x1b"),
        (b"A\\B", "A\\\\B"),
        (b"\xc4\xd6", "\\xc4\\xd6"),
        (b"../../etc/x", "../../etc/x"),
    ],
)
def test_unusual_ae_title(raw: bytes, expected: str) -> None:
    """Titles are reported before anything is decoded, as printable text whatever they are."""
    content = association(APPLICATION, proposed(1), calling=raw, called=raw)
    (announced,) = feed(Acceptor(), content)
    assert announced == AssociationAnnounced(expected, expected, len(content))
    request = request_of(content)
    assert (request.calling_ae_title, request.called_ae_title) == (expected, expected)


@pytest.mark.parametrize("start", range(0, 256, 16))
def test_any_byte_in_an_ae_title(start: int) -> None:
    """No byte value makes a title unreadable."""
    (announced,) = feed(Acceptor(), association(calling=ALL_BYTES[start : start + 16]))
    assert isinstance(announced, AssociationAnnounced)
    assert announced.calling_ae_title.isprintable()


def test_titles_are_announced_before_the_items_are_looked_at() -> None:
    """A malformed request still says whom it comes from; it is refused when it is read."""
    acceptor = Acceptor()
    assert feed(acceptor, association(b"\x20\0\xff\xff")) == [AssociationAnnounced("CT1", "ROUTER", 78)]
    with pytest.raises(ProtocolError):
        acceptor.request()


@pytest.mark.parametrize("version", [0, 1, 2, 3, 0xFFFF])
def test_protocol_version(version: int) -> None:
    """It is reported; to reject it is for the application."""
    assert request_of(association(APPLICATION, proposed(1), version=version)).protocol_version == version


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], ""),
        ([item(0x10, b"1.2.3\0")], "1.2.3"),
        ([item(0x10, b"\n" * 1000)], "\\n" * 64),
        ([APPLICATION], "1.2.840.10008.3.1.1.1"),
    ],
)
def test_application_context(items: list[bytes], expected: str) -> None:
    """It is reported; to reject it is for the application."""
    assert request_of(association(*items, proposed(1))).application_context == expected


@pytest.mark.parametrize(
    "items",
    [
        [APPLICATION, APPLICATION, proposed(1)],
        [proposed(1), user_information(), user_information()],
        [proposed(1), user_information(item(0x51, bytes(4)))],
        [item(0x20, bytes((1, 0, 0, 0)) + item(0x30, b"1.2") + item(0x30, b"1.3"))],
    ],
    ids=["application context", "user information", "maximum length", "abstract syntax"],
)
def test_item_that_may_be_there_once(items: list[bytes]) -> None:
    """Twice is one too many."""
    refused(association(*items), AbortReason.UNEXPECTED_PARAMETER)


@pytest.mark.parametrize(
    "items",
    [
        [b"\x20"],
        [b"\x20\0\0"],
        [b"\x20\0\xff\xff"],
        [proposed(1), b"\x50\0\0\1"],
        [item(0x20, b"")],
        [item(0x20, b"\1\0\0")],
        [item(0x20, b"\1\0\0\0")],
        [item(0x20, b"\1\0\0\0\x30\0\0\x09" + b"1.2")],
        [proposed(1), item(0x50, b"\x51")],
        [proposed(1), item(0x50, item(0x51, b"\0\0\1"))],
        [proposed(1), item(0x50, item(0x51, b"\0\0\0\0\1"))],
        [proposed(1), user_information(item(0x58, b"\1"))],
        [proposed(1), user_information(item(0x58, b"\1\0\0\5name"))],
    ],
    ids=[
        "one byte", "half a header", "longer than the PDU", "one byte short", "empty context", "short context",
        "no abstract syntax", "abstract syntax too long", "half a sub-item", "maximum length of 3",
        "maximum length of 5",
        "user identity of 1", "user identity too long",
    ],
)  # fmt: skip
def test_malformed_item(items: list[bytes]) -> None:
    """Every length is checked against what contains it."""
    refused(association(*items))


def test_unknown_items_are_ignored() -> None:
    """User information that is not known has to be ignored (PS3.8 D.2); what we do not negotiate is, too."""
    unknown = item(0x7F, b"later edition")
    junk = [item(number, b"\xff\xff\xff") for number in (0x53, 0x54, 0x56, 0x57, 0x59)]
    request = request_of(association(unknown, APPLICATION, proposed(1), user_information(unknown, *junk)))
    assert request.maximum_length == 16384
    assert request.implementation_class_uid == "1.2.3"


def test_without_user_information() -> None:
    """What a peer does not say is empty, and sets no limit."""
    request = request_of(association(APPLICATION, proposed(1)))
    assert (request.maximum_length, request.implementation_class_uid, request.implementation_version_name) == (
        0,
        "",
        "",
    )


def test_long_names_are_cut() -> None:
    """Names that only inform are never a reason to refuse, nor a way to fill a log."""
    request = request_of(association(proposed(1), user_information(item(0x55, b"V" * 60_000))))
    assert request.implementation_version_name == "V" * 64


@pytest.mark.parametrize("size", [0, 4, 60_000])
def test_user_identity(size: int) -> None:
    """Type and primary field are reported; the field may be a secret, and does not show."""
    primary = b"Z" * size
    body = bytes((2, 1)) + struct.pack(">H", size) + primary + struct.pack(">H", 4) + b"code"
    request = request_of(association(proposed(1), user_information(item(0x58, body))))
    assert request.user_identity == UserIdentity(2, primary, b"code", positive_response_requested=True)
    assert "ZZ" not in repr(request)
    assert "code" not in repr(request)


def test_user_identity_of_a_name_alone() -> None:
    """The secondary field is empty, or left out altogether."""
    for body in (b"\1\0\0\2ab\0\0", b"\1\0\0\2ab"):
        request = request_of(association(proposed(1), user_information(item(0x58, body))))
        assert request.user_identity == UserIdentity(1, b"ab")


def accepted(
    answers: Sequence[tuple[int, int, bytes]], *items: bytes, contexts: Sequence[PresentationContext] = CONTEXTS
) -> AssociationAccepted:
    """What is read from an A-ASSOCIATE-AC."""
    requestor = Requestor()
    associate(requestor, contexts)
    (event,) = feed(requestor, association(APPLICATION, *(answered(*answer) for answer in answers), *items, pdu_type=2))
    assert isinstance(event, AssociationAccepted)
    assert requestor.state is State.STA6
    return event


def answered(context_id: int, result: int, transfer_syntax: bytes) -> bytes:
    """A presentation context item of an A-ASSOCIATE-AC."""
    return item(0x21, bytes((context_id, 0, result, 0)) + item(0x40, transfer_syntax))


def test_answers_in_any_order() -> None:
    """Answers are matched by id, and reported in the order of the proposal."""
    event = accepted(
        [(5, 3, b""), (3, 0, IMPLICIT.encode() + b"\0"), (1, 0, EXPLICIT.encode())],
        user_information(item(0x55, b"PACS")),
    )
    assert event == AssociationAccepted(ANSWERS, 16384, "1.2.3", "PACS")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(1, result, b"\xff" * 99)], ContextResult(result)) for result in (1, 2, 3, 4)
    ]
    + [
        ([], ContextResult.NO_REASON),
        ([(1, 5, b"")], ContextResult.NO_REASON),
        ([(1, 255, b"")], ContextResult.NO_REASON),
        ([(1, 0, b"1.2.3")], ContextResult.NO_REASON),
        ([(1, 0, b"")], ContextResult.NO_REASON),
        ([(7, 0, b"1.2.3")], ContextResult.NO_REASON),
    ],
)  # fmt: skip
def test_context_that_cannot_be_used(answers: list[tuple[int, int, bytes]], expected: ContextResult) -> None:
    """A rejection is told as it is; an acceptance of what was not proposed is none."""
    contexts = CONTEXTS[:1]
    event = accepted(answers, contexts=contexts)
    assert event.contexts == (AnsweredContext(1, contexts[0].abstract_syntax, expected),)
    assert event.maximum_length == 0


def test_acceptance_without_a_transfer_syntax() -> None:
    """An accepted context without the sub-item cannot be used either."""
    event = accepted([], item(0x21, bytes((1, 0, 0, 0))))
    assert event.contexts[0].result is ContextResult.NO_REASON


def test_rejection_with_junk() -> None:
    """What else a rejected context carries is not tested (PS3.8 9.3.3.2)."""
    event = accepted([], item(0x21, bytes((1, 0, 3, 0)) + b"\x40\0\xff\xff"))
    assert event.contexts[0].result is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


@pytest.mark.parametrize(
    "items",
    [[answered(1, 0, b"1.2"), answered(1, 3, b"1.2")], [item(0x21, b"\1\0\0")], [b"\x21\0\xff\xff"]],
    ids=["twice", "short", "too long"],
)
def test_malformed_acceptance(items: list[bytes]) -> None:
    """A malformed A-ASSOCIATE-AC is an error of the peer, and aborted."""
    requestor = Requestor()
    associate(requestor)
    with pytest.raises(ProtocolError) as caught:
        feed(requestor, association(*items, pdu_type=2))
    assert caught.value.reason is AbortReason.INVALID_PARAMETER_VALUE
    assert requestor.state is State.STA13


def test_acceptance_repeats_the_titles() -> None:
    """The title fields and the 32 reserved bytes come back as they were received (PS3.8 9.3.3)."""
    content = bytearray(association(APPLICATION, proposed(1), called=ALL_BYTES[:16], calling=ALL_BYTES[240:]))
    content[42:74] = b"r" * 32
    acceptor = Acceptor()
    feed(acceptor, bytes(content))
    answer = AnsweredContext(1, "1.2", ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    sent = acceptor.accept(
        acceptor.request(), [answer], implementation_class_uid=CLASS_UID, implementation_version_name=""
    )
    assert sent[6:74] == b"\0\1\0\0" + content[10:74]


@pytest.mark.parametrize(
    "changed",
    [
        {"calling_ae_title": ""},
        {"calling_ae_title": "   "},
        {"called_ae_title": "SEVENTEEN LETTERS"},
        {"called_ae_title": "É"},
        {"implementation_class_uid": ""},
        {"implementation_class_uid": "1" * 65},
        {"implementation_version_name": "SEVENTEEN LETTERS"},
        {"contexts": [PresentationContext(1, "", (IMPLICIT,))]},
        {"contexts": [PresentationContext(1, "1.2", ("",))]},
    ],
)
def test_request_that_cannot_be_written(changed: dict[str, object]) -> None:
    """Our own values are checked before anything is sent."""
    arguments: dict[str, object] = {
        "calling_ae_title": "CT1",
        "called_ae_title": "ROUTER",
        "contexts": CONTEXTS,
        "implementation_class_uid": CLASS_UID,
        "implementation_version_name": VERSION,
    }
    requestor = Requestor()
    with pytest.raises(LocalProtocolError):
        requestor.associate(**(arguments | changed))  # type: ignore[arg-type]  # one of them is wrong, never its type
    assert requestor.state is State.STA1


def test_pair_rejects_every_context() -> None:
    """An association without any accepted context is still established."""
    answers = [AnsweredContext(context.id, context.abstract_syntax, ContextResult(3)) for context in CONTEXTS]
    pair = ConnectionPair(answers=answers).establish()
    assert (pair.acceptor.state, pair.requestor.state) == (State.STA6, State.STA6)
