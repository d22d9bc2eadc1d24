"""Whether work gets on, without a beat that would wake anybody: it leaves a time behind, and who wants to know looks.

Every step that ends shows that the work lives. What waits for something to do, or for others, rests and need not show
it; a hang does neither. Which work a step belongs to is known by its context, so that nobody has to hand it down.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio


class Pulse:
    """Of one piece of work."""

    def __init__(self) -> None:
        self.at = anyio.current_time()
        """When it last showed that it lives."""
        self.resting = 0
        """Waits, one in the other, that may last."""

    def late(self, seconds: float) -> bool:
        """Whether it has shown nothing for so long, and does not rest."""
        return not self.resting and anyio.current_time() - self.at > seconds


_OURS: ContextVar[Pulse | None] = ContextVar("pulse", default=None)


@contextmanager
def living(pulses: list[Pulse]) -> Iterator[None]:
    """Work whose pulse is among ``pulses`` as long as it lasts."""
    pulse = Pulse()
    pulses.append(pulse)
    ours = _OURS.set(pulse)
    try:
        yield
    finally:
        _OURS.reset(ours)
        pulses.remove(pulse)


def beat() -> None:
    """A step has ended, of whatever work it was."""
    if (pulse := _OURS.get()) is not None:
        pulse.at = anyio.current_time()


@contextmanager
def resting() -> Iterator[None]:
    """A wait that may last as long as it likes."""
    pulse = _OURS.get()
    if pulse is None:
        yield
        return
    pulse.resting += 1
    try:
        yield
    finally:
        pulse.resting -= 1
        beat()
