"""Storage and Verification SCP: one listener, a task per association, no thread."""

import socket
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.abc
import anyio.lowlevel

from router.dicom.buffers import Buffers
from router.dicom.door import Door
from router.dicom.incoming import IncomingAssociation, Receiver
from router.dicom.refusals import Refusals
from router.dicom.tls import called
from router.dicom.transport import SocketTransport, Transport, listen
from router.journal import Defect, Journal, place_of
from router.rules.acceptance import Listener

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
        listen: Callable[[str, int], socket.socket] = listen,
    ) -> None:
        self.listener = listener
        """The rules for the next association."""
        self.port = listener.port
        """As bound: of interest when the configuration says 0."""
        self._receiver = receiver
        self._journal = journal
        self._buffers = buffers
        self._clock = clock
        self._listen = listen
        self._open: set[IncomingAssociation] = set()
        self._refusals = Refusals(journal)
        self._door = Door(self._refusals, anyio.current_time)
        self._stopping = anyio.Event()

    def configure(self, listener: Listener) -> None:
        """Other rules from the next connection on, but for host and port."""
        self.listener = listener
        self._buffers.raise_to(listener.max_associations)

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until ``stop``; return once every association has ended.

        Raises:
            OSError: the address cannot be bound.
        """
        with self._listen(self.listener.host, self.listener.port) as listening:
            self.port = listening.getsockname()[1]
            async with anyio.create_task_group() as associations:
                async with anyio.create_task_group() as accepting:
                    accepting.start_soon(self._accept, listening, associations)
                    accepting.start_soon(self._refusals.run)
                    task_status.started()
                    await self._stopping.wait()
                    accepting.cancel_scope.cancel()
                anyio.notify_closing(listening)
                listening.close()
        self._refusals.sum_up()

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
                self._refusals.publish("", f"cannot accept connections: {error.strerror}")
                await anyio.sleep(ACCEPT_PAUSE)
            else:
                self._take(connected, str(host), associations)
                await anyio.lowlevel.checkpoint()  # a flood of connections must not starve those that are open

    def _take(self, connected: socket.socket, host: str, associations: anyio.abc.TaskGroup) -> None:
        if (error := self._door.judge(host, self.listener)) is not None:
            connected.close()
            self._door.refused(host, error)
            return
        try:
            transport: Transport = SocketTransport(connected)
        except OSError:
            connected.close()  # reset by the peer before we came to it
            return
        if self.listener.tls is not None:
            transport = called(transport, self.listener.tls)
        association = IncomingAssociation(
            transport,
            self.listener,
            self._receiver,
            journal=self._journal,
            buffers=self._buffers,
            clock=self._clock,
            door=self._door,
        )
        # Now, not when its task first runs: it counts for the limits, and `stop` has to reach it.
        self._open.add(association)
        self._door.entered(association)
        associations.start_soon(self._serve, association, transport)

    async def _serve(self, association: IncomingAssociation, transport: Transport) -> None:
        try:
            await association.run()
        except Exception as error:  # noqa: BLE001 -- the firewall: a defect that one peer meets must not end the others
            self._journal.publish(Defect(peer=association.host, error=place_of(error)))
        finally:
            self._open.discard(association)
            self._door.left(association)
            with anyio.CancelScope(shield=True):
                await transport.aclose()
