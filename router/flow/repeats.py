"""How often the same object came from the same sender lately: what gives a loop away."""

from collections import Counter
from datetime import datetime, timedelta

MOST = 100_000
"""Different objects remembered per period; a loop turns over far fewer."""


class Repeats:
    """A count over the last one to two periods, in bounded memory.

    The count is never too low for a loop that turns within a period, and forgets after two.
    """

    def __init__(self, period: timedelta = timedelta(hours=1)) -> None:
        self._period = period
        self._since: datetime | None = None
        self._now: Counter[int] = Counter()
        self._before: Counter[int] = Counter()

    def count(self, sop_instance: str, digest: str, calling_ae_title: str, now: datetime) -> int:
        """How often this was counted before; and count it."""
        if self._since is None or now - self._since >= self._period or len(self._now) >= MOST:
            self._before, self._now, self._since = self._now, Counter(), now
        key = hash((sop_instance, digest, calling_ae_title))
        before = self._now[key] + self._before[key]
        self._now[key] += 1
        return before
