"""What both ends of an association share: the receive buffer, framing, the state, abort and release."""

from abc import ABC, abstractmethod
from typing import Final

from router.protocol import dimse, pdu
from router.protocol.assembly import Assembly
from router.protocol.errors import AbortReason, AbortSource, LocalProtocolError, ProtocolError
from router.protocol.events import (
    Aborted,
    AssociationRejected,
    Closed,
    EchoRequested,
    Event,
    Fragment,
    Paused,
    ReleaseConfirmed,
    ReleaseRequested,
    StoreRequested,
    UnsupportedCommand,
)
from router.protocol.states import Action, Role, State, Stimulus, look_up

DEFAULT_MAXIMUM_LENGTH: Final = 128 * 1024
VALUES_AT_A_STRETCH: Final = 1024
"""After them comes `Paused`: a millisecond. A buffer of 1 MiB has room for 170,000 that are empty, or of a command that
tells nothing until it is complete."""

_FIRST_BUFFER = 16 * 1024
_SMALLEST_MAXIMUM_LENGTH = 8


class Connection(ABC):
    """One end of an association. Bytes go in by way of `buffer` and `received`, events come out of `next_event`.

    The driver's loop: `n = receive_into(c.buffer())`, `c.received(n)`, then `c.next_event()` until it is None. At
    `Paused` others get their turn. What the other methods return is to be sent as it is. After `Aborted`,
    `AssociationRejected`, `ReleaseConfirmed` and `Closed` the transport connection is to be closed; after `abort`,
    `reject` or `confirm_release`, when the peer has closed it or the driver's patience ends. What arrives after an
    error, an abort or the end is discarded.

    Attributes:
        state: where the association stands in PS3.8 Table 9-10.
        peer_maximum_length: the largest P-DATA-TF that the peer takes, in bytes; 0: it sets no limit.
    """

    def __init__(self, role: Role, maximum_length: int, buffer: bytearray | None) -> None:
        if maximum_length < _SMALLEST_MAXIMUM_LENGTH:
            raise LocalProtocolError(f"a maximum length of {maximum_length} bytes cannot carry anything")
        self.state = State.STA1
        self.peer_maximum_length = 0
        self._role = role
        self._maximum_length = maximum_length
        self._contexts: frozenset[int] = frozenset()
        self._assembly = Assembly(role)
        self._buffer = bytearray(_FIRST_BUFFER) if buffer is None else buffer
        self._view = memoryview(self._buffer)
        # What has been received and not yet consumed is buffer[start:end].
        self._start = 0
        self._end = 0
        # Bytes from `start` on that the next PDU is known to take: its header, until that is there and found good.
        self._need = pdu.HEADER.size
        # Bytes of a P-DATA-TF that is complete and not yet consumed.
        self._pdu_left = 0
        self._values = 0
        self._fragments_out = False
        self._deaf = False
        self._end_of_stream = False

    # Receiving

    def buffer(self) -> memoryview:
        """Return free space to receive into, at least one byte.

        Unless `full`, nothing is moved and fragments stay valid; else those handed out before become invalid.

        Raises:
            LocalProtocolError: complete PDUs fill the buffer, because their events have not been taken.
        """
        if self._lacks_room():
            self._make_room()
        if self._end == len(self._buffer):
            raise LocalProtocolError("the receive buffer is full of PDUs: take their events first")
        return self._view[self._end :]

    def received(self, n: int) -> None:
        """Say that `n` bytes were put into `buffer()`; 0: the peer closed the transport connection.

        Raises:
            LocalProtocolError: that many bytes do not fit.
        """
        if not 0 <= n <= len(self._buffer) - self._end:
            raise LocalProtocolError(f"{n} bytes cannot have been put into the receive buffer")
        self._end += n
        self._end_of_stream = n == 0

    def full(self) -> bool:
        """Whether `buffer()` would invalidate fragments, because no further PDU is sure to fit behind them.

        Then is the time to write them away, or to `exchange` the buffer.
        """
        return self._fragments_out and self._lacks_room()

    def exchange(self, buffer: bytearray) -> bytearray:
        """Receive into another buffer from now on and give back the old one, with the fragments that lie in it.

        Raises:
            LocalProtocolError: what is not yet consumed does not fit into it.
        """
        waiting = self._end - self._start
        if waiting > len(buffer):
            raise LocalProtocolError(f"{waiting} received bytes do not fit into a buffer of {len(buffer)}")
        old = self._buffer
        self._adopt(buffer)
        return old

    @property
    def mid_pdu(self) -> bool:
        """Whether bytes of an incomplete PDU are waiting (once all events have been taken)."""
        return self._end > self._start

    def next_event(self) -> Event | None:
        """Return what the peer did next; None: more bytes are needed.

        Raises:
            ProtocolError: here the peer broke the protocol. Send `abort_for` it; nothing but `Closed` will follow.
        """
        if self._deaf or self.state is State.STA1:
            self._discard()
        try:
            while self._pdu_left or self._next_pdu_is_complete():
                if self._values == VALUES_AT_A_STRETCH:
                    self._values = 0
                    return Paused()
                event = self._consume_pdv() if self._pdu_left else self._consume_pdu()
                if event is not None:
                    return event
        except ProtocolError:
            self._step(Stimulus.INVALID_PDU)
            self._deaf = True
            raise
        self._values = 0
        if not self._end_of_stream:
            return None
        self._end_of_stream = False
        if self.state is not State.STA1:
            self._step(Stimulus.TRANSPORT_CLOSED)
        return Closed()

    def _discard(self) -> None:
        self._start = self._end
        self._pdu_left = 0
        self._need = pdu.HEADER.size

    def _lacks_room(self) -> bool:
        # Before its header is there, the next PDU may be the largest: better to move now than in the middle of it.
        known = self._need > pdu.HEADER.size
        need = self._need if known else pdu.HEADER.size + self._maximum_length
        return self._start + need > len(self._buffer)

    def _make_room(self) -> None:
        # A bytearray that fragments look into cannot be resized: what waits moves within it, or into a larger one. That
        # is only made for a PDU that is on its way: an idle association stays small.
        self._adopt(self._buffer if self._need <= len(self._buffer) else bytearray(self._need))

    def _adopt(self, buffer: bytearray) -> None:
        waiting = self._end - self._start
        buffer[:waiting] = self._buffer[self._start : self._end]
        if buffer is not self._buffer:
            self._buffer = buffer
            self._view = memoryview(buffer)
        self._start = 0
        self._end = waiting
        self._fragments_out = False

    # Framing: everything that a header alone can tell is judged before any of the body is received.

    def _next_pdu_is_complete(self) -> bool:
        waiting = self._end - self._start
        if self._need == pdu.HEADER.size and waiting >= pdu.HEADER.size:
            pdu_type, length = pdu.HEADER.unpack_from(self._buffer, self._start)
            self._judge_header(pdu_type, length)
            self._need = pdu.HEADER.size + length
        return self._need > pdu.HEADER.size and waiting >= self._need

    def _judge_header(self, pdu_type: int, length: int) -> None:
        kind = pdu.KINDS.get(pdu_type)
        if kind is None:
            hint = "; the peer speaks TLS" if pdu_type in pdu.TLS_RECORDS else ""
            raise self._error(f"{pdu_type:02X}H is not the type of a DICOM PDU{hint}", AbortReason.UNRECOGNIZED_PDU)
        action, _ = look_up(self._role, self.state, kind.stimulus)
        if action in _REFUSALS:
            raise self._error(f"{kind.name} arrived in Sta{self.state}", AbortReason.UNEXPECTED_PDU)
        if action in _RELEASES and self._assembly.mid_message:
            # Table 9-10 does not know messages; but after a release this one could never become complete.
            raise self._error(f"{kind.name} arrived in the middle of a message", AbortReason.UNEXPECTED_PDU)
        largest = self._maximum_length if kind.largest is None else kind.largest
        if not kind.smallest <= length <= largest:
            raise self._error(
                f"{kind.name} announces {length} bytes; {kind.smallest} to {largest} are possible",
                AbortReason.INVALID_PARAMETER_VALUE,
            )

    def _consume_pdu(self) -> Event | None:
        start, size = self._start, self._need
        content = self._view[start : start + size]
        self._start += size
        self._need = pdu.HEADER.size
        event: Event | None = None
        match self._step(pdu.KINDS[content[0]].stimulus):
            case Action.DT2 | Action.AR6:
                self._start = start + pdu.HEADER.size
                self._pdu_left = size - pdu.HEADER.size
            case Action.AE3 | Action.AE6:
                event = self._associate_pdu(bytes(content))
            case Action.AE4:
                event = AssociationRejected(result=content[7], source=content[8], reason=content[9])
            case Action.AR8 if self.state is State.STA10:
                # The acceptor of the association may only answer once the requestor has: it is told then (AR-10).
                pass
            case Action.AR2 | Action.AR8 | Action.AR10:
                event = ReleaseRequested()
            case Action.AR3:
                event = ReleaseConfirmed()
            case Action.AA2 | Action.AA3:
                event = Aborted(source=content[8], reason=content[9])
            case _:
                # AA-6: while the close is awaited nothing else matters. Refusals were raised when the header came.
                pass
        return event

    @abstractmethod
    def _associate_pdu(self, content: bytes) -> Event:
        """What a complete A-ASSOCIATE-RQ or A-ASSOCIATE-AC means to this role."""

    def _consume_pdv(self) -> Event | None:
        at, left = self._start, self._pdu_left
        if left < pdu.PDV_HEADER.size:
            raise self._error("a P-DATA-TF ends within the header of a value", AbortReason.INVALID_PARAMETER_VALUE)
        length, context_id, control = pdu.PDV_HEADER.unpack_from(self._buffer, at)
        if not _PDV_FIXED <= length <= left - _PDV_LENGTH:
            raise self._error(
                f"a presentation data value of {length} bytes does not fit into its PDU",
                AbortReason.INVALID_PARAMETER_VALUE,
            )
        if context_id not in self._contexts:
            raise self._error(
                f"presentation context {context_id} is not one that was accepted", AbortReason.INVALID_PARAMETER_VALUE
            )
        end = at + _PDV_LENGTH + length
        self._values += 1
        self._start = end
        self._pdu_left = left - _PDV_LENGTH - length
        event = self._assembly.fragment(context_id, control, self._view[at + pdu.PDV_HEADER.size : end])
        if isinstance(event, Fragment):
            self._fragments_out = True
        return event

    # Sending

    def abort(self, source: int = AbortSource.SERVICE_USER, reason: int = AbortReason.NOT_SPECIFIED) -> bytes:
        """Return an A-ABORT, in any state; without a transport connection there is nothing to send.

        Args:
            source: PS3.8 Table 9-26.
            reason: likewise; only significant for the service provider.
        """
        if self.state is State.STA1:
            return b""
        # The table lets the user abort an association; before and after it there is only the answer to an invalid PDU.
        outside = self.state in (State.STA2, State.STA13)
        self._step(Stimulus.INVALID_PDU if outside else Stimulus.ABORT_REQUEST)
        self._deaf = True
        return pdu.abort(source, reason)

    def abort_for(self, error: ProtocolError) -> bytes:
        """Return the A-ABORT that answers `error`."""
        return self.abort(error.source, error.reason)

    def release(self) -> bytes:
        """Return an A-RELEASE-RQ.

        In a release collision the peer's `ReleaseRequested` comes before its `ReleaseConfirmed`, or instead of it:
        answer it.

        Raises:
            LocalProtocolError: no association is established.
        """
        self._step(Stimulus.RELEASE_REQUEST)
        return pdu.RELEASE_RQ

    def confirm_release(self) -> bytes:
        """Return an A-RELEASE-RP.

        Raises:
            LocalProtocolError: there was no `ReleaseRequested`.
        """
        self._step(Stimulus.RELEASE_RESPONSE)
        return pdu.RELEASE_RP

    def store_answer(self, request: StoreRequested, status: int, *, error_comment: str = "") -> bytes:
        """Return a C-STORE-RSP.

        Args:
            request: what is answered.
            status: PS3.7 Annex C, PS3.4 B.2.3.
            error_comment: at most 64 characters go out.

        Raises:
            LocalProtocolError: nothing can be sent in this state.
        """
        return self._command(request.context_id, dimse.write_store_answer(request, status, error_comment))

    def echo_answer(self, request: EchoRequested, status: int = 0) -> bytes:
        """Return a C-ECHO-RSP.

        Raises:
            LocalProtocolError: nothing can be sent in this state.
        """
        return self._command(request.context_id, dimse.write_echo_answer(request, status))

    def unsupported_answer(self, command: UnsupportedCommand) -> bytes:
        """Return the response 0211H «unrecognized operation»; nothing for a C-CANCEL-RQ, which is never answered.

        Raises:
            LocalProtocolError: nothing can be sent in this state.
        """
        answer = dimse.write_unsupported_answer(command)
        return b"" if answer is None else self._command(command.context_id, answer)

    def _command(self, context_id: int, command_set: bytes) -> bytes:
        self._step(Stimulus.P_DATA_REQUEST)
        content = memoryview(command_set)
        return b"".join(pdu.fragments(context_id, content, self.peer_maximum_length, command=True, last=True))

    def _step(self, stimulus: Stimulus) -> Action:
        action, self.state = look_up(self._role, self.state, stimulus)
        return action

    def _error(self, sentence: str, reason: AbortReason) -> ProtocolError:
        action, _ = look_up(self._role, self.state, Stimulus.INVALID_PDU)
        if action is Action.AA1:
            # Before there is an association PS3.8 Table 9-9 has the service user abort, and its reason means nothing.
            return ProtocolError(sentence, AbortReason.NOT_SPECIFIED, AbortSource.SERVICE_USER)
        return ProtocolError(sentence, reason)


_REFUSALS = frozenset({Action.AA1, Action.AA7, Action.AA8})
_RELEASES = frozenset({Action.AR2, Action.AR3, Action.AR8, Action.AR10})
_PDV_LENGTH = 4
"""Bytes of the length field, which it does not count itself."""
_PDV_FIXED = 2
"""Bytes that the length counts before the content: presentation context id and message control header."""
