"""The listeners of one daemon: opened, changed and closed as a configuration says."""

from collections.abc import Mapping, Sequence

import anyio.abc

from router.daemon.clock import now
from router.daemon.starting import EX_CONFIG, EX_UNAVAILABLE, StartError
from router.dicom.buffers import Buffers
from router.dicom.incoming import Receiver
from router.dicom.inherited import Inherited
from router.dicom.scp import Scp
from router.journal import Journal
from router.rules.acceptance import Listener


class Listeners:
    """By host and port."""

    def __init__(
        self, receiver: Receiver, *, journal: Journal, buffers: Buffers, environment: Mapping[str, str]
    ) -> None:
        """None listens yet.

        Args:
            receiver: takes what arrives.
            journal: what happens is published here.
            buffers: each listener has some of its own out of the same memory.
            environment: in which a supervisor says which sockets it hands over.

        Raises:
            OSError: what was handed over is not what it should be.
        """
        self._receiver = receiver
        self._journal = journal
        self._buffers = buffers
        self._inherited = Inherited.of(environment)
        self._scps: dict[tuple[str, int], Scp] = {}

    @property
    def ports(self) -> Sequence[int]:
        """As bound."""
        return [scp.port for scp in self._scps.values()]

    async def open(self, listeners: Sequence[Listener], moving: anyio.abc.TaskGroup) -> None:
        """Open those that are not open yet.

        Args:
            listeners: as configured.
            moving: where they run.

        Raises:
            StartError: one cannot be had; then none is.
        """
        if strangers := self._inherited.without_listener((each.host, each.port) for each in listeners):
            sentence = f"No listener is configured for what systemd listens on, {', '.join(strangers)}: callers would"
            raise StartError(f"{sentence} wait for ever; `ListenStream=` and `listen:` have to agree", EX_CONFIG)
        opened: list[Scp] = []
        for listener in listeners:
            if (place := (listener.host, listener.port)) in self._scps:
                continue
            buffers = self._buffers.apart(listener.max_associations)
            listen = self._inherited.listen
            scp = Scp(listener, self._receiver, journal=self._journal, buffers=buffers, clock=now, listen=listen)
            try:
                await moving.start(scp.serve)
            except OSError as error:
                self._close(opened)
                sentence = f"Cannot listen on {listener.host} port {listener.port}: {error.strerror}"
                raise StartError(sentence, EX_UNAVAILABLE) from error
            self._scps[place] = scp
            opened.append(scp)

    def configure(self, listeners: Sequence[Listener]) -> None:
        """Those that are open follow these; what is not among them is closed."""
        wanted = {(listener.host, listener.port): listener for listener in listeners}
        self._close([scp for place, scp in self._scps.items() if place not in wanted])
        for place, scp in self._scps.items():
            scp.configure(wanted[place])

    def _close(self, scps: Sequence[Scp]) -> None:
        for scp in scps:
            scp.stop()
        self._scps = {place: scp for place, scp in self._scps.items() if scp not in scps}

    def stop(self) -> None:
        """None takes any more connections; each lets its associations finish the object that is arriving."""
        for scp in self._scps.values():
            scp.stop()
