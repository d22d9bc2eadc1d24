"""A modality that sends a file's bytes exactly as they are, and stops wherever a test wants it to."""

import socket
from collections.abc import Iterable
from itertools import count
from types import TracebackType
from typing import Self

from router.model.presentation_context import VERIFICATION, PresentationContext
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from router.protocol import Aborted, AssociationAccepted, AssociationRejected, Closed, Event, Requestor, StoreAnswered
from router.protocol.events import EchoAnswered, ReleaseConfirmed
from tests.daemon.objects import Object
from tests.daemon.waiting import PATIENCE

CONTEXT_AT = 10
"""Where in a P-DATA-TF the id of its first presentation context stands (PS3.8 9.3.5)."""

FIRST_CONTEXT = 3
"""Behind the one for Verification."""

PING = (VERIFICATION, IMPLICIT_VR_LITTLE_ENDIAN)


class RejectedError(Exception):
    """The association was rejected; the arguments are result, source and reason."""


class LostError(Exception):
    """The association is over: aborted or closed by the router, or the connection was lost."""


class Modality:
    """One association. A blocking socket drives the protocol: the test itself decides when the next byte leaves."""

    def __init__(
        self, port: int, contexts: Iterable[tuple[str, str]] = (), *, calling: str = "CT1", called: str = "ROUTER"
    ) -> None:
        """Associate.

        Args:
            port: of the router.
            contexts: pairs of SOP class and transfer syntax to propose, beside Verification.
            calling: our AE title.
            called: the router's.

        Raises:
            RejectedError, LostError: there is no association.
        """
        self._ids = {pair: 2 * index + 1 for index, pair in enumerate(dict.fromkeys([PING, *contexts]))}
        self._numbers = count(1)
        self._requestor = Requestor()
        self.lost = False
        """The association is over, and it was not we who ended it."""
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise LostError(str(error)) from error
        self._send(
            self._requestor.associate(
                calling_ae_title=calling,
                called_ae_title=called,
                contexts=[PresentationContext(number, pair[0], (pair[1],)) for pair, number in self._ids.items()],
                implementation_class_uid="2.25.1",
                implementation_version_name="MODALITY",
            )
        )
        match self._event():
            case AssociationAccepted():
                pass
            case AssociationRejected(result, source, reason):
                self._socket.close()
                raise RejectedError(result, source, reason)
            case other:
                raise self._over(str(other))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self.lost:
                self.release()
        finally:
            self.close()

    def echo(self) -> int:
        """The status of a C-ECHO."""
        self._send(self._requestor.echo_request(self._ids[PING], next(self._numbers)))
        answer = self._event()
        assert isinstance(answer, EchoAnswered), answer
        return answer.status

    def store(self, sent: Object) -> int:
        """The status of a C-STORE."""
        self.begin(sent, len(sent.dataset))
        return self.answer()

    def begin(self, sent: Object, first: int, *, context: int | None = None) -> None:
        """The command, and the ``first`` bytes of the data set (an even number, or all).

        ``context`` is written over the id of the presentation context: the protocol would not send one that was not
        accepted.
        """
        identity = sent.identity
        command = self._requestor.store_request(
            self._context(sent), next(self._numbers), identity.sop_class, identity.sop_instance
        )
        if context is not None:
            command = command[:CONTEXT_AT] + bytes([context]) + command[CONTEXT_AT + 1 :]
        self._send(command)
        if first:
            self.proceed(sent, 0, first)

    def proceed(self, sent: Object, start: int, end: int) -> None:
        """Further bytes of the data set."""
        last = end >= len(sent.dataset)
        part = memoryview(sent.dataset)[start:end]
        self._send(*self._requestor.fragments(self._context(sent), part, last=last))

    def answer(self) -> int:
        """The status of the C-STORE that has been sent."""
        answer = self._event()
        if not isinstance(answer, StoreAnswered):
            raise self._over(str(answer))
        return answer.status

    def raw(self, content: bytes) -> None:
        """Bytes that the protocol would not send."""
        self._send(content)

    def ending(self) -> Aborted | Closed:
        """How the router ends the association, which it does now."""
        event = self._event()
        assert isinstance(event, Aborted | Closed), event
        self.lost = True
        return event

    def release(self) -> None:
        """End the association in order."""
        self._send(self._requestor.release())
        event = self._event()
        assert isinstance(event, ReleaseConfirmed), event

    def abort(self) -> None:
        """End the association with an A-ABORT."""
        self._send(self._requestor.abort())
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _context(self, sent: Object) -> int:
        """The one that was proposed for it; for an object that lies about its SOP class the first."""
        return self._ids.get(sent.pair, FIRST_CONTEXT)

    def _send(self, *buffers: bytes | memoryview) -> None:
        try:
            for buffer in buffers:
                self._socket.sendall(buffer)
        except OSError as error:
            raise self._over(str(error)) from error

    def _event(self) -> Event:
        try:
            while (event := self._requestor.next_event()) is None:
                self._requestor.received(self._socket.recv_into(self._requestor.buffer()))
        except OSError as error:
            raise self._over(str(error)) from error
        return event

    def _over(self, why: str) -> LostError:
        self.lost = True
        self._socket.close()
        return LostError(why)


def send(port: int, objects: Iterable[Object], *, calling: str = "CT1", called: str = "ROUTER") -> list[int]:
    """One association that carries all of them; the status of each."""
    sent = list(objects)
    with Modality(port, (each.pair for each in sent), calling=calling, called=called) as modality:
        return [modality.store(each) for each in sent]
