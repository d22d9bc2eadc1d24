"""What runs for a destination until it is told to stop: an error of ours ends no more than what it happened to."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import anyio

from router.dicom.pulse import Pulse, living, resting
from router.journal import Defect, Journal, place_of

AFTER_A_DEFECT = 10.0
"""Seconds before work that ended with an error of ours goes on."""


class Firewall:
    """Around all that is done for one destination."""

    def __init__(self, destination: str, journal: Journal) -> None:
        self._destination = destination
        self._journal = journal
        self._stopping = anyio.Event()
        self._waiting: set[anyio.CancelScope] = set()
        self._pulses: list[Pulse] = []

    def stopping(self) -> bool:
        """Whether somebody said ``stop``."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End what waits; what is under way sees it by itself."""
        self._stopping.set()
        for waiting in self._waiting:
            waiting.cancel()

    async def keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again; after an error of ours, which is told, not at once."""
        while not self.stopping():
            try:
                with self.living():
                    await work()
            except Exception as error:  # noqa: BLE001 -- the one place where a forwarder's defects stop
                self._journal.publish(Defect(destination=self._destination, error=place_of(error)))
                with self.until_stopped():
                    await anyio.sleep(AFTER_A_DEFECT)

    def living(self) -> AbstractContextManager[None]:
        """Work that shows that it lives, for the time of a block."""
        return living(self._pulses)

    def hangs(self, patience: timedelta) -> bool:
        """Whether something has shown no sign of life for so long, though it does not wait for work."""
        return any(pulse.late(patience.total_seconds()) for pulse in self._pulses)

    @contextmanager
    def until_stopped(self) -> Iterator[None]:
        """A wait that ``stop`` ends."""
        with resting(), anyio.CancelScope() as waiting:
            if self.stopping():
                waiting.cancel()
            self._waiting.add(waiting)
            try:
                yield
            finally:
                self._waiting.discard(waiting)
