"""Wake-ups that are not lost.

``Changes.look`` notes in its caller's context when it looked at a destination, and ``wait`` returns at once when
something was queued for it since. Without such a note it waits for what is queued after it was called. It may return
although another was quicker: look, and wait again.
"""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from itertools import count
from types import MappingProxyType

from anyio import Event

_TICKS = count(1)
_LOOKED: ContextVar[Mapping[str, int]] = ContextVar("looked", default=MappingProxyType({}))


class Changes:
    """When something was last queued for each destination, in ticks that all queues share."""

    def __init__(self) -> None:
        self._noted: dict[str, int] = {}
        self._events: dict[str, Event] = {}

    def note(self, destinations: Iterable[str]) -> None:
        """Something was queued for these."""
        for destination in set(destinations):
            self._noted[destination] = next(_TICKS)
            if (event := self._events.pop(destination, None)) is not None:
                event.set()

    def look(self, destination: str) -> None:
        """The running task is about to see what was queued by now."""
        _LOOKED.set({**_LOOKED.get(), destination: next(_TICKS)})

    async def wait(self, destination: str) -> None:
        """Until something is noted after the running task's last look."""
        looked = _LOOKED.get().get(destination) or next(_TICKS)
        while self._noted.get(destination, 0) < looked:
            await self._events.setdefault(destination, Event()).wait()
        self.look(destination)
