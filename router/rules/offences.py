"""Who is shut out for a while: hosts that break the protocol, or ask for nothing, again and again.

Times are seconds on a clock that only goes forward, passed in.
"""

from collections import OrderedDict
from dataclasses import dataclass

FREE = 3
"""Offences that anybody may have: somebody tries a port, or has the wrong one."""

FIRST = 1.0
LONGEST = 30.0
"""Seconds: doubling from the first to the longest. Whoever is put right comes back soon."""

FORGOTTEN_AFTER = 600.0
"""Seconds without a further offence."""

MOST_HOSTS = 4096
"""That are remembered; who offended longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Record:
    count: int
    until: float
    """When it may come in again."""


class Offences:
    """The hosts that offended lately, and how long each is shut out."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def charge(self, host: str, now: float) -> None:
        """Note an offence. One by a host that is shut out already is the same: it came in before that."""
        record = self._records.get(host, _Record(0, now))
        if now < record.until:
            return
        count = 1 if now - record.until > FORGOTTEN_AFTER else record.count + 1
        # No power too large for a float, however long a host goes on.
        wait = min(FIRST * 2.0 ** min(count - FREE - 1, 16), LONGEST) if count > FREE else 0.0
        self._records[host] = _Record(count, now + wait)
        self._records.move_to_end(host)
        if len(self._records) > MOST_HOSTS:
            self._records.popitem(last=False)

    def forgive(self, host: str) -> None:
        """Forget it: the host has an association."""
        self._records.pop(host, None)

    def shut_out(self, host: str, now: float) -> bool:
        """Whether a host may not come in now."""
        return host in self._records and now < self._records[host].until
