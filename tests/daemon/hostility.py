"""Hosts that mean no good, on loopback addresses of their own: many connections, driven by one thread."""

import math
import multiprocessing
import multiprocessing.synchronize
import selectors
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from threading import Event, Thread
from time import monotonic
from typing import Self

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""
TURN = 0.02
"""Seconds between two looks at all connections."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a host misbehaves on each of its connections; a connection that it loses is opened again."""

    name: str
    opening: bytes = b""
    """Sent at once."""
    trickle: Sequence[bytes] = ()
    """Sent again and again, one piece each time."""
    every: float = 0.2
    """Seconds between two pieces."""
    leaves: bool = False
    """With a reset, as soon as the opening is sent."""


def addresses(first: int, count: int) -> Sequence[str]:
    """Of the loopback network, none of which is ours."""
    return [f"127.0.{first}.{number}" for number in range(2, 2 + count)]


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    pieces: Iterator[bytes]
    due: float
    opened: bool = False


@dataclass
class Siege:
    """One manner, from several hosts."""

    port: int
    manner: Manner
    hosts: Sequence[str]
    connections: int
    pace: float = math.inf
    """New connections in a second, beyond the first of each."""
    made: int = 0
    """Connections so far."""
    ended: int = 0
    """By the router."""
    _stop: Event = field(default_factory=Event)
    _open: set[socket.socket] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._thread = Thread(target=self._run, name=self.manner.name)
        self._hosts = cycle(self.hosts)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = monotonic()
        with selectors.DefaultSelector() as selector:
            while not self._stop.wait(TURN):
                due = self.connections + self.pace * (monotonic() - began)
                while len(self._open) < self.connections and self.made < due and self._connect(selector):
                    pass
                for key, events in selector.select(0):
                    self._serve(selector, key.data, events)
                for key in [*selector.get_map().values()]:
                    self._trickle(selector, key.data)
            for key in [*selector.get_map().values()]:
                self._close(selector, key.data)

    def _connect(self, selector: selectors.BaseSelector) -> bool:
        """Another connection; not more than a few in one turn."""
        connection = socket.socket()
        connection.setblocking(False)
        with suppress(BlockingIOError):
            connection.bind((next(self._hosts), 0))
            connection.connect(("127.0.0.1", self.port))
        self._open.add(connection)
        self.made += 1
        state = _Connection(connection, cycle(self.manner.trickle), monotonic())
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, state)
        return self.made % 16 != 0

    def _serve(self, selector: selectors.BaseSelector, state: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and not state.opened:
                state.socket.send(self.manner.opening)
                state.opened = True
                state.due = monotonic() + self.manner.every
                selector.modify(state.socket, selectors.EVENT_READ, state)
                if self.manner.leaves:
                    state.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    self._close(selector, state)
                    return
            if events & selectors.EVENT_READ and not state.socket.recv(1 << 16):
                self.ended += 1
                self._close(selector, state)
        except BlockingIOError:
            return
        except OSError:
            self.ended += 1
            self._close(selector, state)

    def _trickle(self, selector: selectors.BaseSelector, state: _Connection) -> None:
        if not (state.opened and self.manner.trickle and monotonic() >= state.due):
            return
        state.due += self.manner.every
        try:
            state.socket.send(next(state.pieces))
        except BlockingIOError:
            return
        except OSError:
            self.ended += 1
            self._close(selector, state)

    def _close(self, selector: selectors.BaseSelector, state: _Connection) -> None:
        with suppress(KeyError):
            selector.unregister(state.socket)
        self._open.discard(state.socket)
        state.socket.close()


class Attackers:
    """Sieges in a process of their own, so that the modality beside them has its interpreter to itself."""

    def __init__(self, sieges: Sequence[tuple[int, Manner, Sequence[str], int, float]]) -> None:
        """They do not attack yet.

        Args:
            sieges: what each `Siege` is made of: port, manner, hosts, connections, pace.
        """
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._began = context.Event()
        self._process = context.Process(target=_attack, args=(sieges, self._began, self._stop))

    def __enter__(self) -> Self:
        self._process.start()
        self._began.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._process.join()


def _attack(
    sieges: Sequence[tuple[int, Manner, Sequence[str], int, float]],
    began: multiprocessing.synchronize.Event,
    stop: multiprocessing.synchronize.Event,
) -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(Siege(*siege)) for siege in sieges]
        while not all(siege.made >= siege.connections for siege in made) and not stop.wait(TURN):
            pass
        began.set()
        stop.wait()


class Stalling:
    """A way to a PACS that takes connections on for it: of the first one's answers it passes on so many bytes only."""

    def __init__(self, port: int, target: int, after: int) -> None:
        self.port = port
        self._target = target
        self._after = after
        self._stop = Event()
        self._server = socket.create_server(("127.0.0.1", port))
        self._threads = [Thread(target=self._accept)]
        self.connections = 0

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self.connections += 1
                # From the second connection on it lets everything pass.
                left = self._after if self.connections == 1 else 1 << 40
                self._threads.append(Thread(target=self._relay, args=(near, left)))
                self._threads[-1].start()

    def _relay(self, near: socket.socket, left: int) -> None:
        with (
            near,
            socket.create_connection(("127.0.0.1", self._target)) as far,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(near, selectors.EVENT_READ)
            selector.register(far, selectors.EVENT_READ)
            with suppress(OSError):
                while not self._stop.is_set():
                    for key, _ in selector.select(0.1):
                        content = (near if key.fileobj is near else far).recv(1 << 16)
                        if key.fileobj is near:
                            if not content:
                                return
                            far.sendall(content)
                        elif not content:
                            # The PACS is done; a link that stalls does not tell anybody.
                            selector.unregister(far)
                        elif left:
                            near.sendall(content[:left])
                            left -= min(left, len(content))
