"""Amounts, instants and advice as people read them."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup, escape

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_CODE = re.compile(r"`([^`]*)`")
NO_ROUTE = "no route"
"""The name of the destination of what no route took, which has none."""


def size(amount: float) -> str:
    """``1.4 GB``."""
    unit = 0
    while amount >= _STEP and unit + 1 < len(_UNITS):
        amount /= _STEP
        unit += 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 10 else f"{amount:.1f} {_UNITS[unit]}"  # noqa: PLR2004 -- two digits are enough


def count(number: int, one: str, several: str = "") -> str:
    """``1 delivery``, ``1,204 deliveries``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def span(time: timedelta) -> str:
    """In its two largest units: ``3 h 20 min``."""
    seconds = max(0, int(time.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def moment(instant: datetime, now: datetime) -> Markup:
    """``10:42 UTC`` of today, otherwise with the date; exactly on a closer look."""
    exact = f"{instant:%Y-%m-%d %H:%M:%S} UTC"
    shown = f"{instant:%H:%M} UTC" if instant.date() == now.date() else f"{instant:%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(instant.isoformat(), exact, shown)


def second(instant: datetime) -> Markup:
    """``2031-05-07 10:42:07 UTC``: in a story the order within a minute matters."""
    return Markup('<time datetime="{}">{}</time>').format(instant.isoformat(), f"{instant:%Y-%m-%d %H:%M:%S} UTC")


def advice(sentence: str) -> Markup:
    """With `code` marked as such; everything else escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 -- escaped before it is marked


def points(minutes: Sequence[int], height: int) -> str:
    """The corners of the line of an SVG, one step to the right for each minute; the highest value touches the top."""
    most = max((*minutes, 1))
    return " ".join(f"{at},{height - height * number / most:.1f}" for at, number in enumerate(minutes))
