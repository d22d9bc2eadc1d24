"""How instants, durations, lists and statements stand in our SQLite files."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources

Value = str | int | None
"""What a statement is given."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def micros_or_none(instant: datetime | None) -> int | None:
    """``micros``, or None for None."""
    return None if instant is None else micros(instant)


NOT_YET = micros(datetime.max.replace(tzinfo=UTC))
"""When a delivery is due whose study still has to become quiet: the table ``quiet`` says until when it waits."""


def duration_or_none(duration: timedelta | None) -> int | None:
    """Microseconds, or None for None."""
    return None if duration is None else duration // _MICROSECOND


def json_list(names: Sequence[str]) -> str:
    """The names as SQLite's JSON functions read them."""
    return json.dumps(list(names))


def instant(value: int) -> datetime:
    """The inverse of ``micros``."""
    return _EPOCH + value * _MICROSECOND


def instant_or_none(value: int | None) -> datetime | None:
    """The inverse of ``micros_or_none``."""
    return None if value is None else instant(value)


def statements(name: str) -> Mapping[str, str]:
    """The statements of an SQL file beside this module, by the names that ``-- :name`` lines give them."""
    blocks = (block.partition("\n") for block in script(name).split("\n-- :")[1:])
    return {title.strip(): sql.strip() for title, _, sql in blocks}


def script(name: str) -> str:
    """The text of an SQL file beside this module."""
    return resources.files("router.durable").joinpath(name).read_text("utf-8")
