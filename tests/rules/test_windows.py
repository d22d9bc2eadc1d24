"""When a destination may be sent to."""

from datetime import datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.destination import Window
from router.rules.windows import opens_at

pytestmark = pytest.mark.unit

NIGHTS = Window(frozenset(range(5)), time(19), time(6))
"""Monday to Friday, 19:00 to 06:00: the last one ends on Saturday."""
LUNCH = Window(frozenset({2}), time(12), time(13))
SUNDAY = Window(frozenset({6}), time(0), time(0))


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of the week that begins on Monday, 5 January 2026 (0)."""
    return datetime(2026, 1, 5, hour, minute) + timedelta(days=day)  # noqa: DTZ001 -- the clock on the wall


@pytest.mark.parametrize(
    ("windows", "now", "expected"),
    [
        ((), at(0, 3), None),
        ((NIGHTS,), at(0, 18, 59), at(0, 19)),
        ((NIGHTS,), at(0, 19), None),
        ((NIGHTS,), at(1, 5, 59), None),
        ((NIGHTS,), at(1, 6), at(1, 19)),
        ((NIGHTS,), at(5, 3), None),
        ((NIGHTS,), at(5, 6), at(7, 19)),
        ((NIGHTS,), at(0, 3), at(0, 19)),
        ((NIGHTS, LUNCH), at(2, 7), at(2, 12)),
        ((NIGHTS, LUNCH), at(2, 12, 30), None),
        ((LUNCH,), at(2, 13), at(9, 12)),
        ((SUNDAY,), at(6, 0), None),
        ((SUNDAY,), at(6, 23, 59), None),
        ((SUNDAY,), at(7, 0), at(13, 0)),
    ],
)
def test_opens_at(windows: tuple[Window, ...], now: datetime, expected: datetime | None) -> None:
    """A window belongs to the day it begins on, even past midnight; equal ends are a whole day."""
    assert opens_at(windows, now) == expected


moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1))  # noqa: DTZ001 -- the clock on the wall
windows = st.builds(Window, st.frozensets(st.integers(0, 6), min_size=1), st.times(), st.times())


@given(st.lists(windows, min_size=1, max_size=3), moments)
def test_what_opens_is_open(several: list[Window], now: datetime) -> None:
    """At the moment that is named something is open, and it is not before now nor more than a week away."""
    opening = opens_at(several, now)
    if opening is not None:
        assert now < opening <= now + timedelta(days=7)
        assert opens_at(several, opening) is None
        assert opens_at(several, opening - timedelta(microseconds=1)) == opening
