"""What waits for a destination in trouble moves on to another one, where routes name several."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

import anyio

from router.durable.queue import Queue
from router.flow.choices import Choices
from router.flow.patience import insist
from router.journal import FailedOver, Journal
from router.rules.routing import Routes

EVERY = 1.0
"""Seconds between two rounds."""

MOVED_AT_ONCE = 1000
"""Deliveries per commit: the queue's writer has others to serve."""


class Failover:
    """Looks after all destinations that routes name together with others."""

    def __init__(
        self,
        queue: Queue,
        choices: Choices,
        *,
        routes: Callable[[], Routes],
        troubled_since: Callable[[str], datetime | None],
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        """A failover.

        Args:
            queue: what waits is moved there.
            choices: forgets what it remembers when something moves.
            routes: those in force.
            troubled_since: when a destination stopped working; None: it works.
            journal: what was moved is published here.
            clock: the time of day.
        """
        self._queue = queue
        self._choices = choices
        self._routes = routes
        self._troubled_since = troubled_since
        self._journal = journal
        self._clock = clock

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            for destination, to, since in self._due():
                await self._move(destination, to, since)
            await anyio.sleep(EVERY)

    def _due(self) -> Iterable[tuple[str, str, datetime]]:
        """From which destination to which, and since when the first is in trouble: the next by preference that works.

        Whose ``failover_after`` is over the queue knows, delivery by delivery.
        """
        several = {target.first_of for route in self._routes() for target in route.to if target.failover_after}
        for first_of in several:
            working = [name for name in first_of if self._troubled_since(name) is None]
            for name in first_of:
                if working and (since := self._troubled_since(name)) is not None:
                    yield name, working[0], since

    async def _move(self, destination: str, to: str, since: datetime) -> None:
        total = 0
        while moved := await insist(
            partial(self._queue.fail_over, destination, to, since, MOVED_AT_ONCE, self._clock()), self._journal
        ):
            total += moved
        if total:
            self._choices.forget()
            self._journal.publish(FailedOver(destination=(destination, to), outcome=total))
