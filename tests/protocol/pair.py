"""Two ends of one association, linked in memory, and the bytes that a peer could send instead."""

import struct
from collections.abc import Sequence

from router.model.presentation_context import AnsweredContext, ContextResult, PresentationContext
from router.protocol import Acceptor, Connection, Event, Fragment, Paused, Requestor

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
CLASS_UID = "2.25.1"
VERSION = "TEST"

CONTEXTS = (
    PresentationContext(1, CT, (EXPLICIT, IMPLICIT)),
    PresentationContext(3, VERIFICATION, (IMPLICIT,)),
    PresentationContext(5, "1.2.3", (EXPLICIT,)),
)
"""The first two will be accepted."""

ANSWERS = (
    AnsweredContext(1, CT, ContextResult.ACCEPTANCE, EXPLICIT),
    AnsweredContext(3, VERIFICATION, ContextResult.ACCEPTANCE, IMPLICIT),
    AnsweredContext(5, "1.2.3", ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED),
)


def feed(connection: Connection, content: bytes, chunk: int | None = None) -> list[Event]:
    """Let a connection receive bytes, at most `chunk` at a time; fragments are copied, as a driver has to."""
    events: list[Event] = []
    waiting = memoryview(content)
    while waiting:
        space = connection.buffer()
        n = min(len(space), len(waiting), chunk or len(waiting))
        space[:n] = waiting[:n]
        connection.received(n)
        waiting = waiting[n:]
        events += take(connection)
    return events


def take(connection: Connection) -> list[Event]:
    """Everything that has happened so far."""
    events: list[Event] = []
    while (event := connection.next_event()) is not None:
        if isinstance(event, Paused):
            continue
        if isinstance(event, Fragment):
            event = Fragment(event.context_id, memoryview(bytes(event.content)), event.last)
        events.append(event)
    return events


class ConnectionPair:
    """An acceptor and a requestor; what one says, the other hears, in pieces of `chunk` bytes."""

    def __init__(
        self,
        *,
        chunk: int | None = None,
        acceptor: Acceptor | None = None,
        requestor: Requestor | None = None,
        contexts: Sequence[PresentationContext] = CONTEXTS,
        answers: Sequence[AnsweredContext] = ANSWERS,
    ) -> None:
        self.chunk = chunk
        self.acceptor = acceptor or Acceptor()
        self.requestor = requestor or Requestor()
        self.contexts = contexts
        self.answers = answers

    def to_acceptor(self, content: bytes) -> list[Event]:
        """What the acceptor makes of these bytes."""
        return feed(self.acceptor, content, self.chunk)

    def to_requestor(self, content: bytes) -> list[Event]:
        """What the requestor makes of these bytes."""
        return feed(self.requestor, content, self.chunk)

    def announce(self) -> list[Event]:
        """The requestor asks for the association."""
        return self.to_acceptor(associate(self.requestor, self.contexts))

    def establish(self) -> "ConnectionPair":
        """Ask for the association, and accept it."""
        self.announce()
        self.to_requestor(self.accept())
        return self

    def accept(self) -> bytes:
        """The acceptor's answer."""
        return self.acceptor.accept(
            self.acceptor.request(),
            self.answers,
            implementation_class_uid=CLASS_UID,
            implementation_version_name=VERSION,
        )


def associate(requestor: Requestor, contexts: Sequence[PresentationContext] = CONTEXTS) -> bytes:
    """An A-ASSOCIATE-RQ of ours."""
    return requestor.associate(
        calling_ae_title="CT1",
        called_ae_title="ROUTER",
        contexts=contexts,
        implementation_class_uid=CLASS_UID,
        implementation_version_name=VERSION,
    )


def pdu(pdu_type: int, body: bytes) -> bytes:
    """Any PDU."""
    return struct.pack(">BxI", pdu_type, len(body)) + body


def pdv(context_id: int, control: int, content: bytes) -> bytes:
    """A presentation data value."""
    return struct.pack(">IBB", len(content) + 2, context_id, control) + content


def p_data(*values: bytes) -> bytes:
    """A P-DATA-TF."""
    return pdu(4, b"".join(values))


def item(item_type: int, body: bytes) -> bytes:
    """An item, or a sub-item."""
    return struct.pack(">BxH", item_type, len(body)) + body


def proposed(context_id: int, abstract_syntax: bytes = b"1.2", *transfer_syntaxes: bytes) -> bytes:
    """A presentation context item of an A-ASSOCIATE-RQ."""
    syntaxes = b"".join(item(0x40, syntax) for syntax in transfer_syntaxes or (IMPLICIT.encode(),))
    return item(0x20, bytes((context_id, 0, 0, 0)) + item(0x30, abstract_syntax) + syntaxes)


def user_information(*sub_items: bytes) -> bytes:
    """A user information item, with more sub-items than it needs."""
    return item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3") + b"".join(sub_items))


def association(
    *items: bytes, pdu_type: int = 1, version: int = 1, called: bytes = b"ROUTER", calling: bytes = b"CT1"
) -> bytes:
    """An A-ASSOCIATE PDU of any items, after the fixed fields."""
    fixed = struct.pack(">H2x", version) + called.ljust(16) + calling.ljust(16) + bytes(32)
    return pdu(pdu_type, fixed + b"".join(items))


def element(number: int, value: bytes, group: int = 0) -> bytes:
    """An element of a command set, or of something else."""
    return struct.pack("<HHI", group, number, len(value)) + value


def us(number: int, value: int) -> bytes:
    """An element with a number."""
    return element(number, struct.pack("<H", value))


STORE_RQ = {
    0x0002: CT.encode() + b"\0",
    0x0100: b"\x01\x00",
    0x0110: b"\x07\x00",
    0x0700: b"\x00\x00",
    0x0800: b"\x01\x00",
    0x1000: b"1.2.3.4\0",
}
"""The elements of a C-STORE-RQ by number."""


def command_set(elements: dict[int, bytes]) -> bytes:
    """A command set, with its group length."""
    body = b"".join(element(number, value) for number, value in sorted(elements.items()))
    return element(0, struct.pack("<I", len(body))) + body
