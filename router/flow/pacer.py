"""What the limits of one destination need to know, kept up to date; the limits themselves are in ``rules.pacing``."""

from collections.abc import Callable
from datetime import UTC, datetime

import anyio

from router.flow.breaker import Breaker
from router.model.delivery import Claim, Wanted
from router.model.destination import AssociationPer, Destination
from router.rules import pacing
from router.rules.pacing import Pace, Use, Wait

LONGEST_SLEEP = 60.0
"""Seconds after which the clock is looked at again: it may have been set."""


class Pacer:
    """One destination's."""

    def __init__(self, destination: Destination, breaker: Breaker, *, clock: Callable[[], datetime]) -> None:
        self._destination = destination
        self._breaker = breaker
        self._clock = clock
        self._paused = False
        self._paid_until = datetime.min.replace(tzinfo=UTC)
        self._allowed = destination.max_associations
        self._associated = 0
        self._turn = 0
        self._behind = False

    def pace(self, others: int = 0) -> Pace:
        """Whether an association may send now, beside so many others that go before it."""
        now = self._clock()
        use = Use(
            now=now,
            local=now.astimezone().replace(tzinfo=None),
            standing=self._breaker.standing,
            paused=self._paused,
            paid_until=self._paid_until,
            allowed=self._allowed,
            others=others,
        )
        return pacing.pace(self._destination, use)

    @property
    def allowed(self) -> int:
        """Associations at once that the peer takes, as far as it showed."""
        return self._allowed

    def pause(self, *, paused: bool) -> None:
        """An operator pauses the destination, or resumes it."""
        self._paused = paused
        self._breaker.changed.note()

    def wanted(self, deliveries: int, only: str | None) -> Wanted:
        """What the next claim takes, up to so many; ``only`` of the study or series of an open association."""
        first, newest = pacing.turn(self._turn, behind=self._behind)
        self._turn += 1
        per = self._destination.association_per
        return Wanted(deliveries, first, newest, per, only=None if per is AssociationPer.ANY else only)

    def claimed(self, claim: Claim) -> None:
        """What a claim gave tells whether there is a backlog."""
        received = [delivery.envelope.received_at for delivery in claim.deliveries]
        self._behind = bool(received) and min(received) < self._clock() - pacing.BEHIND

    def sent(self, size: int) -> None:
        """So many bytes count against the bandwidth."""
        if self._destination.max_bytes_per_second is not None:
            self._paid_until = pacing.paid_until(
                self._paid_until, size, self._destination.max_bytes_per_second, self._clock()
            )

    def refused(self) -> None:
        """The peer took no association beside others of ours: it has a limit."""
        self._allowed = pacing.fewer(self._allowed)

    def stored(self) -> None:
        """A claim was forwarded: one association more may be tried."""
        if self._allowed < self._destination.max_associations:
            self._allowed += 1
            self._breaker.changed.note()

    async def wait(self, wait: Wait) -> None:
        """Until what is waited for may be over."""
        left = 0.0 if wait.until is None else (wait.until - self._clock()).total_seconds()
        # A destination in trouble whose time has come is being tried: that will be noted.
        with anyio.move_on_after(min(left, LONGEST_SLEEP) if left > 0 else LONGEST_SLEEP):
            await self._breaker.changed.wait()
