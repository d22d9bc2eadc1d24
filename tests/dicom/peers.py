"""What stands on the other end of our SCP and SCU: a scripted receiver, raw callers, and a scripted acceptor."""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import xxhash

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.incoming import Answer, Offer
from router.dicom.link import Link, PeerLeftError, PeerTimeoutError, Piece
from router.dicom.part10 import read_meta
from router.dicom.scp import Scp
from router.dicom.scu import Address
from router.dicom.transport import SocketTransport, connect, listen
from router.journal import Event as Happening
from router.journal import Journal
from router.model.destination import SendDeadlines
from router.model.presentation_context import AnsweredContext, ContextResult, PresentationContext
from router.protocol import Aborted, Acceptor, AssociationAccepted, Closed, ProtocolError, Requestor
from router.rules.acceptance import Listener, ReceiveDeadlines
from tests.protocol.pair import CLASS_UID, CONTEXTS, CT, EXPLICIT, VERSION, associate
from tests.samples import Sample

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENCE = 10.0
"""Seconds for what has to happen at once; only a failing test waits so long."""
MOMENT = timedelta(seconds=0.2)
"""A deadline that is meant to pass."""
LIMIT = 8

H = TypeVar("H", bound=Happening)


def listener(**changes: Any) -> Listener:
    """Lets everybody in, on a free port of the loopback interface."""
    return Listener(**{"host": "127.0.0.1", "port": 0, "allow_any": True, **changes})


def hasty(**changes: timedelta) -> Listener:
    """A listener with one deadline, or several, that will pass."""
    return listener(deadlines=ReceiveDeadlines(**changes))


@dataclass(frozen=True, slots=True)
class Taken:
    """One instance as the receiver got it."""

    offer: Offer
    content: bytes
    pieces: int


@dataclass(slots=True)
class Collector:
    """A receiver that keeps everything in memory, and answers as it is told."""

    answer: Answer = Answer(0)  # noqa: RUF009 -- frozen
    reads: bool = True
    taken: list[Taken] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)
    began: anyio.Event = field(default_factory=anyio.Event)
    """The first piece of the first object is there, or the object itself if it is not read."""

    async def __call__(self, offer: Offer, pieces: AsyncIterator[Piece]) -> Answer:
        """Take one instance."""
        content, count = bytearray(), 0
        if not self.reads:
            self.began.set()
            return self.answer
        try:
            async for piece in pieces:
                count += 1
                for fragment in piece.fragments:
                    content += fragment
                self.began.set()
        except (PeerLeftError, PeerTimeoutError, ProtocolError) as error:
            self.broken.append(error)
            raise
        self.taken.append(Taken(offer, bytes(content), count))
        return self.answer


class Diary:
    """A journal's subscriber that can be waited for."""

    def __init__(self) -> None:
        self.events: list[Happening] = []
        self._changed = anyio.Event()

    def __call__(self, event: Happening) -> None:
        """Note an event."""
        self.events.append(event)
        self._changed.set()
        self._changed = anyio.Event()

    def of(self, kind: type[H]) -> list[H]:
        """All events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def saw(self, kind: type[H]) -> H:
        """The first event of a kind, as soon as it is there."""
        with anyio.fail_after(PATIENCE):
            while not self.of(kind):
                await self._changed.wait()
        return self.of(kind)[0]


@dataclass(frozen=True, slots=True)
class Serving:
    """A running SCP and what it did."""

    scp: Scp
    receiver: Collector
    diary: Diary
    buffers: Buffers

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.scp.port


@asynccontextmanager
async def serving(rules: Listener | None = None, receiver: Collector | None = None) -> AsyncIterator[Serving]:
    """An SCP for the time of a block; afterwards every buffer must have been given back."""
    receiver = receiver or Collector()
    diary, buffers = Diary(), Buffers(LIMIT)
    scp = Scp(rules or listener(), receiver, journal=Journal(diary), buffers=buffers, clock=lambda: NOW)
    async with anyio.create_task_group() as running:
        await running.start(scp.serve)
        yield Serving(scp, receiver, diary, buffers)
        scp.stop()
    assert not scp._door._standing, "who is gone takes no place"
    await all_given_back(buffers)


async def all_given_back(buffers: Buffers, limit: int = LIMIT) -> None:
    """Every buffer can be borrowed."""
    with anyio.fail_after(PATIENCE):
        borrowed = [await buffers.take() for _ in range(limit)]
    for buffer in borrowed:
        buffers.give(buffer)


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Link[Requestor]]:
    """A connection on which anything may be said."""
    link = Link(Requestor(), await connect("127.0.0.1", port), PATIENCE)
    try:
        yield link
    finally:
        await link.transport.aclose()


@asynccontextmanager
async def associated(port: int, contexts: Sequence[PresentationContext] = CONTEXTS) -> AsyncIterator[Link[Requestor]]:
    """An association whose requestor may then misbehave."""
    async with calling(port) as link:
        await link.transport.send([associate(link.connection, contexts)])
        assert isinstance(await link.event(PATIENCE), AssociationAccepted)
        yield link


async def until_ended(link: Link[Any]) -> None:
    """Listen until the other side aborts or closes; not longer, or both would wait for each other to close."""
    with suppress(OSError, ProtocolError):
        while not isinstance(await link.event(PATIENCE), Aborted | Closed):
            pass


def store_rq(link: Link[Requestor], sop_class: str = CT, *, context_id: int = 1, message_id: int = 7) -> bytes:
    """The command of a C-STORE-RQ."""
    return link.connection.store_request(context_id, message_id, sop_class, "1.2.3.4")


async def send_object(link: Link[Requestor], content: bytes, sop_class: str = CT) -> None:
    """A whole C-STORE-RQ."""
    fragments = link.connection.fragments(1, memoryview(content), last=True)
    await link.transport.send([store_rq(link, sop_class), *fragments])


def abort(source: int, reason: int) -> bytes:
    """An A-ABORT as it stands on the wire."""
    return struct.pack(">BxIBBBB", 7, 4, 0, 0, source, reason)


# The other side of our SCU

Script = Callable[[Link[Acceptor]], Awaitable[None]]


@asynccontextmanager
async def acting(script: Script) -> AsyncIterator[int]:
    """A peer that plays a script on every connection; gives its port."""
    with listen("127.0.0.1", 0) as listening:

        async def play(transport: SocketTransport) -> None:
            try:
                await script(Link(Acceptor(), transport, PATIENCE))
            finally:
                await transport.aclose()

        async def accept(acting: anyio.abc.TaskGroup) -> None:
            while True:
                try:
                    connected, _ = listening.accept()
                except BlockingIOError:
                    await anyio.wait_readable(listening)
                else:
                    acting.start_soon(play, SocketTransport(connected))

        async with anyio.create_task_group() as running:
            running.start_soon(accept, running)
            yield int(listening.getsockname()[1])
            running.cancel_scope.cancel()


async def accept_all(link: Link[Acceptor]) -> None:
    """Take the A-ASSOCIATE-RQ and accept every context."""
    await link.event(PATIENCE)
    request = link.connection.request()
    answers = [
        AnsweredContext(each.id, each.abstract_syntax, ContextResult.ACCEPTANCE, each.transfer_syntaxes[0])
        for each in request.contexts
    ]
    accepted = link.connection.accept(
        request, answers, implementation_class_uid=CLASS_UID, implementation_version_name=VERSION
    )
    await link.transport.send([accepted])


def address(port: int, **changes: Any) -> Address:
    """The peer on loopback."""
    return replace(Address("127.0.0.1", port, "PACS", "ROUTER"), **changes)


def deadlines(**changes: timedelta) -> SendDeadlines:
    """Patient, but for what is named."""
    patient = timedelta(seconds=PATIENCE)
    return SendDeadlines(**{"connect": patient, "association": patient, "response": patient, **changes})


def outgoing(sample: Sample, number: int = 1) -> Outgoing:
    """A sample, to be sent as it lies on the disk."""
    meta = read_meta(sample.path)
    return Outgoing(number, meta.identity, sample.path, meta.header_size, sample.path.stat().st_size, None)


async def outgoing_all(samples: Sequence[Sample]) -> list[Outgoing]:
    """Several of them; heads are read in a thread, as the guard demands."""
    return await anyio.to_thread.run_sync(lambda: [outgoing(sample) for sample in samples])


def data_set(instance: Outgoing) -> bytes:
    """What has to arrive of it."""
    return instance.path.read_bytes()[instance.header_size :]


def written(path: Any, content: bytes, syntax: str = EXPLICIT, *, digest: str | None = None) -> Outgoing:
    """A bare data set in a file, with its digest."""
    from router.model.instance import Identity

    path.write_bytes(content)
    right = xxhash.xxh3_128_hexdigest(content)
    return Outgoing(1, Identity(CT, "1.2.3.4", syntax), path, 0, len(content), digest or right)
