"""What operators do to deliveries and destinations, committed by the queue's writer."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from router.durable.changes import Changes
from router.durable.database import Database
from router.durable.queueing import Values, queue_by, returned
from router.durable.values import micros, statements
from router.model.destination import Strategy
from router.model.outcome import Cause

_SQL = statements("queue.sql")
_HELD = {"cause": Cause.OPERATOR, "error": "an operator keeps it back: it is sent when an operator resumes it"}
_DROPPED = {"cause": Cause.OPERATOR, "error": "an operator dropped it"}


class SqliteInterventions:
    """Those on the queue of the same writer."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def revive(
        self, deliveries: Sequence[int], now: datetime, strategy: Strategy | None = None
    ) -> Mapping[str, int]:
        """Dead, held or waiting deliveries with a configured destination are due now, with fresh counters.

        A dead letter that gave up its claim on the payload takes it back, unless the payload is just being removed.

        Args:
            deliveries: by number.
            now: the instant.
            strategy: for these alone, in place of the destination's; None leaves what was chosen before.

        Returns:
            How many, per destination.
        """
        values: Sequence[Values] = [
            {"delivery": delivery, "now": micros(now), "strategy": strategy} for delivery in deliveries
        ]
        return await queue_by("revive", values, database=self._database, changes=self._changes)

    async def hold(self, deliveries: Sequence[int], now: datetime) -> int:  # noqa: ARG002 -- other queues stamp it
        """Waiting deliveries are kept back until an operator has them sent. Returns how many."""
        values: Sequence[Values] = [{"delivery": delivery, **_HELD} for delivery in deliveries]

        def hold(connection: sqlite3.Connection) -> int:
            return len(returned(connection, "hold", values))

        return await self._database.submit(hold)

    async def drop(self, deliveries: Sequence[int], now: datetime) -> int:
        """Waiting, held or dead deliveries are given up for good. Returns how many."""
        values: Sequence[Values] = [{"delivery": delivery, **_DROPPED} for delivery in deliveries]

        def drop(connection: sqlite3.Connection) -> int:
            dropped = returned(connection, "drop", values)
            for row in dropped:
                connection.execute(_SQL["stamp_settled"], {"instance": row["instance"], "now": micros(now)})
            return len(dropped)

        # Nobody else has what is dropped: a power cut must not bring back what an operator was told is gone.
        return await self._database.submit(drop, full=True)

    async def readdress(self, deliveries: Sequence[int], destination: str, now: datetime) -> int:
        """Waiting, held or dead deliveries are owed to another configured destination instead, due now.

        What was held because no route took it may be given one so. Returns how many.
        """
        values: Sequence[Values] = [
            {"delivery": delivery, "destination": destination, "now": micros(now)} for delivery in deliveries
        ]
        return (await queue_by("readdress", values, database=self._database, changes=self._changes)).total()

    async def resend(self, deliveries: Sequence[int], destination: str | None, now: datetime) -> Mapping[str, int]:
        """The instances of these deliveries are owed once more, by new deliveries that are due now.

        An instance that is already on its way to a destination is not owed to it a second time.

        Args:
            deliveries: by number; settled ones, while their payload is there.
            destination: to whom, if it is configured; None: to whom each was owed.
            now: the instant.

        Returns:
            How many, per destination.
        """
        values: Sequence[Values] = [
            {"delivery": delivery, "destination": destination, "now": micros(now)} for delivery in deliveries
        ]
        return await queue_by("resend", values, database=self._database, changes=self._changes)

    async def pause(self, destination: str, now: datetime, *, paused: bool) -> None:
        """Whether an operator keeps everything for a destination back; outlives restarts, stops its working clock."""
        values = {"destination": destination, "paused": paused, "now": micros(now)}

        def pause(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["tick"], values)
            connection.execute(_SQL["pause"], values)

        await self._database.submit(pause)
        self._changes.note([destination])
