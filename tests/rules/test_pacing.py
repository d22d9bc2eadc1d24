"""How much may be sent to a destination now, and what it waits for."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from router.model.delivery import Priority, Standing
from router.model.destination import Destination, Window
from router.rules import pacing
from router.rules.pacing import (
    CLAIMED_AT_ONCE,
    Go,
    Reason,
    Use,
    Wait,
    fewer,
    has_room,
    pace,
    pace_of_trial,
    paid_until,
    turn,
)

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WALL = datetime(2026, 1, 5, 12)  # noqa: DTZ001 -- the clock on the wall
LATER = NOW + timedelta(minutes=5)
PACS = Destination("PACS", "PACS", "127.0.0.1", 104)
IDLE = Use(now=NOW, local=WALL, standing=Standing(), paused=False, paid_until=NOW, allowed=2)
NIGHT = Window(frozenset(range(7)), time(19), time(6))


def test_nothing_holds_it_back() -> None:
    """A destination that works may have a claim."""
    assert pace(PACS, IDLE) == Go(CLAIMED_AT_ONCE)


@pytest.mark.parametrize(
    ("destination", "use", "expected"),
    [
        (PACS, replace(IDLE, paused=True), Wait(Reason.PAUSED)),
        (PACS, replace(IDLE, standing=Standing(1, LATER)), Wait(Reason.IN_TROUBLE, LATER)),
        (PACS, replace(IDLE, standing=Standing(1, LATER, held=True)), Wait(Reason.HELD, LATER)),
        (
            replace(PACS, only=(NIGHT,)),
            IDLE,
            Wait(Reason.OUTSIDE_WINDOW, datetime(2026, 1, 5, 19).astimezone(UTC)),
        ),
        (replace(PACS, only=(NIGHT,)), replace(IDLE, local=WALL.replace(hour=20)), Go(CLAIMED_AT_ONCE)),
        (replace(PACS, max_bytes_per_second=1), replace(IDLE, paid_until=LATER), Wait(Reason.BANDWIDTH, LATER)),
        (replace(PACS, max_bytes_per_second=1), IDLE, Go(1)),
        (PACS, replace(IDLE, others=2), Wait(Reason.FEWER_ASSOCIATIONS)),
        (PACS, replace(IDLE, others=1), Go(CLAIMED_AT_ONCE)),
    ],
)
def test_each_limit_by_itself(destination: Destination, use: Use, expected: pacing.Pace) -> None:
    """Every row says what is waited for and until when, or how much may be claimed."""
    assert pace(destination, use) == expected


def test_what_an_operator_did_is_named_first() -> None:
    """Of several reasons the first of the table is shown."""
    use = replace(IDLE, paused=True, standing=Standing(3, LATER), others=7)
    assert pace(replace(PACS, only=(NIGHT,)), use) == Wait(Reason.PAUSED)


def test_association_is_full() -> None:
    """After as many instances as the destination wants on one association it carries no more."""
    assert has_room(PACS, 10**6)
    assert has_room(replace(PACS, max_instances_per_association=5), 4)
    assert not has_room(replace(PACS, max_instances_per_association=5), 5)


def test_bandwidth_is_spent_once() -> None:
    """What was not used before now is lost; what was used in advance counts."""
    assert paid_until(NOW - timedelta(days=1), 300, 100, NOW) == NOW + timedelta(seconds=3)
    assert paid_until(NOW + timedelta(seconds=3), 50, 100, NOW) == NOW + timedelta(seconds=3.5)


@pytest.mark.parametrize(("associations", "expected"), [(8, 4), (3, 1), (1, 1)])
def test_half_as_many_associations_but_one(associations: int, expected: int) -> None:
    """A peer that has a limit is asked for half as many at once."""
    assert fewer(associations) == expected


def test_turns_starve_nobody() -> None:
    """Urgent, normal and bulk have four, two and one of seven claims, whatever waits."""
    turns = [turn(number, behind=False) for number in range(70)]
    assert Counter(first for first, _ in turns) == {Priority.URGENT: 40, Priority.NORMAL: 20, Priority.BULK: 10}
    assert not any(newest for _, newest in turns)


def test_with_a_backlog_fresh_ones_have_every_second_cycle() -> None:
    """Each priority begins with the oldest and with the newest in turn."""
    assert {(priority, newest) for priority, newest in (turn(number, behind=True) for number in range(14))} == {
        (priority, newest) for priority in Priority for newest in (False, True)
    }


@pytest.mark.parametrize(
    ("destination", "use", "expected"),
    [
        (PACS, replace(IDLE, standing=Standing(1, NOW)), Go(CLAIMED_AT_ONCE)),
        (PACS, replace(IDLE, standing=Standing(1, NOW), paused=True), Wait(Reason.PAUSED)),
        (PACS, replace(IDLE, standing=Standing(1, NOW), others=2), Go(CLAIMED_AT_ONCE)),
        (
            replace(PACS, only=(NIGHT,)),
            replace(IDLE, standing=Standing(1, NOW)),
            Wait(Reason.OUTSIDE_WINDOW, datetime(2026, 1, 5, 19).astimezone(UTC)),
        ),
        (replace(PACS, max_bytes_per_second=1), replace(IDLE, paid_until=LATER), Wait(Reason.BANDWIDTH, LATER)),
    ],
)
def test_what_keeps_back_a_trial(destination: Destination, use: Use, expected: pacing.Pace) -> None:
    """A destination in trouble is tried all the same, but not against an operator, its window or its bandwidth."""
    assert pace_of_trial(destination, use) == expected
