"""The queue on SQLite: each operation is a few statements of ``queue.sql``, committed by ``database``.

``claim`` and a plain ``next_due`` look at a destination, ``changed`` waits for what was queued since: see ``changes``.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from router.durable import admission, selection
from router.durable.capabilities import SqliteCapabilities
from router.durable.changes import Changes
from router.durable.database import Database
from router.durable.desk import SqliteDesk, envelope, identity
from router.durable.history import History
from router.durable.interventions import SqliteInterventions
from router.durable.notes import Notes
from router.durable.queue import QueueError, Removable
from router.durable.queueing import Values, hold_strangers, queue_by, returned
from router.durable.runner import Runner, in_thread, inline
from router.durable.spool import Spool
from router.durable.sqlite_file import DamagedError
from router.durable.standings import SqliteStandings
from router.durable.values import NOT_YET, Value, instant_or_none, micros, micros_or_none, statements
from router.model.delivery import (
    SETTLED,
    TRANSITIONS,
    Accepted,
    Claim,
    Delivery,
    Order,
    Priority,
    Settlement,
    State,
    Wanted,
)
from router.model.destination import Strategy
from router.model.instance import Arrival
from router.model.outcome import Cause

__all__ = ["SqliteDesk", "SqliteQueue", "in_thread", "inline"]

_SQL = statements("queue.sql")
_MISSING = {
    "cause": Cause.PAYLOAD_MISSING,
    "error": "the payload is missing or damaged: have it sent again, and see to the disk",
}


class SqliteQueue:
    """The queue in the file at ``path``, for the payloads of ``spool``.

    ``open``, then ``run`` in the daemon's task group, which ends last, then ``close``. An operation that raises
    ``QueueError`` has changed nothing. After an error of the disk it is tried again with the next operation.
    """

    def __init__(
        self,
        path: Path,
        spool: Spool,
        history: History,
        *,
        clock: Callable[[], datetime],
        runner: Runner = in_thread,
    ) -> None:
        self.damage = ""
        """What was wrong with the file when it was opened, so that a new one was begun; empty for nothing."""
        self._spool = spool
        self._clock = clock
        self._runner = runner
        self._notes = Notes(history, clock)
        self._database = Database(path, runner, witness=self._notes)
        self.capabilities = SqliteCapabilities(self._database)
        """What destinations were seen to accept: committed by the same writer."""
        self._changes = Changes()
        self.standings = SqliteStandings(self._database, self._changes)
        """How destinations stand, as ``capabilities``."""
        self.interventions = SqliteInterventions(self._database, self._changes)
        """What operators do, as ``capabilities``."""

    def open(self) -> None:
        """Open or create the file; the working clocks go on from where they were stored.

        A damaged one is set aside for a new one, into which the payloads are adopted: see ``damage``.

        Raises:
            QueueError: it is not ours, from a newer version, or the disk fails.
        """
        now = {"now": micros(self._clock())}

        def first(connection: sqlite3.Connection) -> None:
            connection.execute(_SQL["start_clocks"], now)
            self._notes.begin(connection)

        try:
            self._database.open(first)
        except DamagedError as error:
            self.damage = f"{error}. It was moved to {self._database.set_aside(self._clock())}, and a new one begins"
            self._database.open(first)

    def set_aside(self) -> None:
        """Before ``open``: give the file another name, whatever is in it, so that a new one begins."""
        self._database.set_aside(self._clock())

    @property
    def new(self) -> bool:
        """Whether it was empty when it was opened."""
        return self._database.created

    def close(self) -> None:
        """Stop the working clocks, copy the log into the database file, and close; a damaged one is set aside.

        Raises:
            QueueError: the disk failed; what was committed is in the log.
        """
        now = {"now": micros(self._clock())}
        try:
            self._database.close(lambda connection: connection.execute(_SQL["stop_clocks"], now))
        finally:
            if self._database.damage:
                self._database.set_aside(self._clock())

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Commit what is asked for, until cancelled; what was asked for by then is still committed.

        Raises:
            DamagedError: the file is damaged. When it is closed it is set aside, so that the next start begins anew.
        """
        await self._database.run(task_status=task_status)

    async def accept(self, arrival: Arrival, orders: Sequence[Order]) -> Accepted:
        """S2 → S4 or S5: publish the payload and commit its deliveries; returns once both are on stable storage.

        Raises:
            OverQuotaError: every destination is over its quota; the payload was not published.
            QueueError: nothing was promised; the payload may be left in S3 and is adopted later.
        """
        admission.check_orders(orders)

        def accept(connection: sqlite3.Connection) -> Accepted:
            accepted = admission.admit(connection, arrival, orders, self._clock())
            hold_strangers(connection)
            return accepted

        def check(connection: sqlite3.Connection) -> None:
            admission.check_quotas(connection, arrival, orders, self._clock())

        accepted = await self._database.submit(
            accept,
            full=True,
            check=check if any(order.terms.quota is not None for order in orders) else None,
            first=(self._spool.publish, arrival.path),
        )
        self._changes.note(order.destination for order in accepted.orders if order.state is State.QUEUED)
        return accepted

    async def adopt(self, arrival: Arrival, orders: Sequence[Order]) -> bool:
        """S3 → S4 or S5: commit deliveries for a payload that has no row; False when it has one by now.

        Some may be delivered or dead already: the queue that knew of them is lost.
        """
        admission.check_orders(orders, of_old=True)

        def adopt(connection: sqlite3.Connection) -> bool:
            if connection.execute(_SQL["has_row"], {"ulid": arrival.ulid}).fetchone():
                return False
            admission.insert(connection, arrival, orders, self._clock())
            hold_strangers(connection)
            return True

        # The rename may have been cut short before its folder was fsynced.
        adopted = await self._database.submit(adopt, full=True, first=(self._spool.confirm, arrival.path))
        self._changes.note(order.destination for order in orders)
        return adopted

    async def claim(self, destination: str, owner: str, wanted: Wanted, now: datetime) -> Claim:
        """What is due for ``destination``, as far as it is wanted; now in flight for ``owner``.

        Instances of one study, and of one series, follow each other.
        """

        def claim(connection: sqlite3.Connection) -> Claim:
            selection.release_quiet_studies(connection, destination, now)
            selected = selection.select(connection, destination, wanted, now)
            if not selected:
                return Claim(0, ())
            (token,) = connection.execute(_SQL["next_token"]).fetchone()
            connection.executemany(
                _SQL["claim"], [{"delivery": delivery, "owner": owner, "token": token} for delivery in selected]
            )
            values = {"selected": json.dumps(selected), "now": micros(now)}
            claimed = [_delivery(row) for row in connection.execute(_SQL["claimed"], values)]
            return Claim(token, selection.together(claimed))

        self._changes.look(destination)
        return await self._database.submit(claim)

    async def settle(self, claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        """How claimed deliveries go on, in one commit. Returns how many changed: a stale token changes nothing."""
        for settlement in settlements:
            if settlement.state not in TRANSITIONS[State.IN_FLIGHT]:
                raise QueueError(f"a delivery in flight cannot become {settlement.state}")

        def settle(connection: sqlite3.Connection) -> Sequence[tuple[str, State]]:
            # A destination may have been renamed since the claim: the row knows to whom the delivery is owed now.
            settled: list[tuple[str, State]] = []
            for settlement in settlements:
                values = _settlement(settlement, claim.token, now)
                for row in connection.execute(_SQL["settle"], values).fetchall():
                    settled.append((row["destination"], settlement.state))
                    if settlement.state in SETTLED:
                        connection.execute(_SQL["stamp_settled"], {"instance": row["instance"], "now": micros(now)})
            for destination in {destination for destination, _ in settled}:
                connection.execute(_SQL["tick"], {"destination": destination, "now": micros(now)})
            if any(settlement.state is State.QUEUED for settlement in settlements):
                hold_strangers(connection)
            return settled

        settled = await self._database.submit(settle)
        self._changes.note(destination for destination, state in settled if state is State.QUEUED)
        return len(settled)

    async def give_back(self, claim: Claim) -> None:
        """Claimed deliveries that were not tried become due again, uncharged."""
        wanted = [{"delivery": delivery.id, "token": claim.token} for delivery in claim.deliveries]
        await queue_by("give_back", wanted, database=self._database, changes=self._changes)

    async def recover(self, owner: str, now: datetime) -> int:  # noqa: ARG002 -- other queues stamp it
        """After a crash: what was in flight for ``owner`` is queued again. Returns how many."""
        return (await queue_by("recover", [{"owner": owner}], database=self._database, changes=self._changes)).total()

    async def next_due(self, destination: str, after: datetime | None = None) -> datetime | None:
        """When the next delivery for ``destination`` is due; None when nothing waits.

        Args:
            destination: by name.
            after: when the caller claimed; what was due by then and was left is for others. None: whatever is due.
        """
        wanted = {"destination": destination, "after": micros_or_none(after)}

        def next_due(connection: sqlite3.Connection) -> datetime | None:
            (due,) = connection.execute(_SQL["next_due"], wanted).fetchone()
            return instant_or_none(due)

        # What is queued between the claim and this may be due before ``after``: it still wakes the caller.
        if after is None:
            self._changes.look(destination)
        return await self._database.submit(next_due)

    async def changed(self, destination: str) -> None:
        """Wait until something was queued for ``destination`` since this caller last claimed, or asked when it is due.

        Several may wait for one destination; all of them return. See the module on what is not lost.
        """
        await self._changes.wait(destination)

    async def fail_over(self, destination: str, to: str, since: datetime, limit: int, now: datetime) -> int:
        """Up to ``limit`` of what waits for ``destination``, in trouble ``since`` then, is owed to ``to`` from now on.

        That is what may be owed to either, and has a ``failover_after`` that is over. Returns how many.
        """
        wanted = {
            "destination": destination,
            "to": to,
            "since": micros(since),
            "limit": limit,
            "now": micros(now),
            "not_yet": NOT_YET,
        }

        def movable(connection: sqlite3.Connection) -> Iterable[Values]:
            selection.release_quiet_studies(connection, destination, now)
            found = connection.execute(_SQL["movable"], wanted).fetchall()
            return [{"delivery": row["id"], "destination": to, "now": micros(now)} for row in found]

        return (await queue_by("readdress", movable, database=self._database, changes=self._changes)).total()

    async def remove(self, settled_before: datetime, limit: int) -> Sequence[Removable]:
        """S6 → S1 for up to ``limit`` instances settled before then, in the order that ``router.durable`` demands.

        Raises:
            QueueError: what could not be unlinked keeps its row, and is tried again by the next call.
        """

        def mark(connection: sqlite3.Connection) -> Sequence[Removable]:
            wanted = {"before": micros(settled_before), "limit": limit}
            return [Removable(*row) for row in connection.execute(_SQL["mark_removing"], wanted).fetchall()]

        # The mark makes the commit write something, and a FULL commit that writes flushes the settlements before it.
        marked = await self._database.submit(mark, full=True)
        if not marked:
            return ()
        paths = {removable: PurePosixPath(removable.path) for removable in marked}
        failed = await self._runner(lambda: self._spool.remove(paths.values()))
        removed = [removable for removable, path in paths.items() if path not in failed]

        def forget(connection: sqlite3.Connection) -> None:
            instances = [{"instance": removable.instance} for removable in removed]
            connection.executemany(_SQL["remove_deliveries"], instances)
            series = {row["series"] for row in returned(connection, "remove_instance", instances)}
            connection.executemany(_SQL["remove_series"], [{"series": each} for each in series])

        await self._database.submit(forget)
        if failed:
            path, error = next(iter(failed.items()))
            raise QueueError(f"{len(failed)} payloads cannot be removed, the first: {error.strerror}: {path}")
        return removed

    async def lose(self, path: str, now: datetime) -> int:  # noqa: ARG002 -- other queues stamp it
        """S8: the payload at ``path`` is gone or damaged; its open deliveries become dead letters. Returns how many."""
        values = {"ulid": PurePosixPath(path).stem, "path": path, **_MISSING}
        return await self._database.submit(lambda connection: connection.execute(_SQL["lose"], values).rowcount)


def _settlement(settlement: Settlement, token: int, now: datetime) -> Mapping[str, Value]:
    return {
        "delivery": settlement.delivery,
        "state": settlement.state,
        "charged": settlement.charged,
        "tried": settlement.tried,
        "uncertain": settlement.uncertain,
        "cause": settlement.cause,
        "error": settlement.error,
        "status": settlement.status,
        "strategy": settlement.strategy,
        "transfer_syntax": settlement.transfer_syntax,
        "associations": settlement.associations,
        "error_comment": settlement.error_comment,
        "token": token,
        "now": micros(now),
        "due": micros(settlement.next_attempt_at or now),
    }


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        id=row["id"],
        ulid=row["ulid"],
        destination=row["destination"],
        path=row["path"],
        envelope=envelope(row),
        identity=identity(row),
        size=row["size"],
        header_size=row["header_size"],
        digest=row["digest"],
        study=row["study"],
        series=row["series"],
        priority=Priority(row["priority"]),
        strategy=None if row["chosen_strategy"] is None else Strategy(row["chosen_strategy"]),
        attempts=row["attempts"],
        tries=row["tries"],
        uncertain=bool(row["uncertain"]),
        worked=timedelta(microseconds=row["worked_for"]),
    )
