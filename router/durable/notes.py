"""From the queue to the history: what a batch changed, as triggers noted it in the writer's connection.

What keeps an instance from being sent is promised in the history before the queue commits it; the rest is noted after
that. If the commit then fails, the history has promised too much: the next happening corrects it, and until then only
a queue that is lost just now would take its word.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime

from router.durable.history import Happened, Happening, History
from router.durable.values import statements
from router.model.outcome import Cause

_SQL = statements("notes.sql")

AT_ONCE = 1000
"""Happenings that are in memory together: a destination that is no longer configured may hold a million deliveries."""


class Notes:
    """The witness of the queue's writer."""

    def __init__(self, history: History, clock: Callable[[], datetime]) -> None:
        self._history = history
        self._clock = clock
        self._happened: list[Happening] = []
        """What is noted once it is committed."""

    def begin(self, connection: sqlite3.Connection) -> None:
        """Have this connection note what it changes."""
        connection.executescript(_SQL["begin"])

    def committing(self, connection: sqlite3.Connection) -> None:
        """Promise what has to be promised: in order, so everything with it; and so what is too much to wait."""
        now = self._clock()
        happened = connection.execute(_SQL["happened"])
        self._happened = []
        while rows := happened.fetchmany(AT_ONCE):
            self._happened += [_happening(row, now) for row in rows]
            if len(rows) == AT_ONCE or any(each.keeps_back for each in self._happened):
                self._history.promise(self._happened)
                self._happened = []
        connection.execute(_SQL["told"])

    def committed(self) -> None:
        """Note the rest."""
        if self._happened:
            self._history.note(self._happened)
            self._happened = []


def _happening(row: sqlite3.Row, now: datetime) -> Happening:
    return Happening(
        at=now,
        what=Happened(row["what"]),
        ulid=row["ulid"],
        delivery=row["id"],
        destination=row["destination"],
        sop_class=row["sop_class"],
        sop_instance=row["sop_instance"],
        study=row["study"],
        accession_number=row["accession_number"],
        calling_ae_title=row["calling_ae_title"],
        size=row["size"],
        stored_transfer_syntax=row["stored_transfer_syntax"],
        transfer_syntax=row["transfer_syntax"],
        strategy=row["strategy"],
        associations=row["associations"],
        status=row["status"],
        cause=None if row["cause"] is None else Cause(row["cause"]),
        error=row["error"],
        error_comment=row["error_comment"],
    )
