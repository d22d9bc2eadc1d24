"""Which deliveries one claim takes, and in which order they come."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

from router.durable.values import NOT_YET, Value, micros, statements
from router.model.delivery import Delivery, Priority, Wanted
from router.model.destination import AssociationPer

_SQL = statements("queue.sql")


def release_quiet_studies(connection: sqlite3.Connection, destination: str, now: datetime) -> None:
    """What waited for its study to become quiet is due, in the order in which it came: one pass per study."""
    values = {"destination": destination, "now": micros(now), "not_yet": NOT_YET}
    for (study,) in connection.execute(_SQL["quiet_by_now"], values).fetchall():
        connection.execute(_SQL["end_quiet"], {**values, "study": study})


def select(connection: sqlite3.Connection, destination: str, wanted: Wanted, now: datetime) -> Sequence[int]:
    """The numbers of what is due and wanted, by priority, then the oldest first."""
    values: Mapping[str, Value] = {"destination": destination, "now": micros(now)}
    match wanted.per:
        case AssociationPer.ANY:
            return _fill(connection, "due_last" if wanted.newest else "due_first", wanted, values)
        case AssociationPer.STUDY | AssociationPer.SERIES:
            return _select_group(connection, wanted, values)
        case _:
            assert_never(wanted.per)


def together(deliveries: Sequence[Delivery]) -> tuple[Delivery, ...]:
    """Each study where its first instance stands, its series likewise; otherwise in the order given."""
    studies: dict[str, int] = {}
    series: dict[tuple[str, str], int] = {}

    def place(delivery: Delivery) -> tuple[int, int]:
        study = delivery.study or delivery.ulid
        return (
            studies.setdefault(study, len(studies)),
            series.setdefault((study, delivery.series or delivery.ulid), len(series)),
        )

    return tuple(sorted(deliveries, key=place))


def _select_group(connection: sqlite3.Connection, wanted: Wanted, values: Mapping[str, Value]) -> Sequence[int]:
    if wanted.only is None:
        found = _first_free(connection, wanted, values)
        if found is None:
            return ()
        group: str = found[wanted.per]
        if not group:
            return (found["id"],)
    elif wanted.only:
        group = wanted.only
    else:
        return ()
    direction = -1 if wanted.newest else 1
    return _fill(connection, f"due_of_{wanted.per}", wanted, {**values, "group": group, "direction": direction})


def _first_free(connection: sqlite3.Connection, wanted: Wanted, values: Mapping[str, Value]) -> sqlite3.Row | None:
    """The first that is due and whose study or series nobody else sends; without one it is free to go by itself."""
    taken = {row[wanted.per] for row in connection.execute(_SQL["in_flight_groups"], values)} | wanted.without
    walk = _SQL["due_last" if wanted.newest else "due_first"]
    for priority in _turns(wanted):
        for row in connection.execute(walk, {**values, "priority": priority, "limit": -1}):
            if not row[wanted.per] or row[wanted.per] not in taken:
                found: sqlite3.Row = row
                return found
    return None


def _fill(connection: sqlite3.Connection, statement: str, wanted: Wanted, values: Mapping[str, Value]) -> Sequence[int]:
    selected: list[int] = []
    for priority in _turns(wanted):
        here = {**values, "priority": priority, "limit": wanted.limit - len(selected)}
        found = [row["id"] for row in connection.execute(_SQL[statement], here)]
        selected += reversed(found) if wanted.newest else found
    return selected


def _turns(wanted: Wanted) -> Sequence[Priority]:
    return sorted(Priority, key=lambda priority: (priority is not wanted.first, priority))
