"""One association that a peer opened with us, from its first byte to its last."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import anyio
import anyio.to_thread

from router.dicom import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from router.dicom.buffers import Buffers
from router.dicom.door import Door
from router.dicom.link import Link, PeerLeftError, PeerTimeoutError, Piece
from router.dicom.sop_classes import is_storage
from router.dicom.tls_errors import TlsError
from router.dicom.transport import Transport
from router.journal import (
    AssociationAccepted,
    AssociationLost,
    AssociationRefused,
    AssociationReleased,
    InstanceRefused,
    Journal,
)
from router.model.instance import Envelope, Identity
from router.model.presentation_context import AnsweredContext
from router.model.ulid import ulid
from router.protocol import (
    APPLICATION_CONTEXT,
    Aborted,
    Acceptor,
    AssociationAnnounced,
    AssociationRequest,
    Closed,
    EchoRequested,
    Event,
    ProtocolError,
    ReleaseRequested,
    StoreRequested,
    UnsupportedCommand,
    UserIdentity,
)
from router.rules.acceptance import Listener, Rejection, UnknownSOPClasses, answer_contexts
from router.rules.user_identity import Recognition, recognise

MAXIMUM_LENGTH = 128 * 1024
"""Of a P-DATA-TF PDU that we offer to take: fewer turns per MB than the usual 16 KiB."""

IDLE_BUFFER = 16 * 1024
"""Bytes of a receive buffer between objects: a thousand idle associations must not cost a gigabyte."""

DECODED_IN_A_THREAD = 16 * 1024
"""An A-ASSOCIATE-RQ longer than this is decoded off the event loop (128 contexts × 45 syntaxes take 125 ms)."""

ANSWER_WITHIN = 30.0
"""Seconds for the peer to take an answer."""

SOP_CLASS_MISMATCH = 0xA900
"""Data set does not match SOP class (PS3.4 Table B.2-1)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A C-STORE-RQ: what is about to arrive, from whom, by which listener's rules."""

    envelope: Envelope
    identity: Identity
    listener: Listener


@dataclass(frozen=True, slots=True)
class Answer:
    """The C-STORE-RSP that is due."""

    status: int
    error_comment: str = ""
    """(0000,0902) for the sender: at most 64 characters, nothing of the data set in it."""


class Receiver(Protocol):
    """Who takes what arrives."""

    async def __call__(self, offer: Offer, pieces: AsyncIterator[Piece]) -> Answer:
        """Take one instance. A piece is valid until the next one is asked for.

        They need not be exhausted. Their errors (the peer left, was too slow, broke the protocol) are let through.
        """


class IncomingAssociation:
    """One connection with a peer that called."""

    def __init__(
        self,
        transport: Transport,
        listener: Listener,
        receiver: Receiver,
        *,
        journal: Journal,
        buffers: Buffers,
        clock: Callable[[], datetime],
        door: Door,
    ) -> None:
        """An association to be.

        Args:
            transport: the connection.
            listener: the rules.
            receiver: who takes instances.
            journal: what happened is published here.
            buffers: shared by all associations.
            clock: the time of day.
            door: of the listener; it is told who comes and goes.
        """
        self._listener = listener
        self._receiver = receiver
        self._journal = journal
        self._buffers = buffers
        self._clock = clock
        self._door = door
        self._acceptor = Acceptor(maximum_length=MAXIMUM_LENGTH, buffer=bytearray(IDLE_BUFFER))
        self._link = Link(self._acceptor, transport, listener.deadlines.pdu.total_seconds())
        self.host, self._port = transport.peer
        self._id = ulid(clock())
        self._calling = ""
        self._called = ""
        self._contexts: dict[int, AnsweredContext] = {}
        self._began = anyio.current_time()
        self._accepted = False
        self._small_buffer = bytearray()
        self._large_buffer: bytearray | None = None
        """Borrowed while objects arrive."""
        self._idle: anyio.CancelScope | None = None
        self._stopping = False
        self._evicted = ""

    def stop(self) -> None:
        """Finish the object that is arriving, then abort; at once between two objects."""
        self._stopping = True
        if self._idle is not None:
            self._idle.cancel()

    def evict(self, error: str) -> None:
        """End the connection at once, whatever the peer does; ``error`` says why."""
        self._evicted = error
        self._link.transport.hang_up()

    async def run(self) -> None:
        """From the A-ASSOCIATE-RQ to the release, or to whatever ends it."""
        error, offence = "", False
        last_words: bytes | None = None
        try:
            last_words = await self._associate_and_converse()
        except ProtocolError as broken:
            error, offence, last_words = str(broken), True, self._acceptor.abort_for(broken)
        except PeerTimeoutError as late:
            error, offence, last_words = str(late), True, self._acceptor.abort()
        except PeerLeftError as left:
            error = str(left)
        except TlsError as untrusted:
            # The alert is on its way: a peer whose certificate it is about is given the time to read it.
            error, offence, last_words = str(untrusted), True, b"" if untrusted.verification else None
        except OSError as lost:
            error = f"the connection was lost: {lost.strerror}"
        finally:
            if self._large_buffer is not None:
                self._buffers.give(self._large_buffer)
        if error:
            self._report(self._evicted or error, offence=offence and not self._evicted)
        await self._link.close(last_words)

    # Opening

    async def _associate_and_converse(self) -> bytes:
        """Everything; returns the last words."""
        size = await self._await_announcement()
        if size is None:
            return self._stopped()
        rejection = self._door.announced(
            self.host,
            self._listener,
            calling=self._calling,
            called=self._called,
            certificate_names=self._link.transport.certificate_names,
        )
        if rejection is not None:
            return self._reject(rejection)
        try:
            request = await self._read_request(size)
            if (rejection := _judge(request)) is not None:
                return self._reject(rejection)
            recognition = self._recognise(request.user_identity)
            if recognition is Recognition.REFUSED:
                # Which of the checks failed is nobody's business, and a name may be a person's.
                return self._reject(Rejection(1, 1, 1, "the user identity was not recognised"))
            await self._accept(request, recognition)
            return await self._converse()
        finally:
            self._door.over(self, associated=self._accepted)

    async def _await_announcement(self) -> int | None:
        """Take the titles of the A-ASSOCIATE-RQ, and return its size; None: we stop.

        The deadline is one for all of it, from the connection on.
        """
        event: Event | None = None
        connected = False
        with anyio.move_on_after(self._listener.deadlines.request.total_seconds()) as self._idle:
            if self._stopping:
                self._idle.cancel()
            await self._link.transport.handshake()
            connected = True
            event = await self._link.event(math.inf)
        match event:
            case AssociationAnnounced():
                self._calling, self._called = event.calling_ae_title, event.called_ae_title
                return event.size
            case Closed() | Aborted():
                raise PeerLeftError("the peer closed the connection before it asked for an association")
            case None if self._stopping:
                return None
            case None if not connected:
                raise PeerTimeoutError("the TLS handshake was not finished before the deadline")
            case None:
                raise PeerTimeoutError("no association was asked for before the deadline")
            case _:
                raise AssertionError(f"{event} before an association is the protocol's to refuse")

    async def _read_request(self, size: int) -> AssociationRequest:
        if size > DECODED_IN_A_THREAD:
            return await anyio.to_thread.run_sync(self._acceptor.request)
        return self._acceptor.request()

    def _reject(self, rejection: Rejection) -> bytes:
        self._journal.publish(
            AssociationRefused(
                association=self._id,
                calling_ae_title=self._calling,
                called_ae_title=self._called,
                peer=self.host,
                status=f"RJ {rejection.result}/{rejection.source}/{rejection.reason}",
                error=rejection.sentence,
            )
        )
        return self._acceptor.reject(rejection.result, rejection.source, rejection.reason)

    def _recognise(self, identity: UserIdentity | None) -> Recognition:
        if self._listener.users is None:
            return Recognition.UNCHECKED
        if identity is None:
            return recognise(self._listener.users, None, b"", b"")
        return recognise(self._listener.users, identity.type, identity.primary, identity.secondary)

    async def _accept(self, request: AssociationRequest, recognition: Recognition) -> None:
        accept_unknown = self._listener.unknown_sop_classes is UnknownSOPClasses.ACCEPT
        answers = answer_contexts(
            request.contexts,
            storage=lambda uid: is_storage(uid, accept_unknown=accept_unknown),
            prefer=self._listener.prefer,
        )
        accepted = self._acceptor.accept(
            request,
            answers,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            user_recognised=recognition is Recognition.RECOGNISED,
        )
        await self._link.send([accepted], ANSWER_WITHIN)
        self._accepted = True
        self._door.associated(self)
        self._contexts = {answer.id: answer for answer in answers if answer.transfer_syntax is not None}
        self._journal.publish(
            AssociationAccepted(
                association=self._id,
                calling_ae_title=self._calling,
                called_ae_title=self._called,
                peer=self.host,
                accepted_contexts=len(self._contexts),
                rejected_contexts=len(answers) - len(self._contexts),
            )
        )

    # Conversing

    async def _converse(self) -> bytes:
        """Serve requests until the peer releases; returns the last words."""
        while (event := await self._next_request()) is not None:
            match event:
                case StoreRequested():
                    await self._store(event)
                case EchoRequested():
                    await self._link.send([self._acceptor.echo_answer(event)], ANSWER_WITHIN)
                case UnsupportedCommand():
                    await self._link.send([self._acceptor.unsupported_answer(event)], ANSWER_WITHIN)
                case ReleaseRequested():
                    self._journal.publish(
                        AssociationReleased(
                            association=self._id,
                            calling_ae_title=self._calling,
                            peer=self.host,
                            duration_ms=self._duration_ms(),
                        )
                    )
                    return self._acceptor.confirm_release()
                case Aborted():
                    raise PeerLeftError("the peer aborted the association")
                case Closed():
                    raise PeerLeftError("the peer closed the connection without a release")
                case _:
                    raise AssertionError(f"{event} between two objects is the protocol's to refuse")
        return self._stopped()

    async def _next_request(self) -> Event | None:
        """What the peer wants next; None: we stop."""
        if self._stopping:
            return None
        self._return_large_buffer()
        with anyio.CancelScope() as self._idle:
            return await self._link.event(self._listener.deadlines.idle.total_seconds())
        return None

    async def _store(self, request: StoreRequested) -> None:
        context = self._contexts[request.context_id]
        if self._large_buffer is None:
            self._large_buffer = await self._buffers.take()
            self._small_buffer = self._acceptor.exchange(self._large_buffer)
        async with aclosing(self._link.pieces(self._listener.deadlines.between_pdus.total_seconds())) as pieces:
            if request.sop_class == context.abstract_syntax:
                answer = await self._receiver(self._offer(request, context), pieces)
            else:
                answer = self._refuse(
                    request, context, Answer(SOP_CLASS_MISMATCH, "SOP class is not that of the presentation context")
                )
            async for _ in pieces:
                pass  # what the receiver did not want
        pdus = self._acceptor.store_answer(request, answer.status, error_comment=answer.error_comment)
        await self._link.send([pdus], ANSWER_WITHIN)

    def _offer(self, request: StoreRequested, context: AnsweredContext) -> Offer:
        envelope = Envelope(
            calling_ae_title=self._calling,
            called_ae_title=self._called,
            peer_host=self.host,
            peer_port=self._port,
            association=self._id,
            received_at=self._clock(),
        )
        identity = Identity(context.abstract_syntax, request.sop_instance, context.transfer_syntax or "")
        return Offer(envelope, identity, self._listener)

    def _refuse(self, request: StoreRequested, context: AnsweredContext, answer: Answer) -> Answer:
        self._journal.publish(
            InstanceRefused(
                association=self._id,
                calling_ae_title=self._calling,
                peer=self.host,
                instance=request.sop_instance,
                sop_class=request.sop_class,
                stored_transfer_syntax=context.transfer_syntax or "",
                status=f"{answer.status:04X}H",
                error=answer.error_comment,
            )
        )
        return answer

    def _return_large_buffer(self) -> None:
        # In the middle of a PDU the small one may not hold what has arrived: then the next occasion will do.
        if self._large_buffer is not None and not self._acceptor.mid_pdu:
            self._acceptor.exchange(self._small_buffer)
            self._buffers.give(self._large_buffer)
            self._large_buffer = None

    # Ending

    def _stopped(self) -> bytes:
        self._report("the router stops")
        return self._acceptor.abort()

    def _report(self, error: str, *, offence: bool = False) -> None:
        if not self._accepted:
            self._door.refused(self.host, error, offence=offence)
            return
        self._journal.publish(
            AssociationLost(
                association=self._id,
                calling_ae_title=self._calling,
                peer=self.host,
                error=error,
                duration_ms=self._duration_ms(),
            )
        )

    def _duration_ms(self) -> float:
        return round((anyio.current_time() - self._began) * 1000, 1)


def _judge(request: AssociationRequest) -> Rejection | None:
    """What the Standard has an A-ASSOCIATE-RJ for beyond the AE titles (PS3.8 Table 9-21)."""
    if request.application_context != APPLICATION_CONTEXT:
        return Rejection(1, 1, 2, "the application context name is not DICOM's")
    if not request.protocol_version & 1:
        return Rejection(1, 2, 2, "protocol version 1 is not offered")
    return None
