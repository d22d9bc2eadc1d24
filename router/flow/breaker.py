"""Whether a destination works, and until when it is left alone if not. Stored, so a restart changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from router.durable.queue import Standings
from router.flow.change import Change
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
        standings: Standings,
        *,
        journal: Journal,
        clock: Callable[[], datetime],
        chance: retry.Chance,
    ) -> None:
        self._destination = destination
        self._standings = standings
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self.standing = Standing()
        self.changed = Change()
        """Noted whenever it opens or closes, and by others whose word counts for whether something may be sent."""

    async def load(self) -> None:
        """Go on where the last run stopped."""
        self.standing = await insist(partial(self._standings.standing, self._destination.name), self._journal)
        self.changed.note()

    async def forget(self) -> None:
        """Before ``load``: as if it worked, so that it is tried at once, even if it was held."""
        await self._store(self._clock())

    @property
    def closed(self) -> bool:
        """Whether the destination works, as far as is known."""
        return self.standing.failures == 0

    async def wait_opened(self) -> None:
        """Until the destination does not work."""
        while self.closed:
            await self.changed.wait()

    async def retry_now(self) -> None:
        """Somebody believes that it works again: it is tried at once."""
        if not self.closed:
            now = self._clock()
            self.standing = replace(self.standing, retry_at=now)
            self.changed.note()
            await self._store(now)

    async def trip(self, outcome: Deferred, *, probing: bool = False) -> None:
        """The destination failed. Associations that notice while it is known already change nothing, a probe does."""
        if not self.closed and not probing:
            return
        now = self._clock()
        self.standing = retry.trouble(self.standing, outcome, self._destination.back_off, now=now, chance=self._chance)
        self.changed.note()
        self._journal.publish(
            DestinationTrouble(
                destination=self._destination.name,
                attempt=self.standing.failures,
                cause=outcome.cause,
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
        self.changed.note()
        self._journal.publish(
            DestinationRecovered(
                destination=self._destination.name, duration_ms=round((now - since).total_seconds() * 1000)
            )
        )
        await self._store(now)

    async def _store(self, now: datetime) -> None:
        await insist(lambda: self._standings.stand(self._destination.name, self.standing, now), self._journal)
