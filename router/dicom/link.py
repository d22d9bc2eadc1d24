"""One side of an association: the protocol, which does no I/O, driven over a transport, with its deadlines."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel

from router.dicom.pulse import beat
from router.dicom.transport import Buffer, StalledError, Transport
from router.protocol import Aborted, Closed, Connection, Event, Fragment, Paused

C = TypeVar("C", bound=Connection)

FRAGMENTS_OF_A_PIECE = 1024
"""At most: a view costs thirty times the seven bytes that a peer sends for a fragment of one, and a buffer has room for
150,000 of those. It is also what one ``writev`` takes (IOV_MAX)."""

LAST_WORDS = 2.0
"""Seconds for an A-ABORT or a last answer to leave, and for the peer to close (ARTIM, PS3.8 9.1.5)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one receive buffer holds of a data set, as fragments within it."""

    fragments: Sequence[memoryview]
    last: bool


class PeerTimeoutError(Exception):
    """The peer sent nothing, or not enough, before its deadline."""


class PeerLeftError(Exception):
    """The peer aborted or closed the connection, or it was lost."""


class Link(Generic[C]):
    """A connection of the protocol over a transport."""

    def __init__(self, connection: C, transport: Transport, pdu_seconds: float) -> None:
        """A link.

        Args:
            connection: the acceptor or the requestor.
            transport: where its bytes come from and go to.
            pdu_seconds: the deadline of any one PDU in total, however its bytes trickle.
        """
        self.connection = connection
        self.transport = transport
        self.pdu_seconds = pdu_seconds
        self._pdu_deadline: float | None = None

    async def event(self, within: float) -> Event:
        """The next thing that the peer does; ``within`` seconds it has to begin.

        Raises:
            PeerTimeoutError: it did not, or did not finish its PDU.
            ProtocolError: it broke the protocol.
            OSError: the connection is lost.
        """
        deadline = anyio.current_time() + within
        while (event := await self._next_event()) is None:
            await self._receive(deadline)
        self._pdu_deadline = None
        return event

    async def pieces(self, within: float) -> AsyncGenerator[Piece, None]:
        """The fragments of one data set, in pieces; without an error the last one always comes.

        A piece is valid until the iteration goes on, the last one until the next event is asked for.

        Raises:
            PeerLeftError: the peer left before the last fragment, or the connection was lost: never an ``OSError``, so
                that whoever writes pieces to a disk can tell whose error one is.
            PeerTimeoutError, ProtocolError: as for ``event``.
        """
        collected: list[memoryview] = []
        while True:
            deadline = anyio.current_time() + within
            while (event := await self._next_event()) is None:
                if collected and self.connection.full():
                    yield Piece(collected, last=False)
                    collected = []
                    # The time that we took to write it is not the peer's.
                    self._pdu_deadline = None
                    deadline = anyio.current_time() + within
                await self._receive_of_object(deadline)
            self._pdu_deadline = None
            match event:
                case Fragment(content=content, last=last):
                    if content or last:
                        collected.append(content)
                    if last:
                        yield Piece(collected, last=True)
                        return
                    if len(collected) == FRAGMENTS_OF_A_PIECE:
                        yield Piece(collected, last=False)
                        collected = []
                case Aborted():
                    raise PeerLeftError("the peer aborted the association before the last fragment of a data set")
                case Closed():
                    raise PeerLeftError("the peer closed the connection before the last fragment of a data set")
                case _:
                    raise AssertionError(f"{event} in the middle of a data set is the protocol's to refuse")

    async def send(self, buffers: Sequence[Buffer], within: float) -> None:
        """Send; ``within`` seconds the peer has to take the next bytes, however slow its link.

        Raises:
            PeerTimeoutError: it did not.
            OSError: the connection is lost.
        """
        try:
            await self.transport.send(buffers, within)
            beat()
        except StalledError:
            raise PeerTimeoutError(f"the peer took no bytes for {within:g} s") from None

    async def close(self, last_words: bytes | None = None) -> None:
        """Say the last words if the connection still takes them, and close.

        After last words the peer gets a moment to read them: closing at once, with bytes of its own unread, would
        reset the connection and take our words back (RFC 1122 4.2.2.13).
        """
        with anyio.move_on_after(LAST_WORDS, shield=True):
            try:
                if last_words is not None:
                    await self.transport.send([last_words])
                    await self._read_away()
            except OSError:
                pass
        await self.transport.aclose()

    async def _read_away(self) -> None:
        scratch = memoryview(bytearray(16384))
        while await self.transport.receive_into(scratch):
            pass

    async def _next_event(self) -> Event | None:
        while isinstance(event := self.connection.next_event(), Paused):
            await anyio.lowlevel.checkpoint()
        return event

    async def _receive_of_object(self, deadline: float) -> None:
        try:
            await self._receive(deadline)
        except OSError as lost:
            raise PeerLeftError(
                f"the connection was lost before the last fragment of a data set: {lost.strerror}"
            ) from lost

    async def _receive(self, deadline: float) -> None:
        if self.connection.mid_pdu:
            if self._pdu_deadline is None:
                self._pdu_deadline = anyio.current_time() + self.pdu_seconds
            deadline = self._pdu_deadline
        else:
            self._pdu_deadline = None
        try:
            count = await self.transport.receive_into(self.connection.buffer(), deadline)
        except StalledError:
            unfinished = "a PDU began and was not finished before its deadline"
            silent = "the peer was silent until its deadline"
            raise PeerTimeoutError(unfinished if self.connection.mid_pdu else silent) from None
        self.connection.received(count)
        beat()
