"""How much is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the whole benchmark."""

    rounds: int
    few: int
    """Rounds of the largest objects."""
    objects: Mapping[str, int]
    """Of each kind: how many are sent in a turn; whatever is slower gets fewer."""
    associations: Sequence[int]
    large: bool
    """Whether there is an object of 2 GiB."""
    idle: int
    """Associations."""
    backlog: Sequence[int]
    """Deliveries at which the queue is asked."""
    history: int
    destinations: Sequence[int]
    """Idle ones."""
    uptime: Sequence[int]
    """Objects handled before the cost of one is looked at."""
    latencies: int
    """Single objects."""

    def rounds_of(self, kind: str) -> int:
        """Of a kind of object."""
        return self.few if kind == "tomosynthesis" else self.rounds


FULL = Scale(
    rounds=5,
    few=2,
    objects={"MR": 600, "CT": 160, "mammography": 24, "tomosynthesis": 3},
    associations=(1, 4, 16),
    large=True,
    idle=1000,
    backlog=(1000, 10_000, 100_000, 1_000_000),
    history=1_000_000,
    destinations=(0, 30, 300),
    uptime=(1000, 5000, 10_000, 20_000),
    latencies=30,
)
QUICK = Scale(
    rounds=1,
    few=1,
    objects={"MR": 400, "CT": 120, "mammography": 16},
    associations=(1, 4, 16),
    large=False,
    idle=300,
    backlog=(1000, 10_000, 20_000),
    history=100_000,
    destinations=(0, 30),
    uptime=(500, 1000, 2000),
    latencies=5,
)
TINY = Scale(
    rounds=1,
    few=1,
    objects={"MR": 4},
    associations=(1, 2),
    large=False,
    idle=3,
    backlog=(10, 20),
    history=3000,
    destinations=(0, 2),
    uptime=(4, 8),
    latencies=2,
)
