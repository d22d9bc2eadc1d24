"""A-ASSOCIATE-RQ and A-ASSOCIATE-AC: their items, read and written (PS3.8 9.3.2 and 9.3.3, PS3.7 D.3.3).

Why not pynetdicom's codec: it refuses user information sub-items that it does not know, which must be ignored (PS3.8
D.2); it puts each unusual UID of a peer, as text, into the log and for ever into Python's registry of warnings; and it
needs many times as long. It is the witness that the tests hold this one against.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from router.model.presentation_context import (
    MAXIMUM_CONTEXTS,
    AnsweredContext,
    ContextResult,
    PresentationContext,
)
from router.protocol import text
from router.protocol.errors import AbortReason, ProtocolError
from router.protocol.events import AssociationAccepted
from router.protocol.pdu import HEADER, PduType

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
"""The DICOM application context name (PS3.7 A.2.1)."""

TITLES: Final = slice(10, 74)
"""Called and calling AE title and the reserved bytes after them, which an A-ASSOCIATE-AC repeats (PS3.8 9.3.3)."""

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_VERSION = 1

_APPLICATION_CONTEXT_ITEM = 0x10
_CONTEXT_RQ_ITEM = 0x20
_CONTEXT_AC_ITEM = 0x21
_ABSTRACT_SYNTAX_ITEM = 0x30
_TRANSFER_SYNTAX_ITEM = 0x40
_USER_INFORMATION_ITEM = 0x50
_MAXIMUM_LENGTH_ITEM = 0x51
_IMPLEMENTATION_CLASS_ITEM = 0x52
_IMPLEMENTATION_VERSION_ITEM = 0x55
_USER_IDENTITY_ITEM = 0x58
_USER_IDENTITY_RESPONSE_ITEM = 0x59

_ITEM = struct.Struct(">BxH")
_VERSION_NAME_LENGTH = 16
_FIXED = 4
"""Bytes before the sub-items of a presentation context, and before the primary field of a user identity."""


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the peer says its user is (PS3.7 D.3.3.7.1). The fields may be a name and a secret: they are not shown."""

    type: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    """The passcode, with type 2."""
    positive_response_requested: bool = False


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ, read. What the application decides on is reported, not judged.

    `maximum_length` is 0 if the peer sets no limit or names none. Texts that the peer does not send are empty.
    """

    calling_ae_title: str
    called_ae_title: str
    contexts: tuple[PresentationContext, ...]
    maximum_length: int
    implementation_class_uid: str
    implementation_version_name: str
    user_identity: UserIdentity | None
    protocol_version: int
    application_context: str


@dataclass(frozen=True, slots=True)
class _UserInformation:
    maximum_length: int
    implementation_class_uid: str
    implementation_version_name: str
    user_identity: UserIdentity | None


def read_titles(pdu: bytes) -> tuple[str, str]:
    """Return the calling and the called AE title of an A-ASSOCIATE-RQ, looking at nothing else."""
    return text.read_text(pdu[26:42]), text.read_text(pdu[10:26])


def read_request(pdu: bytes) -> AssociationRequest:
    """Read a whole A-ASSOCIATE-RQ.

    Raises:
        ProtocolError: its items are malformed, or the presentation contexts are not 1 to 128 with odd ids of their own.
    """
    (protocol_version,) = struct.unpack_from(">H", pdu, 6)
    calling, called = read_titles(pdu)
    items = _gathered(pdu[74:])
    contexts = items.get(_CONTEXT_RQ_ITEM, [])
    if not 1 <= len(contexts) <= MAXIMUM_CONTEXTS:
        raise _invalid(f"{len(contexts)} presentation contexts are proposed, 1 to {MAXIMUM_CONTEXTS} are possible")
    proposed = tuple(_read_proposed(body) for body in contexts)
    if len({context.id for context in proposed}) != len(proposed):
        raise _invalid("two presentation contexts have the same id")
    application_context = _only(items, _APPLICATION_CONTEXT_ITEM, "application context")
    user = _read_user_information(items)
    return AssociationRequest(
        calling_ae_title=calling,
        called_ae_title=called,
        contexts=proposed,
        maximum_length=user.maximum_length,
        implementation_class_uid=user.implementation_class_uid,
        implementation_version_name=user.implementation_version_name,
        user_identity=user.user_identity,
        protocol_version=protocol_version,
        application_context=text.read_text(application_context),
    )


def read_accepted(pdu: bytes, proposed: Sequence[PresentationContext]) -> AssociationAccepted:
    """Read a whole A-ASSOCIATE-AC, as the answer to what was proposed.

    A context that the peer forgot, answered with an unknown result, or accepted with a transfer syntax that was not
    proposed for it, counts as rejected without a reason: it cannot be used, the others can.

    Raises:
        ProtocolError: its items are malformed, or a context is answered twice.
    """
    items = _gathered(pdu[74:])
    answers: dict[int, tuple[int, str]] = {}
    for body in items.get(_CONTEXT_AC_ITEM, []):
        context_id, result, transfer_syntax = _read_answered(body)
        if context_id in answers:
            raise _invalid(f"presentation context {context_id} is answered twice")
        answers[context_id] = result, transfer_syntax
    user = _read_user_information(items)
    return AssociationAccepted(
        contexts=tuple(_judge(context, *answers.get(context.id, _NO_ANSWER)) for context in proposed),
        maximum_length=user.maximum_length,
        implementation_class_uid=user.implementation_class_uid,
        implementation_version_name=user.implementation_version_name,
    )


_NO_ANSWER = (ContextResult.NO_REASON.value, "")
_REJECTIONS = {result.value: result for result in ContextResult if result is not ContextResult.ACCEPTANCE}


def _judge(context: PresentationContext, result: int, transfer_syntax: str) -> AnsweredContext:
    if result == ContextResult.ACCEPTANCE and transfer_syntax in context.transfer_syntaxes:
        return AnsweredContext(context.id, context.abstract_syntax, ContextResult.ACCEPTANCE, transfer_syntax)
    return AnsweredContext(context.id, context.abstract_syntax, _REJECTIONS.get(result, ContextResult.NO_REASON))


def _items(raw: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(raw):
        if at + _ITEM.size > len(raw):
            raise _invalid("an item of the A-ASSOCIATE PDU ends within its header")
        item_type, length = _ITEM.unpack_from(raw, at)
        end = at + _ITEM.size + length
        if end > len(raw):
            raise _invalid(f"an item of type {item_type:02X}H is longer than what contains it")
        yield item_type, raw[at + _ITEM.size : end]
        at = end


def _gathered(raw: bytes) -> dict[int, list[bytes]]:
    """Items by type. Those of unknown types are never asked for, and so ignored (PS3.8 D.2)."""
    gathered: dict[int, list[bytes]] = {}
    for item_type, body in _items(raw):
        gathered.setdefault(item_type, []).append(body)
    return gathered


def _only(items: dict[int, list[bytes]], item_type: int, name: str) -> bytes:
    """The body of an item that may be there once; empty if it is not there."""
    bodies = items.get(item_type, [b""])
    if len(bodies) > 1:
        raise ProtocolError(f"there are {len(bodies)} {name} items", AbortReason.UNEXPECTED_PARAMETER)
    return bodies[0]


def _read_proposed(body: bytes) -> PresentationContext:
    if len(body) < _FIXED:
        raise _invalid("a presentation context item is too short")
    context_id = body[0]
    if not context_id & 1:
        raise _invalid(f"the presentation context id {context_id} is even")
    items = _gathered(body[_FIXED:])
    abstract_syntax = text.read_uid(_only(items, _ABSTRACT_SYNTAX_ITEM, "abstract syntax"), "abstract syntax")
    transfer_syntaxes = items.get(_TRANSFER_SYNTAX_ITEM, [])
    return PresentationContext(
        context_id, abstract_syntax, tuple(text.read_uid(raw, "transfer syntax") for raw in transfer_syntaxes)
    )


def _read_answered(body: bytes) -> tuple[int, int, str]:
    if len(body) < _FIXED:
        raise _invalid("a presentation context item is too short")
    # The transfer syntax is not significant, and not to be tested, unless the context is accepted (PS3.8 9.3.3.2).
    accepted = body[2] == ContextResult.ACCEPTANCE
    raw = _gathered(body[_FIXED:]).get(_TRANSFER_SYNTAX_ITEM, [b""])[0] if accepted else b""
    return body[0], body[2], text.read_text(raw)


def _read_user_information(items: dict[int, list[bytes]]) -> _UserInformation:
    inner = _gathered(_only(items, _USER_INFORMATION_ITEM, "user information"))
    maximum_length = _only(inner, _MAXIMUM_LENGTH_ITEM, "maximum length") or bytes(4)
    if len(maximum_length) != 4:  # noqa: PLR2004 - PS3.8 D.1.1
        raise _invalid("the maximum length does not have four bytes")
    return _UserInformation(
        maximum_length=int.from_bytes(maximum_length, "big"),
        implementation_class_uid=text.read_text(_only(inner, _IMPLEMENTATION_CLASS_ITEM, "implementation class UID")),
        implementation_version_name=text.read_text(
            _only(inner, _IMPLEMENTATION_VERSION_ITEM, "implementation version name")
        ),
        user_identity=_read_user_identity(_only(inner, _USER_IDENTITY_ITEM, "user identity")),
    )


def _read_user_identity(body: bytes) -> UserIdentity | None:
    if not body:
        return None
    primary = _sized(body[2:])
    # There are peers that leave out the length of a secondary field that they do not have.
    secondary = _sized(body[_FIXED + len(primary) :] or bytes(2))
    return UserIdentity(body[0], primary, secondary, positive_response_requested=body[1:2] == b"\1")


def _sized(body: bytes) -> bytes:
    """A field of a user identity, behind its length."""
    (length, content) = int.from_bytes(body[:2], "big"), body[2:]
    if len(body) < 2 or len(content) < length:  # noqa: PLR2004 - PS3.7 Table D.3-14
        raise _invalid("the user identity is shorter than it says")
    return content[:length]


def _invalid(sentence: str) -> ProtocolError:
    return ProtocolError(sentence, AbortReason.INVALID_PARAMETER_VALUE)


def write_request(
    calling_ae_title: str,
    called_ae_title: str,
    contexts: Sequence[PresentationContext],
    *,
    maximum_length: int,
    implementation_class_uid: str,
    implementation_version_name: str,
) -> bytes:
    """Return an A-ASSOCIATE-RQ.

    Raises:
        LocalProtocolError: an AE title, a UID or a name of ours cannot be written.
    """
    titles = text.write_ae_title(called_ae_title, "called AE title") + text.write_ae_title(
        calling_ae_title, "calling AE title"
    )
    items = [_proposed_item(context) for context in contexts]
    user = _user_information_item(maximum_length, implementation_class_uid, implementation_version_name)
    return _associate(PduType.ASSOCIATE_RQ, titles + bytes(32), [*items, user])


def write_accepted(
    titles: bytes,
    request: AssociationRequest,
    answers: Sequence[AnsweredContext],
    *,
    maximum_length: int,
    implementation_class_uid: str,
    implementation_version_name: str,
    user_recognised: bool = False,
) -> bytes:
    """Return an A-ASSOCIATE-AC. Roles and the asynchronous operations window stay at their defaults.

    Args:
        titles: the 64 bytes of the request that are repeated.
        request: what is answered.
        answers: one for each proposed context.
        maximum_length: of a P-DATA-TF that we take, in bytes.
        implementation_class_uid: ours.
        implementation_version_name: ours, at most 16 characters.
        user_recognised: the user identity was checked; that is said if the peer asked for it.

    Raises:
        LocalProtocolError: a UID or a name of ours cannot be written.
    """
    proposed = {context.id: context.transfer_syntaxes for context in request.contexts}
    items = [_answered_item(answer, proposed[answer.id]) for answer in answers]
    identity = request.user_identity
    # For types 1 and 2 the response is empty (PS3.7 D.3.3.7.2).
    asked = user_recognised and identity is not None and identity.positive_response_requested
    response = _item(_USER_IDENTITY_RESPONSE_ITEM, bytes(2)) if asked else b""
    user = _user_information_item(maximum_length, implementation_class_uid, implementation_version_name, response)
    return _associate(PduType.ASSOCIATE_AC, titles, [*items, user])


def _associate(pdu_type: PduType, titles: bytes, items: list[bytes]) -> bytes:
    application_context = _item(_APPLICATION_CONTEXT_ITEM, APPLICATION_CONTEXT.encode("ascii"))
    body = b"".join([struct.pack(">H2x", _VERSION), titles, application_context, *items])
    return HEADER.pack(pdu_type, len(body)) + body


def _item(item_type: int, body: bytes) -> bytes:
    return _ITEM.pack(item_type, len(body)) + body


def _transfer_syntax_item(transfer_syntax: str) -> bytes:
    return _item(_TRANSFER_SYNTAX_ITEM, text.write_uid(transfer_syntax, "transfer syntax"))


def _proposed_item(context: PresentationContext) -> bytes:
    abstract_syntax = _item(_ABSTRACT_SYNTAX_ITEM, text.write_uid(context.abstract_syntax, "abstract syntax"))
    transfer_syntaxes = b"".join(_transfer_syntax_item(syntax) for syntax in context.transfer_syntaxes)
    return _item(_CONTEXT_RQ_ITEM, bytes((context.id, 0, 0, 0)) + abstract_syntax + transfer_syntaxes)


def _answered_item(answer: AnsweredContext, proposed: tuple[str, ...]) -> bytes:
    # A rejected context carries a transfer syntax too, of no significance (PS3.8 9.3.3.2).
    transfer_syntax = answer.transfer_syntax or next(iter(proposed), _IMPLICIT_VR_LITTLE_ENDIAN)
    return _item(_CONTEXT_AC_ITEM, bytes((answer.id, 0, answer.result, 0)) + _transfer_syntax_item(transfer_syntax))


def _user_information_item(
    maximum_length: int, implementation_class_uid: str, implementation_version_name: str, more: bytes = b""
) -> bytes:
    class_uid = text.write_uid(implementation_class_uid, "implementation class UID")
    version_name = text.write(implementation_version_name, "implementation version name", _VERSION_NAME_LENGTH)
    inner = _item(_MAXIMUM_LENGTH_ITEM, struct.pack(">I", maximum_length))
    inner += _item(_IMPLEMENTATION_CLASS_ITEM, class_uid)
    if version_name:
        inner += _item(_IMPLEMENTATION_VERSION_ITEM, version_name)
    return _item(_USER_INFORMATION_ITEM, inner + more)
