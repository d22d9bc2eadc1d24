"""Listening sockets that whoever started the process hands over (sd_listen_fds(3)).

So port 104 needs no privilege here, and who calls while the daemon starts anew waits in the queue of a socket that
never closes.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Self

from router.dicom.transport import listen

FIRST = 3
"""The number of the first descriptor that is handed over."""

Place = tuple[str, int]


class Inherited:
    """Sockets that listen already, by their address."""

    def __init__(self, sockets: Iterable[socket.socket] = ()) -> None:
        """Sockets; they stay open as long as this lives, whatever becomes of those that ``listen`` gives."""
        self._sockets = {_bound(each): each for each in sockets}

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """What the environment says was handed over to this process.

        Raises:
            OSError: a descriptor that it names is no socket.
        """
        if environment.get("LISTEN_PID") != str(os.getpid()):
            return cls()
        with ExitStack() as closing:
            sockets: list[socket.socket] = []
            for number in range(FIRST, FIRST + int(environment.get("LISTEN_FDS", 0))):
                os.set_inheritable(number, False)
                sockets.append(closing.enter_context(socket.socket(fileno=number)))
            closing.pop_all()
        return cls(sockets)

    def listen(self, host: str, port: int) -> socket.socket:
        """A listening socket that does not block: the one that was handed over for this address, or a new one.

        Raises:
            OSError: the address cannot be bound.
        """
        if (inherited := self._sockets.get(_place(host, port))) is None:
            return listen(host, port)
        # A copy: the listener closes it, and may come back with a later configuration.
        copy = inherited.dup()
        copy.setblocking(False)
        return copy

    def without_listener(self, listening: Iterable[Place]) -> Sequence[str]:
        """Addresses of those that nobody would accept connections on: whoever calls there would wait for ever."""
        wanted = {_place(*place) for place in listening}
        idle = (place for place in self._sockets if place not in wanted)
        return [f"{host} port {port}" if port else host for host, port in idle]


def _bound(listening: socket.socket) -> Place:
    """Its address; of what is no TCP socket the name, and no port."""
    if listening.family not in {socket.AF_INET, socket.AF_INET6} or listening.type != socket.SOCK_STREAM:
        return str(listening.getsockname()), 0
    return _place(*listening.getsockname()[:2])


def _place(host: str, port: int) -> Place:
    """An address has several spellings; a name is what it is."""
    try:
        return str(ip_address(host)), port
    except ValueError:
        return host, port
