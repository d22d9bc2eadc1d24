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
        self._turn = 0
        self._behind = False

    def pace(self, others: int = 0) -> Pace:
        """Whether an association may send now, beside so many others that go before it."""
        return pacing.pace(self._destination, self._use(others))

    def _use(self, others: int = 0) -> Use:
        now = self._clock()
        return Use(
            now=now,
            local=now.astimezone().replace(tzinfo=None),
            standing=self._breaker.standing,
            paused=self._paused,
            paid_until=self._paid_until,
            allowed=self._allowed,
            others=others,
        )

    @property
    def allowed(self) -> int:
        """Associations at once that the peer takes, as far as it showed."""
        return self._allowed

    def pause(self, *, paused: bool) -> None:
        """An operator pauses the destination, or resumes it."""
        self._paused = paused
        self._breaker.changed.note()

    def wanted(self, deliveries: int, only: str | None, without: frozenset[str]) -> Wanted:
        """What the next claim takes, up to so many.

        Args:
            deliveries: at most.
            only: of the study or series that the association is for; None: it is for none.
            without: the studies or series that other associations are for.
        """
        first, newest = pacing.turn(self._turn, behind=self._behind)
        self._turn += 1
        per = self._destination.association_per
        return Wanted(deliveries, first, newest, per, None if per is AssociationPer.ANY else only, without)

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

    async def wait_for_trial(self) -> None:
        """Until a destination in trouble may be tried: its time has come, and nothing else keeps it back."""
        # The time of day has no event and may be set, and the destination may recover and fail again meanwhile.
        while (retry_at := self._breaker.standing.retry_at) and (now := self._clock()) < retry_at:
            with anyio.move_on_after(min((retry_at - now).total_seconds(), LONGEST_SLEEP)):
                await self._breaker.changed.wait()
        while isinstance(pace := pacing.pace_of_trial(self._destination, self._use()), Wait):
            await self.wait(pace)

    async def wait(self, wait: Wait) -> None:
        """Until what is waited for may be over."""
        left = LONGEST_SLEEP
        # A destination in trouble whose time has come is being tried: that will be noted. Other times may be over
        # since the clock was looked at.
        if wait.until is not None and wait.reason not in pacing.UNTIL_TRIED:
            left = min(left, max(0.0, (wait.until - self._clock()).total_seconds()))
        with anyio.move_on_after(left):
            await self._breaker.changed.wait()
