"""What the router says that it does, noted from its journal: who has what, and when nothing is owed any more."""

from collections import Counter
from collections.abc import Callable

import anyio

from router.journal import (
    DestinationTrouble,
    Draining,
    Event,
    Fallback,
    InstanceAccepted,
    InstanceRefused,
    StoreSucceeded,
    StrategiesFailed,
)

Pair = tuple[str, str]
"""Destination and SOP Instance UID."""


class Ledger:
    """A subscriber of the router's journal."""

    def __init__(self, interrupted: Callable[[], None]) -> None:
        """A ledger.

        Args:
            interrupted: is called when the router begins to end.
        """
        self.accepted: set[str] = set()
        self.refused: dict[str, InstanceRefused] = {}
        self.delivered: dict[Pair, StoreSucceeded] = {}
        self.troubles: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        """How often, for each destination and the strategy that was fallen back to."""
        self.stopping = False
        """The router has begun to end."""
        self.ended = anyio.Event()
        """Set when the router begins to end."""
        self._interrupted = interrupted
        self._owed: set[Pair] = set()
        self._answered: set[Pair] = set()
        self._changed = anyio.Event()

    def __call__(self, event: Event) -> None:
        """Note what happened."""
        match event:
            case InstanceAccepted():
                self.accepted.add(event.instance)
                self._owed.update((destination, event.instance) for destination in event.destination)
            case InstanceRefused():
                self.refused[event.instance] = event
            case StoreSucceeded():
                self.delivered[event.destination, event.instance] = event
                self._settle((event.destination, event.instance))
            case StrategiesFailed():
                self._settle((event.destination, event.instance))
            case Fallback():
                self.fallbacks[event.destination, event.strategy] += 1
            case DestinationTrouble():
                self.troubles[event.destination] += 1
            case Draining():
                self.stopping = True
                self.ended.set()
                self._interrupted()
            case _:
                pass

    def _settle(self, pair: Pair) -> None:
        self._answered.add(pair)
        self._changed.set()
        self._changed = anyio.Event()

    async def nothing_owed(self) -> None:
        """Wait until each destination has, or has definitely refused, all that the router has accepted for it."""
        while self._owed - self._answered:
            await self._changed.wait()
