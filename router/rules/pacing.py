"""How much may be sent to a destination now, or what it waits for and until when: every limit is one row."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from router.model.delivery import Priority, Standing
from router.model.destination import Destination
from router.rules.windows import opens_at

CLAIMED_AT_ONCE = 32
"""Deliveries per claim: enough to build one proposal for, few enough for a crash to leave little uncertain."""

BEHIND = timedelta(minutes=10)
"""A destination whose oldest delivery has waited longer has a backlog, beside which fresh ones get their share."""

_TURNS = (
    Priority.URGENT,
    Priority.NORMAL,
    Priority.URGENT,
    Priority.BULK,
    Priority.URGENT,
    Priority.NORMAL,
    Priority.URGENT,
)
"""Whose turn it is, claim by claim: four to two to one, and none starves another."""


class Reason(StrEnum):
    """What a destination waits for: a closed list, because operators are shown it."""

    PAUSED = "paused by an operator"
    HELD = "held until an administrator changes something"
    IN_TROUBLE = "in trouble"
    OUTSIDE_WINDOW = "outside its sending window"
    BANDWIDTH = "its bandwidth is used up"
    FEWER_ASSOCIATIONS = "the peer takes fewer associations"


@dataclass(frozen=True, slots=True)
class Go:
    """So many deliveries may be claimed now."""

    deliveries: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may be sent now."""

    reason: Reason
    until: datetime | None = None
    """None: until something else happens."""


Pace = Go | Wait

UNTIL_TRIED = frozenset({Reason.HELD, Reason.IN_TROUBLE})
"""Over when the destination was tried with success, which takes a while from the instant on that is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is known of a destination at the moment of the decision."""

    now: datetime
    local: datetime
    """The same on the wall's clock, without a time zone."""
    standing: Standing
    paused: bool
    paid_until: datetime
    """When what was sent so far fits the bandwidth."""
    allowed: int
    """Associations that the peer takes at once, as far as it showed."""
    others: int = 0
    """Open associations that go before the one that this is for."""


Row = Callable[[Destination, Use], Pace]


def pace(destination: Destination, use: Use) -> Pace:
    """The first row that waits; otherwise the smallest number of all rows."""
    return _first_that_waits(ROWS, destination, use)


def pace_of_trial(destination: Destination, use: Use) -> Pace:
    """The same for a destination in trouble whose time to be tried has come."""
    return _first_that_waits(ROWS_OF_TRIAL, destination, use)


def _first_that_waits(rows: Iterable[Row], destination: Destination, use: Use) -> Pace:
    paces = [row(destination, use) for row in rows]
    waits = [each for each in paces if isinstance(each, Wait)]
    return waits[0] if waits else Go(min(each.deliveries for each in paces if isinstance(each, Go)))


def _pause(_: Destination, use: Use) -> Pace:
    return Wait(Reason.PAUSED) if use.paused else Go(CLAIMED_AT_ONCE)


def _trouble(_: Destination, use: Use) -> Pace:
    if not use.standing.failures:
        return Go(CLAIMED_AT_ONCE)
    return Wait(Reason.HELD if use.standing.held else Reason.IN_TROUBLE, use.standing.retry_at)


def _window(destination: Destination, use: Use) -> Pace:
    opening = opens_at(destination.only, use.local)
    # Local time without a zone is taken for the machine's own, with the offset of that day.
    return Go(CLAIMED_AT_ONCE) if opening is None else Wait(Reason.OUTSIDE_WINDOW, opening.astimezone(UTC))


def _bandwidth(destination: Destination, use: Use) -> Pace:
    if destination.max_bytes_per_second is None:
        return Go(CLAIMED_AT_ONCE)
    return Wait(Reason.BANDWIDTH, use.paid_until) if use.paid_until > use.now else Go(1)


def _associations(_: Destination, use: Use) -> Pace:
    return Wait(Reason.FEWER_ASSOCIATIONS) if use.others >= use.allowed else Go(CLAIMED_AT_ONCE)


ROWS: tuple[Row, ...] = (
    _pause,
    _trouble,
    _window,
    _bandwidth,
    _associations,
)
"""Every limit; what an operator wants to know first comes first."""

ROWS_OF_TRIAL: tuple[Row, ...] = (_pause, _window, _bandwidth)
"""What keeps back even the one instance that shows whether a destination works again."""


def has_room(destination: Destination, instances: int) -> bool:
    """Whether an association that carried so many instances may carry another one."""
    most = destination.max_instances_per_association
    return most is None or instances < most


def paid_until(before: datetime, size: int, bytes_per_second: int, now: datetime) -> datetime:
    """When ``size`` more bytes fit a bandwidth, of which all until ``before`` is spent."""
    return max(before, now) + timedelta(seconds=size / bytes_per_second)


def fewer(associations: int) -> int:
    """How many associations are tried at once after the peer refused one of so many, for it has a limit."""
    return max(1, associations // 2)


def turn(number: int, *, behind: bool) -> tuple[Priority, bool]:
    """Whose turn the claim of this number is, and whether it begins with the newest.

    Args:
        number: counts the claims of one destination, from 0.
        behind: there is a backlog: the oldest and what is fresh take turns, as in Postfix's active queue.
    """
    cycle, place = divmod(number, len(_TURNS))
    return _TURNS[place], behind and cycle % 2 == 1
