"""ULIDs: names that we make ourselves, that sort by time and never come from a peer.

48 bits of milliseconds and 80 bits of chance, in Crockford's base 32 (the ULID specification, github.com/ulid/spec).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from secrets import randbits

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def ulid(now: datetime, chance: Callable[[int], int] = randbits) -> str:
    """A name of 26 characters for the instant ``now``."""
    value = ((now - _EPOCH) // _MILLISECOND << 80) | chance(80)
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def is_ulid(name: str) -> bool:
    """Whether ``name`` is one of ours."""
    return len(name) == LENGTH and all(character in ALPHABET for character in name)
