"""Values with units: durations, sizes, parts of a whole."""

import re
from datetime import timedelta

from router.settings.configuration import Reserve

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%]+)", re.ASCII)
_BANDWIDTH = re.compile(r"([^/]+B) */ *s", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"B": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
_LONGEST = timedelta(days=3650)
_WHOLE = 100


def duration(text: str) -> timedelta:
    """``30s``, ``10m``, ``1h``, ``7d``, ``500ms``.

    Raises:
        ValueError: the sentence says what a duration looks like.
    """
    amount, unit = _split(text, "a duration is a number and a unit: 500ms, 30s, 10m, 1h, 7d")
    if unit not in _SECONDS:
        raise ValueError(f"{unit!r} is not a unit of time; use one of {', '.join(_SECONDS)}")
    # Compared before it is made: a timedelta overflows.
    seconds = amount * _SECONDS[unit]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than {_LONGEST.days} days")
    return timedelta(seconds=seconds)


def size(text: str) -> int:
    """``2GiB``, ``500MB``, ``64KiB``, ``100B``: bytes.

    Raises:
        ValueError: the sentence says what a size looks like.
    """
    amount, unit = _split(text, "a size is a number and a unit: 64KiB, 500MB, 2GiB")
    if unit not in _BYTES:
        raise ValueError(f"{unit!r} is not a unit of size; use one of {', '.join(_BYTES)}")
    return int(amount * _BYTES[unit])


def room(text: str) -> int:
    """A size that something fits in.

    Raises:
        ValueError: it is not a size, or nothing would fit.
    """
    if not (room := size(text)):
        raise ValueError(f"{text!r} leaves room for nothing")
    return room


def bandwidth(text: object) -> int:
    """``10MB/s``, ``500KB/s``, ``8MiB/s``: bytes per second.

    Raises:
        ValueError: the sentence says what a bandwidth looks like.
    """
    written = _BANDWIDTH.fullmatch(text.strip()) if isinstance(text, str) else None
    if written is None:
        raise ValueError("a bandwidth is a size per second: 500KB/s, 10MB/s, 8MiB/s; 8 Mbit/s are 1MB/s")
    amount = size(written[1])
    if not amount:
        raise ValueError(f"{text!r} would send nothing; to stop sending, pause the destination")
    return amount


def reserve(text: str) -> Reserve:
    """``5%`` or a size.

    Raises:
        ValueError: the sentence says what a reserve looks like.
    """
    amount, unit = _split(text, "a reserve is a part of the disk or a size: 5%, 20GiB")
    if unit != "%":
        return Reserve(size=size(text))
    if amount >= _WHOLE:
        raise ValueError(f"{text!r} of the disk leaves nothing for the spool")
    return Reserve(part=amount / _WHOLE)


def _split(text: object, otherwise: str) -> tuple[float, str]:
    quantity = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    if quantity is None:
        raise ValueError(otherwise)
    return float(quantity[1]), quantity[2]
