"""When a destination may be sent to."""

from datetime import time

import pytest

from router.model.destination import Window
from router.settings.windows import window

pytestmark = pytest.mark.unit

WORKING = frozenset(range(5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon-Fri 19:00-06:00", Window(WORKING, time(19), time(6))),
        ("mon-FRI  8:05 - 17:30", Window(WORKING, time(8, 5), time(17, 30))),
        ("Sat,Sun 00:00-24:00", Window(frozenset({5, 6}), time(), time())),
        ("Sat-Mon 00:00-00:00", Window(frozenset({5, 6, 0}), time(), time())),
        ("Sun-Sun,Wed-Thu 12:00-24:00", Window(frozenset({6, 2, 3}), time(12), time())),
        ("daily 22:00-22:00", Window(frozenset(range(7)), time(22), time(22))),
    ],
)
def test_window(text: str, expected: Window) -> None:
    """Days by name, as ranges, also over the end of the week, and lists; two times of the day."""
    assert window(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "19:00-06:00",
        "Mon 19-06",
        "Mon 19:00",
        "Mon, Tue 19:00-06:00",
        "Mon- 19:00-06:00",
        "Mon 19:60-20:00",
    ],
)
def test_what_is_no_window(text: str) -> None:
    """No days, no times, or none that a clock shows."""
    with pytest.raises(ValueError, match=r"a window is days and times|is not one of Mon|not a time of the day"):
        window(text)
