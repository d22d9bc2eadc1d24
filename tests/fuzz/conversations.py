"""Targets: both ends of an association, driven as the program drives them, with a peer that says anything."""

from collections.abc import Callable, Sequence

from router.model.presentation_context import ContextResult, PresentationContext
from router.protocol import (
    Aborted,
    Acceptor,
    AssociationAccepted,
    AssociationAnnounced,
    AssociationRejected,
    Closed,
    Connection,
    EchoAnswered,
    EchoRequested,
    Event,
    Fragment,
    LocalProtocolError,
    Paused,
    ProtocolError,
    ReleaseConfirmed,
    ReleaseRequested,
    Requestor,
    StoreAnswered,
    StoreRequested,
    UnsupportedCommand,
    dimse,
)
from router.rules.acceptance import answer_contexts
from router.rules.user_identity import Users, recognise
from tests.fuzz.target import Target
from tests.protocol.pair import (
    CLASS_UID,
    CONTEXTS,
    CT,
    STORE_RQ,
    VERIFICATION,
    VERSION,
    associate,
    association,
    command_set,
    element,
    item,
    p_data,
    pdu,
    pdv,
    proposed,
    us,
    user_information,
)

ANSWERED_FOR_EACH_BYTE = 4
"""Bytes that go out for one that came in, at most: nobody is made to shout for somebody who whispers."""
ANSWERED_ANYWAY = 512
CHUNKS = (7, 100_000)
"""Bytes that arrive at once: pieces of everything, and everything."""
USERS = Users((), required=True)
BUFFER = 1 << 18
"""Bytes that a receive buffer comes to at most: the largest A-ASSOCIATE PDU."""

STORE = command_set(STORE_RQ)
ECHO = command_set({0x0002: VERIFICATION.encode() + b"\0", 0x0100: b"\x30\0", 0x0110: b"\1\0", 0x0800: b"\1\1"})
FIND = command_set(
    {0x0002: b"1.2.3\0", 0x0100: b"\x20\0", 0x0110: b"\2\0", 0x0800: b"\0\0", 0x0003: b"1.2\0", 0x1001: b"1.9\0"}
)
CANCEL = element(0x0100, b"\xff\x0f") + us(0x0120, 2) + us(0x0800, 0x0101)
STORED = (
    element(0x0002, CT.encode() + b"\0")
    + element(0x0100, b"\1\x80")
    + us(0x0120, 7)
    + us(0x0800, 0x0101)
    + us(0x0900, 0xA700)
    + element(0x0901, b"\x10\0\x20\0")
    + element(0x0902, b"Zzyzx\x1b[2J\r\n\xe2\x80\xae")
    + element(0x1000, b"1.2.3.4\0")
)
ECHOED = element(0x0100, b"\x30\x80") + us(0x0120, 1) + us(0x0800, 0x0101) + us(0x0900, 0)

REQUEST = association(
    item(0x10, b"1.2.840.10008.3.1.1.1"),
    proposed(1, CT.encode(), b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"),
    proposed(3, VERIFICATION.encode()),
    user_information(
        item(0x55, b"NAME"),
        item(0x53, b"\0\1\0\1"),
        item(0x54, b"\0\3" + b"1.2" + b"\1\0"),
        item(0x58, b"\2\1\0\4user\0\4pass"),
    ),
)
ACCEPTANCE = association(
    item(0x10, b"1.2.840.10008.3.1.1.1"),
    item(0x21, bytes((1, 0, 0, 0)) + item(0x40, b"1.2.840.10008.1.2.1")),
    item(0x21, bytes((3, 0, 0, 0)) + item(0x40, b"1.2.840.10008.1.2")),
    item(0x21, bytes((5, 0, 3, 0)) + item(0x40, b"")),
    user_information(item(0x55, b"NAME"), item(0x59, b"\0\0")),
    pdu_type=2,
)
RELEASE, RELEASED, ABORT, REJECTED = pdu(5, bytes(4)), pdu(6, bytes(4)), pdu(7, bytes(4)), pdu(3, b"\0\1\1\7")
SENT = p_data(pdv(1, 3, STORE)) + p_data(pdv(1, 0, b"abcd"), pdv(1, 2, b"ef"))
WORDS = (STORE, ECHO, FIND, RELEASE, RELEASED, ABORT, pdv(1, 2, b""), pdv(1, 3, b""), item(0x40, b"1.2"), bytes(6))


class Heard:
    """What a connection makes of a peer's bytes, with answers as the program gives them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.said = 0
        """Bytes."""
        self.ends: list[str] = []

    def hear(self, content: bytes, chunk: int) -> None:
        """All of it, and then the end of the stream.

        Raises:
            ProtocolError: the peer broke the protocol; it is answered already.
        """
        try:
            waiting = memoryview(content)
            while waiting:
                space = self.connection.buffer()
                count = min(len(space), len(waiting), chunk)
                space[:count] = waiting[:count]
                self.connection.received(count)
                waiting = waiting[count:]
                self._take()
            self.connection.buffer()
            self.connection.received(0)
            self._take()
        except ProtocolError as broken:
            sentence = str(broken)
            assert sentence.isascii()
            assert sentence.isprintable()
            answer = self.connection.abort_for(broken)
            assert len(answer) == len(ABORT)
            self.said += len(answer)
            self.ends.append(sentence)
            self._silent()

    def say(self, *content: bytes | memoryview) -> None:
        """What goes out."""
        self.said += sum(map(len, content))

    def _silent(self) -> None:
        """After an A-ABORT nothing happens any more, whatever comes; and nothing goes out."""
        assert self.connection.next_event() is None
        space = self.connection.buffer()
        count = min(len(space), len(RELEASE))
        space[:count] = RELEASE[:count]
        self.connection.received(count)
        assert self.connection.next_event() is None
        for speak in (self.connection.release, self.connection.confirm_release):
            try:
                speak()
            except LocalProtocolError:
                continue
            raise AssertionError("something went out after an A-ABORT")

    def _take(self) -> None:
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, Paused):
                continue
            kind = type(event).__name__
            if kind not in self.ends:
                self.ends.append(kind)
            self.answer(event)

    def answer(self, event: Event) -> None:
        """As the program does."""
        raise NotImplementedError


class HeardByAcceptor(Heard):
    """Where modalities call."""

    def __init__(self) -> None:
        self.acceptor = Acceptor(maximum_length=4096, buffer=bytearray(64))
        self._store: StoreRequested | None = None
        super().__init__(self.acceptor)

    def answer(self, event: Event) -> None:
        """As the program does."""
        match event:
            case AssociationAnnounced():
                self._accept()
            case StoreRequested():
                self._store = event
            case Fragment(last=last):
                assert self._store is not None
                if last:
                    self.say(self.acceptor.store_answer(self._store, 0xA700, error_comment="no room " * 10))
                    self._store = None
            case EchoRequested():
                self.say(self.acceptor.echo_answer(event))
            case UnsupportedCommand():
                self.say(self.acceptor.unsupported_answer(event))
            case ReleaseRequested():
                self.say(self.acceptor.confirm_release())
            case Aborted() | Closed():
                pass
            case _:
                raise AssertionError(f"{event} is none of an acceptor's")

    def _accept(self) -> None:
        request = self.acceptor.request()
        identity = request.user_identity
        if identity is not None:
            recognise(USERS, identity.type, identity.primary, identity.secondary)
        answers = answer_contexts(request.contexts, storage=lambda uid: uid != VERIFICATION)
        assert [answer.id for answer in answers] == [context.id for context in request.contexts]
        self.say(
            self.acceptor.accept(
                request,
                answers,
                implementation_class_uid=CLASS_UID,
                implementation_version_name=VERSION,
                user_recognised=True,
            )
        )


class HeardByRequestor(Heard):
    """What sends to a PACS."""

    def __init__(self) -> None:
        self.requestor = Requestor(maximum_length=4096, buffer=bytearray(64))
        associate(self.requestor)
        super().__init__(self.requestor)

    def answer(self, event: Event) -> None:
        """As the program does."""
        match event:
            case AssociationAccepted():
                self._store(event)
            case UnsupportedCommand():
                self.say(self.requestor.unsupported_answer(event))
            case ReleaseRequested():
                self.say(self.requestor.confirm_release())
            case StoreAnswered(error_comment=comment):
                assert comment.isascii()
                assert comment.isprintable()
            case EchoAnswered() | AssociationRejected() | ReleaseConfirmed() | Aborted() | Closed():
                pass
            case _:
                raise AssertionError(f"{event} is none of a requestor's")

    def _store(self, event: AssociationAccepted) -> None:
        assert [answer.id for answer in event.contexts] == [context.id for context in CONTEXTS]
        for answer, context in zip(event.contexts, CONTEXTS, strict=True):
            if answer.result is ContextResult.ACCEPTANCE:
                assert answer.transfer_syntax in context.transfer_syntaxes
                # Ours, not the peer's: it does not count as an answer.
                self.requestor.store_request(answer.id, 7, context.abstract_syntax, "1.2.3.4")
                self.requestor.fragments(answer.id, memoryview(bytes(100)), last=True)


def _conversation(make: Callable[[], Heard]) -> Callable[[bytes], str]:
    def run(content: bytes) -> str:
        ends = set()
        for chunk in CHUNKS:
            heard = make()
            heard.hear(content, chunk)
            assert heard.said <= ANSWERED_FOR_EACH_BYTE * len(content) + ANSWERED_ANYWAY
            assert len(heard.connection.exchange(bytearray(BUFFER))) <= BUFFER
            ends.add(", ".join(heard.ends))
        assert len(ends) == 1, f"pieces make a difference: {ends}"
        return ends.pop()

    return run


def _framed(pdu_type: int, make: Callable[[], Heard]) -> Callable[[bytes], str]:
    """The body of one PDU, whose length is right."""
    run = _conversation(make)
    return lambda body: run(pdu(pdu_type, body))


def _command(content: bytes) -> str:
    """A command set, for the one that reads it and for the one that answers."""
    try:
        received = dimse.read(1, content)
    except ProtocolError as refused:
        sentence = str(refused)
        assert sentence.isascii()
        return sentence
    match received.command:
        case StoreRequested() as command:
            answer: bytes | None = dimse.write_store_answer(command, 0xC000, "x" * 100)
        case EchoRequested() as command:
            answer = dimse.write_echo_answer(command, 0)
        case UnsupportedCommand() as command:
            answer = dimse.write_unsupported_answer(command)
        case StoreAnswered() | EchoAnswered():
            answer = None
    if answer is not None:
        assert len(answer) <= ANSWERED_FOR_EACH_BYTE * len(content) + ANSWERED_ANYWAY
    return type(received.command).__name__


def many_contexts(count: int) -> bytes:
    """An A-ASSOCIATE-RQ that proposes so many."""
    return association(
        item(0x10, b"1.2.840.10008.3.1.1.1"),
        *(proposed(2 * number + 1, b"1.2") for number in range(count)),
        user_information(),
    )


def _whole(contexts: Sequence[PresentationContext] = CONTEXTS) -> bytes:
    return associate(Requestor(), contexts)


TARGETS = (
    Target(
        "acceptor",
        [
            _whole() + SENT + p_data(pdv(3, 3, ECHO)) + RELEASE,
            REQUEST + p_data(pdv(1, 1, STORE[:30])) + p_data(pdv(1, 3, STORE[30:]), pdv(1, 2, b"")) + ABORT,
            REQUEST + p_data(pdv(1, 3, FIND), pdv(1, 2, bytes(8))) + p_data(pdv(1, 3, CANCEL)) + RELEASE,
            many_contexts(40),
        ],
        _conversation(HeardByAcceptor),
        rounds=3000,
        variety=40,
        words=WORDS,
    ),
    Target(
        "requestor",
        [
            ACCEPTANCE + p_data(pdv(1, 3, STORED)) + RELEASED,
            ACCEPTANCE + p_data(pdv(3, 1, ECHOED[:9])) + p_data(pdv(3, 3, ECHOED[9:])) + RELEASE,
            ACCEPTANCE + SENT + p_data(pdv(1, 3, ECHO)) + ABORT,
            REJECTED,
        ],
        _conversation(HeardByRequestor),
        rounds=3000,
        variety=40,
        words=WORDS,
    ),
    Target(
        "associate-rq",
        [REQUEST[6:], many_contexts(3)[6:], _whole()[6:]],
        _framed(1, HeardByAcceptor),
        rounds=2000,
        variety=12,
        words=(item(0x40, b"1.2"), item(0x30, b"1.2"), item(0x58, b"\1\1\0\1x\0\0"), item(0x51, bytes(4)), b"\x20\0"),
    ),
    Target(
        "associate-ac",
        [ACCEPTANCE[6:]],
        _framed(2, HeardByRequestor),
        rounds=2000,
        variety=8,
        words=(item(0x40, b"1.2"), item(0x21, b"\1\0\0\0"), item(0x51, bytes(4)), b"\x21\0", b"\x50\0"),
    ),
    Target(
        "command",
        [STORE, ECHO, FIND, CANCEL, STORED, ECHOED],
        _command,
        rounds=20000,
        variety=16,
        words=(us(0x0800, 0x0101), us(0x0800, 0), us(0x0110, 7), element(0x1000, b"1.2"), b"\0\0", b"\x10\0"),
    ),
)
"""What hears bytes from the network."""
