"""When a destination may be sent to: ``Mon-Fri 19:00-06:00``."""

import re
from collections.abc import Iterator
from datetime import time

from router.model.destination import Window
from router.settings.problems import did_you_mean

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAILY = "daily"
PATTERN = r"^(daily|[A-Z][a-z]{2}([-,][A-Z][a-z]{2})*) +[0-9]{1,2}:[0-9]{2}-[0-9]{1,2}:[0-9]{2}$"

_FORM = "a window is days and times: `Mon-Fri 19:00-06:00`, `Sat,Sun 00:00-24:00`, `daily 12:00-13:30`"
_WINDOW = re.compile(r"(\S+) +([0-9]{1,2}:[0-9]{2}) *- *([0-9]{1,2}:[0-9]{2})", re.ASCII)
_MIDNIGHT = "24:00"
_HOURS = 24
_MINUTES = 60


def window(text: object) -> Window:
    """Days, or ``daily``, and two times of the day in local time; a day is the one on which the window begins.

    An end that is not after the begin is on the next day: ``19:00-06:00`` is a night, ``00:00-00:00`` a whole day.

    Raises:
        ValueError: the sentence says what a window looks like, or which part of this one means nothing.
    """
    written = _WINDOW.fullmatch(text.strip()) if isinstance(text, str) else None
    if written is None:
        raise ValueError(_FORM)
    days, begin, end = written.groups()
    if begin == _MIDNIGHT:
        raise ValueError(f"{_MIDNIGHT} is only an end; a window that begins at midnight begins at 00:00")
    return Window(frozenset(_days(days)), _time(begin), time() if end == _MIDNIGHT else _time(end))


def _days(text: str) -> Iterator[int]:
    if text.casefold() == DAILY:
        yield from range(len(DAYS))
        return
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        # Over the end of the week: Sat-Mon are three days.
        count = (_day(last) - begin) % len(DAYS) if dash else 0
        yield from ((begin + each) % len(DAYS) for each in range(count + 1))


def _day(text: str) -> int:
    for number, day in enumerate(DAYS):
        if text.casefold() == day.casefold():
            return number
    meant = did_you_mean(text, (*DAYS, DAILY))
    raise ValueError(f"{text!r} is not one of {', '.join(DAYS)} or {DAILY}{f'; {meant}' if meant else ''}")


def _time(text: str) -> time:
    hour, minute = map(int, text.split(":"))
    if hour >= _HOURS or minute >= _MINUTES:
        raise ValueError(f"{text!r} is not a time of the day")
    return time(hour, minute)
