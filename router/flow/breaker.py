"""Whether a destination works, and until when it is left alone if not. Stored, so a restart changes nothing."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import anyio

from router.durable.queue import Queue
from router.flow.patience import insist
from router.journal import DestinationRecovered, DestinationTrouble, Journal
from router.model.delivery import Standing
from router.model.destination import Destination
from router.model.outcome import Deferred
from router.rules import retry


class Breaker:
    """One destination's. Closed while it works; open until ``standing.retry_at`` otherwise."""

    def __init__(
        self,
        destination: Destination,
        queue: Queue,
        *,
        journal: Journal,
        clock: Callable[[], datetime],
        chance: retry.Chance,
    ) -> None:
        self._destination = destination
        self._queue = queue
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._closed = anyio.Event()
        self._opened = anyio.Event()
        self.standing = Standing()

    async def load(self) -> None:
        """Go on where the last run stopped."""
        self.standing = await insist(partial(self._queue.standing, self._destination.name), self._journal)
        (self._opened if self.standing.failures else self._closed).set()

    @property
    def closed(self) -> bool:
        """Whether the destination works, as far as is known."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Until the destination works."""
        await self._closed.wait()

    async def wait_opened(self) -> None:
        """Until it does not."""
        await self._opened.wait()

    async def trip(self, outcome: Deferred, *, probing: bool = False) -> None:
        """The destination failed. Associations that notice while it is known already change nothing, a probe does."""
        if not self.closed and not probing:
            return
        now = self._clock()
        self.standing = retry.trouble(self.standing, outcome, self._destination.back_off, now=now, chance=self._chance)
        if self.closed:  # otherwise associations wait for the event that is there
            self._closed = anyio.Event()
        self._opened.set()
        self._journal.publish(
            DestinationTrouble(
                destination=self._destination.name,
                attempt=self.standing.failures,
                error=outcome.error,
                next_attempt_at=self.standing.retry_at,
            )
        )
        await self._store(now)

    async def reset(self) -> None:
        """The destination answered."""
        if self.closed:
            return
        now = self._clock()
        since = self.standing.since or now
        self.standing = Standing()
        self._opened = anyio.Event()
        self._closed.set()
        self._journal.publish(
            DestinationRecovered(
                destination=self._destination.name, duration_ms=round((now - since).total_seconds() * 1000)
            )
        )
        await self._store(now)

    async def _store(self, now: datetime) -> None:
        await insist(lambda: self._queue.stand(self._destination.name, self.standing, now), self._journal)
