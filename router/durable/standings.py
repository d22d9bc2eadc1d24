"""How destinations stand, beside the queue and committed by the same writer."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from router.durable.changes import Changes
from router.durable.database import Database
from router.durable.desk import standing
from router.durable.queueing import hold_strangers
from router.durable.values import Value, micros, micros_or_none, statements
from router.model.delivery import Standing
from router.model.outcome import Cause

_SQL = statements("queue.sql")


class SqliteStandings:
    """The table ``destination``, and what follows for deliveries from who is in it."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def configured(self, destinations: Mapping[str, str | None], now: datetime) -> None:
        """The destinations that exist now, each with the name it was renamed from, if any.

        Deliveries to others become held: destination not configured. Those held so whose name returned are queued.
        A name that is still in use is not carried over to another.
        """

        def configure(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["stop_clocks"], {"now": micros(now)})
            connection.execute(_SQL["forget_configuration"])
            for name, old in destinations.items():
                if old is not None and old not in destinations:
                    _carry_over(connection, old, name)
                connection.execute(_SQL["configure"], {"destination": name})
            connection.execute(_SQL["know_strangers"])
            connection.execute(_SQL["start_clocks"], {"now": micros(now)})
            hold_strangers(connection)
            connection.execute(_SQL["queue_returned"], {"cause": Cause.NOT_CONFIGURED})

        await self._database.submit(configure)
        self._changes.note(destinations)

    async def standing(self, destination: str) -> Standing:
        """How a destination stands, as last stored."""

        def ask(connection: sqlite3.Connection) -> Standing:
            row = connection.execute(_SQL["standing"], {"destination": destination}).fetchone()
            return Standing() if row is None else standing(row)

        return await self._database.submit(ask)

    async def stand(self, destination: str, standing: Standing, now: datetime) -> None:
        """Store how a destination stands; its working clock runs exactly while ``failures`` is 0 and it is not held."""
        values = {
            "destination": destination,
            "now": micros(now),
            "failures": standing.failures,
            "retry_at": micros_or_none(standing.retry_at),
            "held": standing.held,
            "cause": standing.cause,
            "error": standing.error,
            "since": micros_or_none(standing.since),
        }

        def stand(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["tick"], {"destination": destination, "now": micros(now)})
            connection.execute(_SQL["stand"], values)

        await self._database.submit(stand)

    async def paused(self, destination: str) -> bool:
        """Whether an operator paused it."""

        def ask(connection: sqlite3.Connection) -> bool:
            row = connection.execute(_SQL["standing"], {"destination": destination}).fetchone()
            return row is not None and bool(row["paused"])

        return await self._database.submit(ask)


def _carry_over(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Give what one destination is owed, and how it stands, to another; the working clocks stand still."""
    names: dict[str, Value] = {"old": old, "new": new}
    clocks = dict(connection.execute(_SQL["stopped_clocks"], names).fetchall())
    shift = 0
    if new in clocks:
        shift = clocks[new] - clocks.get(old, 0)
        connection.execute(_SQL["carry_pause_over"], names)
        connection.execute(_SQL["remove_destination"], names)
    else:
        connection.execute(_SQL["rename_destination"], names)
    connection.execute(_SQL["carry_over"], {**names, "shift": shift})
    connection.execute(_SQL["carry_quiet_over"], names)
    connection.execute(_SQL["remove_quiet"], names)
    # What is accepted at this moment may have been routed to the old name: it is held, not left to nobody.
    connection.execute(_SQL["leave_name"], names)
