"""Says who was refused; of a flood only how many, so that it does not flood the log."""

from collections import Counter

import anyio

from router.journal import ConnectionRefused, Journal

WINDOW = 60.0
"""Seconds after which what was not said line by line is said as a number."""

LINES_OF_A_HOST = 20
LINES = 200
"""In a window; more are counted."""

HOSTS = 1000
"""That are counted one by one, in a window."""

SUMMED_UP = 10
"""Hosts that have a line of their own with a number."""


class Refusals:
    """The connections that one listener refused."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._said: Counter[str] = Counter()
        self._lines = 0
        self._more: Counter[str] = Counter()

    def publish(self, host: str, error: str) -> None:
        """One connection was refused."""
        if self._lines < LINES and self._said[host] < LINES_OF_A_HOST:
            self._said[host] += 1
            self._lines += 1
            self._journal.publish(ConnectionRefused(peer=host, error=error))
        else:
            self._more[host if host in self._more or len(self._more) < HOSTS else ""] += 1

    async def run(self) -> None:
        """Sum up at the end of each window."""
        while True:
            await anyio.sleep(WINDOW)
            self.sum_up()

    def sum_up(self) -> None:
        """Say what was only counted, and begin anew."""
        unnamed = self._more.pop("", 0)
        for host, count in self._more.most_common(SUMMED_UP):
            error = f"{count} more connections were refused within {WINDOW:g} s"
            self._journal.publish(ConnectionRefused(peer=host, error=error))
            del self._more[host]
        if others := self._more.total() + unnamed:
            error = f"{others} more connections of other hosts were refused within {WINDOW:g} s"
            self._journal.publish(ConnectionRefused(peer="", error=error))
        self._said.clear()
        self._more.clear()
        self._lines = 0
