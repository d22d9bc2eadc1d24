"""Operators' questions to the SQLite queue: on a connection of its own that only reads, never in the writer's way."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from router.durable.capabilities import capability
from router.durable.queue import Capability, CauseTally, Entry, Query, StudyQuery, StudySummary, Tally
from router.durable.reading import Reading
from router.durable.runner import Runner, in_thread
from router.durable.values import NOT_YET, Value, instant, instant_or_none, json_list, micros, statements
from router.model.delivery import KEPT, OPEN, Priority, Standing, State
from router.model.instance import Envelope, Identity
from router.model.outcome import Cause

_SQL = {**statements("queue.sql"), **statements("desk.sql")}
_CONDITIONS = {
    "destination": "destination = :destination",
    "state": "state = :state",
    "cause": "cause = :cause",
    "status": "status = :status",
    "study": "study = :study",
    "sop_instance": "sop_instance = :sop_instance",
    "ulid": "ulid = :ulid",
    "calling_ae_title": "calling_ae_title = :calling_ae_title",
    "older_than": "received_at < :older_than",
}
"""What each part of a query asks of a delivery."""


class SqliteDesk:
    """The desk of the queue in the file at ``path``, which a ``SqliteQueue`` has opened before."""

    def __init__(self, path: Path, *, runner: Runner = in_thread) -> None:
        self._reading = Reading(path, runner, name="queue")

    def open(self) -> None:
        """Connect.

        Raises:
            QueueError: there is no queue in the file.
        """
        self._reading.open()

    def close(self) -> None:
        """Disconnect."""
        self._reading.close()

    async def entries(self, query: Query, now: datetime) -> Sequence[Entry]:
        """Matching deliveries, oldest first."""
        values: dict[str, Value] = {
            **{name: getattr(query, name) for name in _CONDITIONS if name != "older_than"},
            "older_than": None if query.older_than is None else micros(now - query.older_than),
            "after": query.after,
            "limit": query.limit,
        }
        found = [
            row["id"]
            for search, more in await self._searches(query)
            for row in await self._reading.ask(search, {**values, **more})
        ]
        return await self._numbered(sorted(found)[: query.limit])

    async def entry(self, delivery: int) -> Entry | None:
        """One delivery by its number."""
        found = await self._numbered([delivery])
        return found[0] if found else None

    async def tallies(self) -> Sequence[Tally]:
        """Counts per destination and state, whatever the size of the queue."""
        return [
            Tally(
                row["destination"],
                State(row["state"]),
                row["deliveries"],
                row["bytes"],
                instant_or_none(row["oldest"]),
            )
            for row in await self._ask("tallies")
        ]

    async def causes(self) -> Sequence[CauseTally]:
        """What is dead or held, by cause; the most first."""
        return [
            CauseTally(
                row["destination"],
                State(row["state"]),
                _cause(row["cause"]),
                row["deliveries"],
                row["bytes"],
                instant(row["oldest"]),
                row["error"],
            )
            for row in await self._ask("causes")
        ]

    async def studies(self, query: StudyQuery) -> Sequence[StudySummary]:
        """Matching studies, the latest first."""
        matching = await self._ask(
            "matching_studies",
            study=query.study,
            accession_number=query.accession_number,
            patient_id=query.patient_id,
            limit=query.limit,
        )
        names = json.dumps([row["study"] for row in matching])
        deliveries: defaultdict[str, defaultdict[str, dict[State, int]]] = defaultdict(lambda: defaultdict(dict))
        for row in await self._ask("study_deliveries", studies=names):
            deliveries[row["study"]][row["destination"]][State(row["state"])] = row["deliveries"]
        summaries = {
            row["study"]: StudySummary(
                study=row["study"],
                accession_number=row["accession_number"],
                instances=row["instances"],
                size=row["size"],
                first_received=instant(row["first_received"]),
                last_received=instant(row["last_received"]),
                deliveries=dict(deliveries[row["study"]]),
            )
            for row in await self._ask("studies", studies=names)
        }
        # What was removed between the questions is not there any more.
        return [summaries[row["study"]] for row in matching if row["study"] in summaries]

    async def paused(self) -> frozenset[str]:
        """Destinations that an operator paused."""
        return frozenset(row["name"] for row in await self._ask("paused"))

    async def chosen(self, study: str, first_of: Sequence[str]) -> str | None:
        """To which of ``first_of`` the latest instance of a study is owed that may be owed to either."""
        found = await self._ask("chosen", study=study, first_of=json_list(first_of))
        return found[0]["destination"] if found else None

    async def learned(self, destination: str) -> Mapping[tuple[str, str], Capability]:
        """What the destination was seen to accept, as (SOP class, transfer syntax)."""
        return {
            (row["sop_class"], row["transfer_syntax"]): capability(row)
            for row in await self._ask("learned", destination=destination, since=0)
        }

    async def standings(self) -> Mapping[str, Standing]:
        """How each configured destination stands."""
        return {row["name"]: standing(row) for row in await self._ask("standings")}

    async def known(self, ulids: Sequence[str]) -> frozenset[str]:
        """Which of these instances have a row."""
        return frozenset(row["ulid"] for row in await self._ask("known", ulids=json.dumps(ulids)))

    async def paths(self) -> Sequence[str]:
        """The payload path of every row (for the scan at start)."""
        return [row["path"] for row in await self._ask("paths")]

    async def _searches(self, query: Query) -> Sequence[tuple[str, Mapping[str, Value]]]:
        """Statements that together find what matches, by the narrowest index, and what else each is given."""
        conditions = {name: text for name, text in _CONDITIONS.items() if getattr(query, name) is not None}
        if query.sop_instance is not None or query.ulid is not None:
            return [(_search("find_by_instance", conditions), {})]
        if query.study is not None:
            return [(_search("find_by_study", conditions), {})]
        if query.state not in OPEN | KEPT:
            return [(_search("find", conditions), {})]
        # The indexes of deliveries are partial: a statement that uses one has to have the state written out.
        conditions["state"] = f"state = '{query.state}'"
        if query.cause is not None and query.state in KEPT:
            return [(_search("find", conditions), {})]
        destinations = [query.destination]
        if query.destination is None:
            destinations = [row["destination"] for row in await self._ask("destinations", state=query.state)]
            conditions["destination"] = _CONDITIONS["destination"]
        return [(_search("find", conditions), {"destination": destination}) for destination in destinations]

    async def _numbered(self, deliveries: Sequence[int]) -> Sequence[Entry]:
        found = await self._ask("by_number", deliveries=json.dumps(deliveries), not_yet=NOT_YET)
        return [_entry(row) for row in found]

    async def _ask(self, statement: str, **values: Value) -> Sequence[sqlite3.Row]:
        return await self._reading.ask(_SQL[statement], values)


def _search(statement: str, conditions: Mapping[str, str]) -> str:
    return f"{' AND '.join([_SQL[statement], *conditions.values()])} ORDER BY delivery.id LIMIT :limit"


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
        series=row["series"],
        priority=Priority(row["priority"]),
        first_of=tuple(json.loads(row["first_of"])),
        size=row["size"],
        path=row["path"],
        error_comment=row["error_comment"],
    )


def _cause(value: str | None) -> Cause | None:
    return None if value is None else Cause(value)
