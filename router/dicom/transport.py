"""Bytes in and out: ``receive_into(buffer)``, ``send(buffers)``, ``aclose()``, over a socket.

``tls`` has the same over another transport.
"""

import math
import os
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import anyio
import anyio.lowlevel

Buffer = bytes | bytearray | memoryview

CHECKPOINT_EVERY = 1 << 20
"""Bytes after which other tasks get their turn, however fast the peer is."""

GATHERED = 64
"""Buffers in one ``sendmsg``; far below IOV_MAX, more than fill a socket buffer."""


class StalledError(Exception):
    """The peer sent nothing, or took nothing, until the deadline."""


class Transport(Protocol):
    """A connection with one peer. Not for several tasks in the same direction at once."""

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the peer."""

    @property
    def certificate_names(self) -> frozenset[str]:
        """What the peer's certificate calls it, verified: DNS names and common names. Empty without one."""

    async def handshake(self) -> None:
        """Come to the point where bytes can be exchanged; before it none are.

        Raises:
            OSError: it cannot be had.
        """

    async def receive_into(self, buffer: memoryview, deadline: float = math.inf) -> int:
        """Wait for bytes and put them into ``buffer``. Returns how many; 0: the peer closed.

        Raises:
            StalledError: nothing came until ``deadline``, on the event loop's clock.
            OSError: the connection is lost.
        """

    async def send(self, buffers: Sequence[Buffer], stall: float = math.inf) -> None:
        """Send all buffers, in one system call where the kernel takes them.

        Raises:
            StalledError: the peer took nothing for ``stall`` seconds.
            OSError: the connection is lost.
        """

    def hang_up(self) -> None:
        """End both directions at once: who waits for bytes finds that there are no more. It still has to be closed."""

    async def aclose(self) -> None:
        """Close; waiting calls end."""


class SocketTransport:
    """A transport over a connected TCP socket: try first, wait only when the kernel says so."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        # Without it each object waits 40 ms for a delayed acknowledgement.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = connected
        self._since_checkpoint = 0
        host, port = connected.getpeername()[:2]
        self._peer = (str(host), int(port))

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the peer."""
        return self._peer

    @property
    def certificate_names(self) -> frozenset[str]:
        """Nobody vouches for the peer."""
        return frozenset()

    async def handshake(self) -> None:
        """There is none."""

    async def receive_into(self, buffer: memoryview, deadline: float = math.inf) -> int:
        """See ``Transport``."""
        while True:
            try:
                count = self._socket.recv_into(buffer)
            except BlockingIOError:
                self._since_checkpoint = 0
                # A scope only where there is something to wait for: it costs as much as the system call.
                with anyio.CancelScope(deadline=deadline) as scope:
                    await anyio.wait_readable(self._socket)
                if scope.cancelled_caught:
                    raise StalledError from None
            else:
                await self._moved(count)
                return count

    async def send(self, buffers: Sequence[Buffer], stall: float = math.inf) -> None:
        """See ``Transport``."""
        waiting = deque(memoryview(buffer) for buffer in buffers)
        while waiting:
            try:
                count = self._socket.sendmsg([waiting[index] for index in range(min(len(waiting), GATHERED))])
            except BlockingIOError:
                self._since_checkpoint = 0
                with anyio.move_on_after(stall) as scope:
                    await anyio.wait_writable(self._socket)
                if scope.cancelled_caught:
                    raise StalledError from None
                continue
            await self._moved(count)
            while waiting and count >= len(waiting[0]):
                count -= len(waiting.popleft())
            if count:
                waiting[0] = waiting[0][count:]

    def hang_up(self) -> None:
        """See ``Transport``."""
        with suppress(OSError):  # the peer was first
            self._socket.shutdown(socket.SHUT_RDWR)

    async def aclose(self) -> None:
        """See ``Transport``."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

    async def _moved(self, count: int) -> None:
        self._since_checkpoint += count
        if self._since_checkpoint >= CHECKPOINT_EVERY:
            self._since_checkpoint = 0
            await anyio.lowlevel.checkpoint()


async def connect(host: str, port: int, within: float = math.inf) -> SocketTransport:
    """Connect to a peer, trying each of its addresses in turn.

    Args:
        host: its name or address.
        port: its TCP port.
        within: seconds for all of it. Each address has an equal part of what is left, so that one which is silent
            does not take the others' time.

    Raises:
        OSError: none of them answered; ``TimeoutError`` when the last was silent, ``socket.gaierror`` when the name
            could not be resolved.
    """
    deadline = anyio.current_time() + within
    with anyio.fail_after(within):
        addresses = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    last: OSError | None = None
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        candidate = socket.socket(family, kind, protocol)
        try:
            candidate.setblocking(False)
            with anyio.fail_after((deadline - anyio.current_time()) / (len(addresses) - position)):
                await _connect(candidate, address)
            return SocketTransport(candidate)
        except OSError as error:
            candidate.close()
            last = error
        except BaseException:
            candidate.close()
            raise
    raise last or OSError(f"{host} has no address")


async def _connect(candidate: socket.socket, address: tuple[str, int] | tuple[str, int, int, int]) -> None:
    with suppress(BlockingIOError):
        candidate.connect(address)
        return
    await anyio.wait_writable(candidate)
    if number := candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))


def listen(host: str, port: int, backlog: int = 512) -> socket.socket:
    """A listening socket that does not block.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening
