"""What destinations were seen to accept, beside the queue and committed by the same writer."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from router.durable.database import Database
from router.durable.queue import Capability, Seen
from router.durable.values import instant, micros, statements

_SQL = statements("queue.sql")


class SqliteCapabilities:
    """The table ``capability``. A commit that is lost costs an association that learns it again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def learned(self, destination: str, since: datetime) -> Mapping[tuple[str, str], Capability]:
        """What was learned since then: what is older has expired, and is deleted."""
        wanted = {"destination": destination, "since": micros(since)}

        def learned(connection: sqlite3.Connection) -> Mapping[tuple[str, str], Capability]:
            connection.execute(_SQL["expire"], wanted)
            return {
                (row["sop_class"], row["transfer_syntax"]): capability(row)
                for row in connection.execute(_SQL["learned"], wanted)
            }

        return await self._database.submit(learned)

    async def learn(self, destination: str, news: Mapping[tuple[str, str], Seen], now: datetime) -> None:
        """Each pair was seen so now; it takes the place of what was known of it."""
        rows = [
            {
                "destination": destination,
                "sop_class": sop_class,
                "transfer_syntax": transfer_syntax,
                "accepted": seen,
                "now": micros(now),
            }
            for (sop_class, transfer_syntax), seen in news.items()
        ]
        await self._database.submit(lambda connection: connection.executemany(_SQL["learn"], rows))

    async def identify(self, destination: str, address: str) -> None:
        """Where the destination is and what it is called: when that changes, what was learned is forgotten."""
        values = {"destination": destination, "address": address}

        def identify(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL["identify"], values).fetchall():
                connection.execute(_SQL["forget"], values)

        await self._database.submit(identify)


def capability(row: sqlite3.Row) -> Capability:
    """The capability in a row of the table."""
    return Capability(Seen(row["accepted"]), instant(row["learned_at"]))
