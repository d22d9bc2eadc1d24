"""Operators' questions to the SQLite queue: a connection of its own that only reads, never in the writer's way."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from anyio import Lock

from router.durable.database import (
    Runner,
    in_thread,
    instant,
    instant_or_none,
    micros,
    statements,
)
from router.durable.queue import Entry, Query, QueueError, Tally
from router.model.delivery import Standing, State
from router.model.instance import Envelope, Identity
from router.model.outcome import Cause

_SQL = statements("queue.sql")


class SqliteDesk:
    """The desk of the queue in the file at ``path``, which a ``SqliteQueue`` has opened before."""

    def __init__(self, path: Path, *, runner: Runner = in_thread) -> None:
        self._path = path
        self._runner = runner
        self._turn = Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Connect.

        Raises:
            QueueError: there is no queue in the file.
        """
        try:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", timeout=5, uri=True, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only=1")
            connection.execute("PRAGMA mmap_size=0")
        except sqlite3.Error as error:
            raise QueueError(f"the queue {self._path} cannot be read: {error}") from error
        self._connection = connection

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def entries(self, query: Query, now: datetime) -> Sequence[Entry]:
        """Matching deliveries, oldest first."""
        before = None if query.older_than is None else micros(now - query.older_than)
        return await self._entries(
            delivery=None,
            destination=query.destination,
            state=query.state,
            cause=query.cause,
            calling_ae_title=query.calling_ae_title,
            received_before=before,
            limit=query.limit,
        )

    async def entry(self, delivery: int) -> Entry | None:
        """One delivery by its number."""
        found = await self._entries(
            delivery=delivery,
            destination=None,
            state=None,
            cause=None,
            calling_ae_title=None,
            received_before=None,
            limit=1,
        )
        return found[0] if found else None

    async def tallies(self) -> Sequence[Tally]:
        """Counts per destination and state."""
        return [
            Tally(row["destination"], State(row["state"]), row["deliveries"], row["size"], instant(row["oldest"]))
            for row in await self._ask("tallies")
        ]

    async def standings(self) -> Mapping[str, Standing]:
        """How each configured destination stands."""
        return {row["name"]: standing(row) for row in await self._ask("standings")}

    async def known(self, ulids: Sequence[str]) -> frozenset[str]:
        """Which of these instances have a row."""
        return frozenset(row["ulid"] for row in await self._ask("known", ulids=json.dumps(ulids)))

    async def paths(self) -> Sequence[str]:
        """The payload path of every row (for the scan at start)."""
        return [row["path"] for row in await self._ask("paths")]

    async def _entries(self, **wanted: str | int | None) -> Sequence[Entry]:
        return [_entry(row) for row in await self._ask("entries", **wanted)]

    async def _ask(self, statement: str, **values: str | int | None) -> Sequence[sqlite3.Row]:
        def ask() -> Sequence[sqlite3.Row]:
            if self._connection is None:
                raise QueueError(f"the queue {self._path} is not open")
            try:
                return self._connection.execute(_SQL[statement], values).fetchall()
            except sqlite3.Error as error:
                raise QueueError(f"the queue {self._path} cannot be read: {error}") from error

        async with self._turn:
            return await self._runner(ask)


def envelope(row: sqlite3.Row) -> Envelope:
    """The envelope in a row that has an instance's columns."""
    return Envelope(
        calling_ae_title=row["calling_ae_title"],
        called_ae_title=row["called_ae_title"],
        peer_host=row["peer_host"],
        peer_port=row["peer_port"],
        association=row["association"],
        received_at=instant(row["received_at"]),
    )


def identity(row: sqlite3.Row) -> Identity:
    """The identity in a row that has an instance's columns."""
    return Identity(row["sop_class"], row["sop_instance"], row["transfer_syntax"])


def standing(row: sqlite3.Row) -> Standing:
    """The standing in a destination's row."""
    return Standing(
        failures=row["failures"],
        retry_at=instant_or_none(row["retry_at"]),
        held=bool(row["held"]),
        cause=_cause(row["cause"]),
        error=row["error"],
        since=instant_or_none(row["since"]),
    )


def _entry(row: sqlite3.Row) -> Entry:
    state = State(row["state"])
    return Entry(
        id=row["id"],
        ulid=row["ulid"],
        destination=row["destination"],
        state=state,
        cause=_cause(row["cause"]),
        error=row["error"],
        attempts=row["attempts"],
        next_attempt_at=instant(row["due"]) if state is State.QUEUED else None,
        last_attempt_at=instant_or_none(row["last_attempt_at"]),
        status=row["status"],
        strategy=row["strategy"],
        transfer_syntax=row["sent_transfer_syntax"],
        envelope=envelope(row),
        identity=identity(row),
        study=row["study"],
        size=row["size"],
        path=row["path"],
        error_comment=row["error_comment"],
    )


def _cause(value: str | None) -> Cause | None:
    return None if value is None else Cause(value)
