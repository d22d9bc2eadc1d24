"""Storage and Verification SCU: one association with one destination."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import anyio
import anyio.to_thread

from router.dicom import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from router.dicom.buffers import Buffers
from router.dicom.content import Content, ContentError, Outgoing
from router.dicom.link import Link, PeerTimeoutError
from router.dicom.tls import calling
from router.dicom.tls_errors import TlsError
from router.dicom.transport import Transport, connect
from router.model.destination import Destination, SendDeadlines
from router.model.outcome import Answered, Cause, Failed
from router.model.presentation_context import AnsweredContext, PresentationContext
from router.model.tls import TlsClient
from router.protocol import (
    Aborted,
    AssociationAccepted,
    AssociationRejected,
    Closed,
    EchoAnswered,
    Event,
    LocalProtocolError,
    ProtocolError,
    ReleaseConfirmed,
    ReleaseRequested,
    Requestor,
    StoreAnswered,
)

MAXIMUM_LENGTH = 16 * 1024
"""Of what we take from an SCP: only command sets."""

PDU_SECONDS = 60.0
"""For any one PDU of an SCP, however its bytes trickle; or the deadline of a whole answer, where that is shorter."""
RELEASE_WITHIN = 5.0
LAST_MESSAGE_ID = 0xFFFF

Reached = Callable[[str], object]
"""Told when a step of an association that is being opened is done: ``TCP``, then ``TLS``."""

C_STORE = "C-STORE"
C_ECHO = "C-ECHO"

REJECTIONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given by the service provider",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""Source and reason of an A-ASSOCIATE-RJ in words (PS3.8 Table 9-21)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a destination is, and who we say we are."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    tls: TlsClient | None = None
    """None: in the clear."""

    @classmethod
    def of(cls, destination: Destination, calling_ae_title: str) -> "Address":
        """Of a destination as configured."""
        return cls(
            destination.remote_host,
            destination.remote_port,
            destination.remote_ae_title,
            calling_ae_title,
            destination.tls,
        )

    def __str__(self) -> str:
        return f"{self.called_ae_title} at {self.host}:{self.port}"


class AssociationFailedError(Exception):
    """The association was not opened."""

    def __init__(self, failure: Failed, rejection: tuple[int, int, int] | None = None) -> None:
        super().__init__(failure.error)
        self.failure = failure
        self.rejection = rejection
        """Result, source and reason of the A-ASSOCIATE-RJ, if that is how it failed."""


class OutgoingAssociation:
    """An association that we opened. One C-STORE at a time; after a ``Failed`` it is over."""

    def __init__(
        self, link: Link[Requestor], accepted: AssociationAccepted, deadlines: SendDeadlines, buffers: Buffers
    ) -> None:
        self._link = link
        self._requestor = link.connection
        self._deadlines = deadlines
        self._buffers = buffers
        self._message_id = 0
        self.contexts: Sequence[AnsweredContext] = accepted.contexts
        """The peer's answers, for all contexts proposed."""
        self.implementation_class_uid = accepted.implementation_class_uid
        self.implementation_version_name = accepted.implementation_version_name
        self.maximum_length = accepted.maximum_length
        self.over = False
        """The association has ended, or must not be used again (its state is not known)."""

    async def store(self, context_id: int, instance: Outgoing) -> Answered | Failed:
        """Send one instance over an accepted context and wait for the answer.

        The digest is checked before the last fragment leaves, so a peer never keeps a damaged instance.
        """
        request = self._requestor.store_request(
            context_id, self._next_message_id(), instance.identity.sop_class, instance.identity.sop_instance
        )
        within = self._deadlines.response.total_seconds()
        return await self._exchange(C_STORE, self._send_object(context_id, request, instance), within)

    async def echo(self, context_id: int) -> Answered | Failed:
        """C-ECHO over an accepted context."""
        request = self._requestor.echo_request(context_id, self._next_message_id())
        within = self._deadlines.association.total_seconds()
        return await self._exchange(C_ECHO, self._link.send([request], within), within)

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % LAST_MESSAGE_ID + 1
        return self._message_id

    async def _send_object(self, context_id: int, request: bytes, instance: Outgoing) -> None:
        stalled_after = self._deadlines.response.total_seconds()
        async with self._buffers.lent() as buffer:
            view = memoryview(buffer)
            with Content(instance) as content:
                pdus: list[bytes | memoryview] = [request]
                while True:
                    count = await anyio.to_thread.run_sync(content.read_into, view)
                    last = content.remaining == 0
                    pdus += self._requestor.fragments(context_id, view[:count], last=last)
                    await self._link.send(pdus, stalled_after)
                    if last:
                        return
                    pdus = []

    async def _exchange(self, command: str, sending: Awaitable[None], within: float) -> Answered | Failed:
        """Send a request and await its answer."""
        try:
            await sending
            return await self._judge(command, await self._link.event(within))
        except ContentError as unreadable:
            await self.abort()
            return unreadable.failure
        except PeerTimeoutError as late:
            await self.abort()
            return Failed(Cause.RESPONSE_TIMEOUT, f"During {command} {late}")
        except ProtocolError as broken:
            await self._close(self._requestor.abort_for(broken))
            return Failed(Cause.PROTOCOL_ERROR, f"The peer broke the protocol during {command}: {broken}")
        except OSError as lost:
            return await self._lost(command, lost)
        except BaseException:
            # Cancelled in between: nothing may follow on this association.
            await self._close()
            raise

    async def _judge(self, command: str, event: Event) -> Answered | Failed:
        match event:
            case StoreAnswered() if command == C_STORE and event.message_id == self._message_id:
                return Answered(event.status, event.error_comment)
            case EchoAnswered() if command == C_ECHO and event.message_id == self._message_id:
                return Answered(event.status)
            case Aborted():
                await self._close()
                return Failed(Cause.STORE_ABORTED, f"The peer aborted during {command} ({_abort_in_words(event)})")
            case Closed():
                await self._close()
                return Failed(Cause.CONNECTION_LOST, f"The peer closed the connection during {command}")
            case _:
                await self.abort()
                sentence = f"The peer sent {_in_words(event)} in place of the answer to {command} {self._message_id}"
                return Failed(Cause.PROTOCOL_ERROR, sentence)

    async def _lost(self, command: str, lost: OSError) -> Failed:
        """The connection was lost; what the peer said before may still be there, and says why."""
        try:
            event = await self._link.event(0)
        except (PeerTimeoutError, ProtocolError, OSError):
            event = Closed()
        if isinstance(event, Aborted):
            await self._close()
            return Failed(Cause.STORE_ABORTED, f"The peer aborted during {command} ({_abort_in_words(event)})")
        await self._close()
        return Failed(Cause.CONNECTION_LOST, f"The connection was lost during {command}: {lost.strerror}")

    async def still_open(self) -> bool:
        """Whether the association can be used again; a peer that ended it meanwhile is answered."""
        if self.over:
            return False
        try:
            event = await self._link.event(0)
        except PeerTimeoutError:
            return True
        except (ProtocolError, OSError):
            await self.abort()
            return False
        await self._close(self._requestor.confirm_release() if isinstance(event, ReleaseRequested) else None)
        return False

    async def release(self) -> None:
        """End the association in order; a peer that does not answer is left after a moment."""
        if self.over:
            return
        self.over = True
        try:
            with anyio.move_on_after(RELEASE_WITHIN):
                await self._link.send([self._requestor.release()], RELEASE_WITHIN)
                await self._until_released()
        except (PeerTimeoutError, ProtocolError, OSError):
            pass  # every instance has its answer: how the association ends changes nothing
        finally:
            await self._close()

    async def _until_released(self) -> None:
        while True:
            match await self._link.event(RELEASE_WITHIN):
                case ReleaseConfirmed() | Closed() | Aborted():
                    return
                case ReleaseRequested():  # release collision: the requestor answers first (PS3.8 9.2.3, AR-9)
                    await self._link.send([self._requestor.confirm_release()], RELEASE_WITHIN)
                case _:
                    pass  # an answer too late, or a request: neither changes anything now

    async def abort(self) -> None:
        """End the association at once."""
        if not self.over:
            await self._close(self._requestor.abort())

    async def _close(self, last_words: bytes | None = None) -> None:
        self.over = True
        await self._link.close(last_words)


async def associate(
    address: Address,
    contexts: Sequence[PresentationContext],
    *,
    deadlines: SendDeadlines,
    buffers: Buffers,
    reached: Reached = str,
) -> OutgoingAssociation:
    """Connect and open an association.

    Args:
        address: of the peer.
        contexts: to propose.
        deadlines: for each step.
        buffers: for what is sent over it.
        reached: told how far it came.

    Raises:
        AssociationFailedError: with the cause, in one of our own sentences.
    """
    transport = await _connect(address, deadlines.connect, reached)
    requestor = Requestor(maximum_length=MAXIMUM_LENGTH)
    link = Link(requestor, transport, min(PDU_SECONDS, deadlines.response.total_seconds()))
    within = deadlines.association.total_seconds()
    last_words: bytes | None = None
    try:
        request = requestor.associate(
            calling_ae_title=address.calling_ae_title,
            called_ae_title=address.called_ae_title,
            contexts=contexts,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        )
        await link.send([request], within)
        event = await link.event(within)
        if isinstance(event, AssociationAccepted):
            return OutgoingAssociation(link, event, deadlines, buffers)
        failed = _not_accepted(address, event)
    except PeerTimeoutError as late:
        last_words = requestor.abort()
        failed = AssociationFailedError(Failed(Cause.ASSOCIATION_TIMEOUT, f"{address} did not associate: {late}"))
    except ProtocolError as broken:
        last_words = requestor.abort_for(broken)
        failed = AssociationFailedError(
            Failed(
                Cause.ASSOCIATION_ABORTED,
                f"{address} broke the protocol in its answer to the association request: {broken}",
            )
        )
    except LocalProtocolError as impossible:
        failed = AssociationFailedError(
            Failed(Cause.ASSOCIATION_REJECTED, f"{address} cannot be asked for an association: {impossible}")
        )
    except TlsError as untrusted:
        # In TLS 1.3 a server judges the client's certificate when the client thinks that all is done.
        failed = AssociationFailedError(_tls_failed(address, untrusted))
    except OSError as lost:
        failed = AssociationFailedError(
            Failed(Cause.ASSOCIATION_ABORTED, f"{address} dropped the connection: {lost.strerror}")
        )
    except BaseException:
        await link.close()
        raise
    await link.close(last_words)
    raise failed


async def _connect(address: Address, within: timedelta, reached: Reached) -> Transport:
    """One deadline for the connection and the TLS handshake."""
    deadline = anyio.current_time() + within.total_seconds()
    transport: Transport = await _connect_in_the_clear(address, within)
    reached("TCP")
    if address.tls is None:
        return transport
    transport = calling(transport, address.tls, address.host)
    try:
        with anyio.fail_after(deadline - anyio.current_time()):
            await transport.handshake()
            reached("TLS")
            return transport
    except TimeoutError:
        sentence = f"{address} did not finish the TLS handshake within {within.total_seconds():g} s"
        failure = Failed(Cause.TLS_FAILED, sentence)
    except TlsError as untrusted:
        failure = _tls_failed(address, untrusted)
    except OSError as lost:
        sentence = f"{address} dropped the connection during the TLS handshake: {lost.strerror}"
        failure = Failed(Cause.TLS_FAILED, sentence)
    except BaseException:
        await transport.aclose()
        raise
    await transport.aclose()
    raise AssociationFailedError(failure)


def _tls_failed(address: Address, error: TlsError) -> Failed:
    cause = Cause.TLS_VERIFICATION if error.verification else Cause.TLS_FAILED
    return Failed(cause, f"No TLS with {address}: {error}")


async def _connect_in_the_clear(address: Address, within: timedelta) -> Transport:
    try:
        return await connect(address.host, address.port, within.total_seconds())
    except TimeoutError:
        failure = Failed(
            Cause.CONNECT_FAILED, f"{address} did not take a connection within {within.total_seconds():g} s"
        )
    except socket.gaierror as error:
        failure = Failed(
            Cause.NAME_NOT_RESOLVED,
            f"The name {address.host!r} of {address.called_ae_title} cannot be resolved: {error.strerror}",
        )
    except UnicodeError:
        failure = Failed(
            Cause.NAME_NOT_RESOLVED, f"The name {address.host!r} of {address.called_ae_title} is no host name"
        )
    except OSError as error:
        failure = Failed(Cause.CONNECT_FAILED, f"Cannot connect to {address}: {error.strerror or error}")
    raise AssociationFailedError(failure)


def _not_accepted(address: Address, event: Event) -> AssociationFailedError:
    match event:
        case AssociationRejected(result=result, source=source, reason=reason):
            words = REJECTIONS.get((source, reason), f"reason {reason} of source {source}")
            lasting = "permanently" if result == 1 else "for now"
            cause = Cause.ASSOCIATION_REJECTED
            if source == 1 and reason in {3, 7}:
                cause = Cause.AE_TITLE_UNKNOWN
            elif source == 3:  # noqa: PLR2004 -- PS3.8 Table 9-21: temporary congestion, local limit exceeded
                cause = Cause.LOCAL_LIMIT
            sentence = f"{address} rejected the association {lasting}: {words}"
            return AssociationFailedError(Failed(cause, sentence), (result, source, reason))
        case Aborted():
            sentence = f"{address} aborted the association request ({_abort_in_words(event)})"
        case Closed():
            sentence = f"{address} closed the connection in place of an answer to the association request"
        case _:
            sentence = f"{address} sent {_in_words(event)} in place of an answer to the association request"
    return AssociationFailedError(Failed(Cause.ASSOCIATION_ABORTED, sentence))


def _abort_in_words(event: Aborted) -> str:
    return f"source {event.source}, reason {event.reason}"


def _in_words(event: Event) -> str:
    return type(event).__name__
