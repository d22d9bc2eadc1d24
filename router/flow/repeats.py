"""How often the same object came from the same sender lately: what gives a loop away."""

from collections import Counter
from datetime import datetime, timedelta

from router.model.instance import Arrival

MOST = 100_000
"""Different objects remembered per period; a loop turns over far fewer."""


class Repeats:
    """A count over the last one to two periods, in bounded memory.

    The count is never too low for a loop that turns within a period, and forgets after two.
    """

    def __init__(self, period: timedelta = timedelta(hours=1), most: int = MOST) -> None:
        self._period = period
        self._most = most
        self._since: datetime | None = None
        self._now: Counter[int] = Counter()
        self._before: Counter[int] = Counter()

    def count(self, arrival: Arrival, now: datetime) -> int:
        """How often it was noted."""
        self._forget(now)
        key = _key(arrival)
        return self._now[key] + self._before[key]

    def note(self, arrival: Arrival, now: datetime) -> None:
        """It was accepted. What is refused comes again by its sender's patience, which is no loop."""
        self._forget(now)
        self._now[_key(arrival)] += 1

    def _forget(self, now: datetime) -> None:
        if self._since is None:
            self._since = now
        over = now - self._since
        if over >= self._period or len(self._now) >= self._most:
            self._before = self._now if over < 2 * self._period else Counter()
            self._now, self._since = Counter(), now


def _key(arrival: Arrival) -> int:
    return hash((arrival.identity.sop_instance, arrival.digest, arrival.envelope.calling_ae_title))
