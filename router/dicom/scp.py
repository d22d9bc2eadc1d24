"""Storage and Verification SCP: one listener, a task per association, no thread."""

import socket
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.abc
import anyio.lowlevel

from router.dicom.buffers import Buffers
from router.dicom.incoming import IncomingAssociation, Receiver
from router.dicom.transport import SocketTransport, Transport, listen
from router.journal import ConnectionRefused, Journal
from router.rules.acceptance import Listener

UNASSOCIATED = 32
"""Connections beyond the limit of associations that may be open at once: those that have not said who they are."""

ACCEPT_PAUSE = 0.1
"""Seconds before the next try when the process is out of descriptors: the loop must not spin."""


class Scp:
    """One listener and its associations."""

    def __init__(
        self,
        listener: Listener,
        receiver: Receiver,
        *,
        journal: Journal,
        buffers: Buffers,
        clock: Callable[[], datetime],
    ) -> None:
        self.listener = listener
        """The rules for the next association; a reload may replace them, but for host and port."""
        self.port = listener.port
        """As bound: of interest when the configuration says 0."""
        self._receiver = receiver
        self._journal = journal
        self._buffers = buffers
        self._clock = clock
        self._open: set[IncomingAssociation] = set()
        self._associations: Counter[str] = Counter()
        self._stopping = anyio.Event()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until ``stop``; return once every association has ended.

        Raises:
            OSError: the address cannot be bound.
        """
        with listen(self.listener.host, self.listener.port) as listening:
            self.port = listening.getsockname()[1]
            async with anyio.create_task_group() as associations:
                async with anyio.create_task_group() as accepting:
                    accepting.start_soon(self._accept, listening, associations)
                    task_status.started()
                    await self._stopping.wait()
                    accepting.cancel_scope.cancel()
                anyio.notify_closing(listening)
                listening.close()

    def stop(self) -> None:
        """Take no more connections; let each association finish the object that is arriving."""
        self._stopping.set()
        for association in self._open:
            association.stop()

    async def _accept(self, listening: socket.socket, associations: anyio.abc.TaskGroup) -> None:
        while True:
            try:
                connected, (host, *_) = listening.accept()
            except BlockingIOError:
                await anyio.wait_readable(listening)
            except OSError as error:
                self._journal.publish(ConnectionRefused(peer="", error=f"cannot accept connections: {error.strerror}"))
                await anyio.sleep(ACCEPT_PAUSE)
            else:
                self._take(connected, str(host), associations)
                await anyio.lowlevel.checkpoint()  # a flood of connections must not starve those that are open

    def _take(self, connected: socket.socket, host: str, associations: anyio.abc.TaskGroup) -> None:
        if len(self._open) >= self.listener.max_associations + UNASSOCIATED:
            connected.close()
            self._journal.publish(ConnectionRefused(peer=host, error="too many connections are open"))
            return
        try:
            transport = SocketTransport(connected)
        except OSError:
            connected.close()  # reset by the peer before we came to it
            return
        association = IncomingAssociation(
            transport,
            self.listener,
            self._receiver,
            journal=self._journal,
            buffers=self._buffers,
            clock=self._clock,
            associations=self._associations,
        )
        # Now, not when its task first runs: it counts for the limit, and `stop` has to reach it.
        self._open.add(association)
        associations.start_soon(self._serve, association, transport)

    async def _serve(self, association: IncomingAssociation, transport: Transport) -> None:
        try:
            await association.run()
        finally:
            self._open.discard(association)
            with anyio.CancelScope(shield=True):
                await transport.aclose()
