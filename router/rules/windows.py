"""When a destination may be sent to: windows of local time, each of the day on which it begins."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from router.model.destination import Window

_DAY = timedelta(days=1)
_WEEK_AND_THE_DAY_BEFORE = range(-1, 8)
"""Days that a window which is open now, or opens next, may have begun on."""


def opens_at(windows: Sequence[Window], now: datetime) -> datetime | None:
    """When the next window opens; None: one is open, or there are none and nothing is ever closed.

    Args:
        windows: of one destination.
        now: local time, without a time zone: what the clock on the wall shows, also on days when it is changed.
    """
    if not windows:
        return None
    spans = [span for window in windows for span in _spans(window, now)]
    if any(begin <= now < end for begin, end in spans):
        return None
    return min(begin for begin, _ in spans if begin > now)


def _spans(window: Window, now: datetime) -> Iterable[tuple[datetime, datetime]]:
    for offset in _WEEK_AND_THE_DAY_BEFORE:
        day = now.date() + offset * _DAY
        if day.weekday() in window.days:
            begin = datetime.combine(day, window.begin)
            end = datetime.combine(day, window.end)
            yield begin, end if end > begin else end + _DAY
