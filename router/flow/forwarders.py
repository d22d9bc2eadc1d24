"""One forwarder for each destination that is configured, and a new one when a configuration changes it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import anyio
import anyio.abc

from router.flow.forwarder import Forwarder
from router.model.destination import Destination


class Forwarders(Mapping[str, Forwarder]):
    """By the destination's name."""

    def __init__(self, make: Callable[[Destination], Forwarder]) -> None:
        """None runs yet.

        Args:
            make: builds the forwarder of a destination.
        """
        self._make = make
        self._running: dict[str, Forwarder] = {}
        self._ended: dict[str, anyio.Event] = {}

    def __getitem__(self, name: str) -> Forwarder:
        return self._running[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def configure(self, destinations: Sequence[Destination], moving: anyio.abc.TaskGroup) -> None:
        """Those that exist from now on; only what changed is touched.

        Args:
            destinations: as configured.
            moving: where new forwarders run.
        """
        wanted = {destination.name: destination for destination in destinations}
        for name, forwarder in list(self._running.items()):
            if wanted.get(name) != forwarder.destination:
                forwarder.stop()
                del self._running[name]
        for name, destination in wanted.items():
            if name not in self._running:
                forwarder = self._running[name] = self._make(destination)
                predecessor = self._ended.get(name) or self._ended.get(destination.renamed_from or "")
                self._ended[name] = anyio.Event()
                moving.start_soon(self._run_after, predecessor, forwarder, self._ended[name])

    def stop(self) -> None:
        """Each finishes the instances that are being sent, gives the others back, and ends."""
        for forwarder in self._running.values():
            forwarder.stop()

    def troubled_since(self, name: str) -> datetime | None:
        """When a destination stopped working; None: it works, as far as is known."""
        forwarder = self._running.get(name)
        return None if forwarder is None else forwarder.troubled_since

    def in_trouble(self) -> frozenset[str]:
        """The destinations that do not work now."""
        return frozenset(name for name, forwarder in self._running.items() if not forwarder.works)

    def avoided(self) -> frozenset[str]:
        """Those that instances go past, where others are named beside them."""
        return frozenset(name for name, forwarder in self._running.items() if not forwarder.takes_more)

    def ended(self) -> frozenset[str]:
        """The destinations that nobody forwards to any more, although they are configured and nobody said `stop`."""
        return frozenset(
            name
            for name, forwarder in self._running.items()
            if self._ended[name].is_set() and not forwarder.told_to_stop
        )

    def hanging(self) -> frozenset[str]:
        """The destinations that something is being sent to, and has been for so long that it will never end."""
        return frozenset(name for name, forwarder in self._running.items() if forwarder.hangs)

    async def _run_after(self, predecessor: anyio.Event | None, forwarder: Forwarder, ended: anyio.Event) -> None:
        """Forward once the forwarder before it has ended: two would exceed the destination's limits."""
        try:
            if predecessor is not None:
                await predecessor.wait()
                await forwarder.forget_trouble()
            await forwarder.run()
        finally:
            ended.set()
