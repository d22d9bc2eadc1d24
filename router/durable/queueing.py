"""What every operation has in common that makes deliveries due: whoever waits for them is told, strangers are held."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from router.durable.changes import Changes
from router.durable.database import Database
from router.durable.values import Value, statements
from router.model.outcome import Cause

Values = Mapping[str, Value]

_SQL = statements("queue.sql")
_NOT_CONFIGURED = {
    "cause": Cause.NOT_CONFIGURED,
    "error": "the destination is not configured: it is sent when the name returns, or is named in renamed_from",
}


async def queue_by(
    statement: str,
    values: Iterable[Values] | Callable[[sqlite3.Connection], Iterable[Values]],
    *,
    database: Database,
    changes: Changes,
) -> Counter[str]:
    """Run a statement that queues deliveries, once per row of ``values``. Returns how many, per destination."""

    def queue(connection: sqlite3.Connection) -> Counter[str]:
        queued = returned(connection, statement, values(connection) if callable(values) else values)
        # Some instance may have been settled (S6) until now.
        connection.executemany(_SQL["reopen"], [{"instance": row["instance"]} for row in queued])
        hold_strangers(connection)
        return Counter(row["destination"] for row in queued)

    queued = await database.submit(queue)
    changes.note(queued)
    return queued


def hold_strangers(connection: sqlite3.Connection) -> None:
    """What was queued for a destination that is not configured is held until its name returns."""
    # There is seldom one, and an update that changes nothing costs more than asking.
    if connection.execute(_SQL["knows_strangers"]).fetchone():
        connection.execute(_SQL["hold_strangers"], _NOT_CONFIGURED)


def returned(connection: sqlite3.Connection, statement: str, values: Iterable[Values]) -> Sequence[sqlite3.Row]:
    """All rows that a statement returns, executed once per row of ``values``."""
    return [row for each in values for row in connection.execute(_SQL[statement], each).fetchall()]
