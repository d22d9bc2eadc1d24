"""The queue on SQLite: each operation is a few statements of ``queue.sql``, committed by ``database``.

Wake-ups are not lost: ``claim`` and ``next_due`` note in their caller's context when they looked at a destination, and
``changed`` returns at once when something was queued for it since. Without such a note it waits for what is queued
after it was called. It may return although another forwarder was quicker: claim, and wait again.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from anyio import TASK_STATUS_IGNORED, Event
from anyio.abc import TaskStatus

from router.durable.capabilities import SqliteCapabilities
from router.durable.database import (
    Database,
    Runner,
    in_thread,
    inline,
    instant_or_none,
    micros,
    micros_or_none,
    statements,
)
from router.durable.desk import SqliteDesk, envelope, identity, standing
from router.durable.queue import QueueError, Removable
from router.durable.spool import Spool
from router.model.delivery import SETTLED, TRANSITIONS, Claim, Delivery, Order, Settlement, Standing, State
from router.model.instance import Arrival
from router.model.outcome import Cause

__all__ = ["SqliteDesk", "SqliteQueue", "in_thread", "inline"]

_SQL = statements("queue.sql")
_NOT_CONFIGURED = {
    "cause": Cause.NOT_CONFIGURED,
    "error": "the destination is not configured: it is sent when the name returns, or is named in renamed_from",
}
_MISSING = {
    "cause": Cause.PAYLOAD_MISSING,
    "error": "the payload is missing or damaged: have it sent again, and see to the disk",
}

Value = str | int | None


class SqliteQueue:
    """The queue in the file at ``path``, for the payloads of ``spool``.

    ``open``, then ``run`` in the daemon's task group, which ends last, then ``close``. An operation that raises
    ``QueueError`` has changed nothing. After an error of the disk it is tried again with the next operation.
    """

    def __init__(self, path: Path, spool: Spool, *, clock: Callable[[], datetime], runner: Runner = in_thread) -> None:
        self._spool = spool
        self._clock = clock
        self._runner = runner
        self._database = Database(path, runner)
        self.capabilities = SqliteCapabilities(self._database)
        """What destinations were seen to accept: committed by the same writer."""
        self._changes = _Changes()

    def open(self) -> None:
        """Open or create the file; the working clocks go on from where they were stored.

        Raises:
            QueueError: it is not ours, from a newer version, or damaged.
        """
        now = {"now": micros(self._clock())}
        self._database.open(lambda connection: connection.execute(_SQL["start_clocks"], now))

    def close(self) -> None:
        """Stop the working clocks, copy the log into the database file, and close.

        Raises:
            QueueError: the disk failed; what was committed is in the log.
        """
        now = {"now": micros(self._clock())}
        self._database.close(lambda connection: connection.execute(_SQL["stop_clocks"], now))

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Commit what is asked for, until cancelled; what was asked for by then is still committed."""
        await self._database.run(task_status=task_status)

    async def accept(self, arrival: Arrival, orders: Sequence[Order]) -> None:
        """S2 → S4 or S5: publish the payload and commit its deliveries; returns once both are on stable storage.

        Raises:
            QueueError: nothing was promised; the payload may be left in S3 and is adopted later.
        """
        _check_orders(orders)
        await self._database.submit(
            lambda connection: self._insert(connection, arrival, orders),
            full=True,
            first=(self._spool.publish, arrival.path),
        )
        self._changes.note(order.destination for order in orders)

    async def adopt(self, arrival: Arrival, orders: Sequence[Order]) -> bool:
        """S3 → S4 or S5: commit deliveries for a payload that has no row; False when it has one by now."""
        _check_orders(orders)

        def adopt(connection: sqlite3.Connection) -> bool:
            if connection.execute(_SQL["has_row"], {"ulid": arrival.ulid}).fetchone():
                return False
            self._insert(connection, arrival, orders)
            return True

        # The rename may have been cut short before its folder was fsynced.
        adopted = await self._database.submit(adopt, full=True, first=(self._spool.confirm, arrival.path))
        self._changes.note(order.destination for order in orders)
        return adopted

    async def claim(self, destination: str, owner: str, limit: int, now: datetime) -> Claim:
        """Up to ``limit`` deliveries that are due for ``destination``, oldest first, now in flight for ``owner``."""

        def claim(connection: sqlite3.Connection) -> Claim:
            wanted = {"destination": destination, "now": micros(now), "limit": limit}
            rows = connection.execute(_SQL["due"], wanted).fetchall()
            if not rows:
                return Claim(0, ())
            (token,) = connection.execute(_SQL["next_token"]).fetchone()
            connection.executemany(
                _SQL["claim"], [{"delivery": row["id"], "owner": owner, "token": token} for row in rows]
            )
            return Claim(token, tuple(_delivery(row) for row in rows))

        self._changes.look(destination)
        return await self._database.submit(claim)

    async def settle(self, claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        """How claimed deliveries go on, in one commit. Returns how many changed: a stale token changes nothing."""
        for settlement in settlements:
            if settlement.state not in TRANSITIONS[State.IN_FLIGHT]:
                raise QueueError(f"a delivery in flight cannot become {settlement.state}")

        def settle(connection: sqlite3.Connection) -> int:
            changed = 0
            for settlement in settlements:
                values = _settlement(settlement, claim.token, now)
                for (instance,) in connection.execute(_SQL["settle"], values).fetchall():
                    changed += 1
                    if settlement.state in SETTLED:
                        connection.execute(_SQL["stamp_settled"], {"instance": instance, "now": micros(now)})
            for destination in {delivery.destination for delivery in claim.deliveries}:
                connection.execute(_SQL["tick"], {"destination": destination, "now": micros(now)})
            connection.execute(_SQL["hold_strangers"], _NOT_CONFIGURED)
            return changed

        changed = await self._database.submit(settle)
        queued = {settlement.delivery for settlement in settlements if settlement.state is State.QUEUED}
        self._changes.note(delivery.destination for delivery in claim.deliveries if delivery.id in queued)
        return changed

    async def give_back(self, claim: Claim) -> None:
        """Claimed deliveries that were not tried become due again, uncharged."""
        wanted = [{"delivery": delivery.id, "token": claim.token} for delivery in claim.deliveries]
        await self._queue("give_back", wanted)

    async def recover(self, owner: str, now: datetime) -> int:  # noqa: ARG002 -- other queues stamp it
        """After a crash: what was in flight for ``owner`` is queued again. Returns how many."""
        return await self._queue("recover", [{"owner": owner}])

    async def next_due(self, destination: str) -> datetime | None:
        """When the next delivery for ``destination`` is due; None when nothing waits."""

        def next_due(connection: sqlite3.Connection) -> datetime | None:
            (due,) = connection.execute(_SQL["next_due"], {"destination": destination}).fetchone()
            return instant_or_none(due)

        self._changes.look(destination)
        return await self._database.submit(next_due)

    async def changed(self, destination: str) -> None:
        """Wait until something was queued for ``destination`` since this caller last claimed, or asked when it is due.

        Several may wait for one destination; all of them return. See the module on what is not lost.
        """
        await self._changes.wait(destination)

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
            connection.execute(_SQL["hold_strangers"], _NOT_CONFIGURED)
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

    async def revive(self, deliveries: Sequence[int], now: datetime) -> int:
        """Dead, held (with a configured destination) or waiting deliveries are due now, with fresh counters.

        Returns how many.
        """
        return await self._queue("revive", [{"delivery": delivery, "now": micros(now)} for delivery in deliveries])

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
            connection.executemany(_SQL["remove_instance"], instances)

        await self._database.submit(forget)
        if failed:
            path, error = next(iter(failed.items()))
            raise QueueError(f"{len(failed)} payloads cannot be removed, the first: {error.strerror}: {path}")
        return removed

    async def lose(self, path: str, now: datetime) -> int:  # noqa: ARG002 -- other queues stamp it
        """S8: the payload at ``path`` is gone or damaged; its open deliveries become dead letters. Returns how many."""
        values = {"ulid": PurePosixPath(path).stem, "path": path, **_MISSING}
        return await self._database.submit(lambda connection: connection.execute(_SQL["lose"], values).rowcount)

    def _insert(self, connection: sqlite3.Connection, arrival: Arrival, orders: Sequence[Order]) -> None:
        now = self._clock()
        (instance,) = connection.execute(_SQL["insert_instance"], _instance(arrival)).fetchone()
        for order in orders:
            values = {
                "instance": instance,
                "destination": order.destination,
                "state": order.state,
                "cause": order.cause,
                "error": order.error,
                # An adopted instance goes before those that came later; a clock that was set back delays nothing.
                "due": micros(min(arrival.envelope.received_at, now)),
                "now": micros(now),
            }
            connection.execute(_SQL["insert_delivery"], values)
        states = {order.state for order in orders}
        if states <= SETTLED:
            connection.execute(_SQL["stamp_settled"], {"instance": instance, "now": micros(now)})
        if State.QUEUED in states:
            connection.execute(_SQL["hold_strangers"], _NOT_CONFIGURED)

    async def _queue(self, statement: str, values: Iterable[Mapping[str, Value]]) -> int:
        """Run a statement that queues deliveries and returns their destinations, once per row of ``values``."""

        def queue(connection: sqlite3.Connection) -> Sequence[str]:
            rows = [row for each in values for row in connection.execute(_SQL[statement], each).fetchall()]
            connection.execute(_SQL["hold_strangers"], _NOT_CONFIGURED)
            return [row["destination"] for row in rows]

        queued = await self._database.submit(queue)
        self._changes.note(queued)
        return len(queued)


_TICKS = count(1)
_LOOKED: ContextVar[Mapping[str, int]] = ContextVar("looked", default=MappingProxyType({}))


class _Changes:
    """When something was last queued for each destination, in ticks that all queues share."""

    def __init__(self) -> None:
        self._noted: dict[str, int] = {}
        self._events: dict[str, Event] = {}

    def note(self, destinations: Iterable[str]) -> None:
        """Something was queued for these."""
        for destination in set(destinations):
            self._noted[destination] = next(_TICKS)
            if (event := self._events.pop(destination, None)) is not None:
                event.set()

    def look(self, destination: str) -> None:
        """The running task is about to see what was queued by now."""
        _LOOKED.set({**_LOOKED.get(), destination: next(_TICKS)})

    async def wait(self, destination: str) -> None:
        """Until something is noted after the running task's last look."""
        looked = _LOOKED.get().get(destination) or next(_TICKS)
        while self._noted.get(destination, 0) < looked:
            await self._events.setdefault(destination, Event()).wait()
        self.look(destination)


def _carry_over(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Give what one destination is owed, and how it stands, to another; the working clocks stand still."""
    names: dict[str, Value] = {"old": old, "new": new}
    clocks = dict(connection.execute(_SQL["stopped_clocks"], names).fetchall())
    shift = 0
    if new in clocks:
        shift = clocks[new] - clocks.get(old, 0)
        connection.execute(_SQL["remove_destination"], names)
    else:
        connection.execute(_SQL["rename_destination"], names)
    connection.execute(_SQL["carry_over"], {**names, "shift": shift})


def _check_orders(orders: Sequence[Order]) -> None:
    if not orders:
        raise QueueError("an instance without an order would be removed at once: hold it, or record it as dropped")
    for order in orders:
        if order.state not in (State.QUEUED, State.HELD, State.DROPPED):
            raise QueueError(f"an order cannot begin {order.state}")


def _instance(arrival: Arrival) -> Mapping[str, Value]:
    # Written out: `dataclasses.asdict` copies deeply, which costs a tenth of receiving a small object.
    envelope, identity = arrival.envelope, arrival.identity
    return {
        "calling_ae_title": envelope.calling_ae_title,
        "called_ae_title": envelope.called_ae_title,
        "peer_host": envelope.peer_host,
        "peer_port": envelope.peer_port,
        "association": envelope.association,
        "received_at": micros(envelope.received_at),
        "sop_class": identity.sop_class,
        "sop_instance": identity.sop_instance,
        "transfer_syntax": identity.transfer_syntax,
        "ulid": arrival.ulid,
        "path": arrival.path.as_posix(),
        "size": arrival.size,
        "header_size": arrival.header_size,
        "digest": arrival.digest,
        "study": arrival.study,
    }


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
        attempts=row["attempts"],
        tries=row["tries"],
        uncertain=bool(row["uncertain"]),
        worked=timedelta(microseconds=row["worked_for"]),
    )
