"""The writer of one SQLite file: how many operations become one commit.

Group commit without a timer: whatever was submitted while the last batch ran is the next batch. Settings: WAL with one
writer; ``synchronous`` is FULL for batches that promise something and NORMAL for others (a later FULL commit makes
those durable too, as it flushes the same log); checkpoints are our own, after the waiters were answered.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Protocol, TypeVar

from anyio import TASK_STATUS_IGNORED, CancelScope, Event
from anyio.abc import TaskStatus

from router.durable.queue import QueueError
from router.durable.runner import Runner
from router.durable.sqlite_file import QUEUE, DamagedError, Kind, is_damage, opened, set_aside

T = TypeVar("T")

CHECKPOINT_AFTER = 1000
"""Changed rows after which the log is copied into the database file."""


class Witness(Protocol):
    """Who has to know what every batch changes."""

    def committing(self, connection: sqlite3.Connection) -> None:
        """The operations of a batch are executed, its COMMIT comes next; called where the batch runs."""

    def committed(self) -> None:
        """It is committed; called in the event loop, before the next batch."""


Prepare = Callable[[Iterable[PurePath]], Mapping[PurePath, OSError]]
"""What has to be done on the disk with all paths of a batch before its transaction; returns the paths that failed."""


Check = Callable[[sqlite3.Connection], None]
"""Raises ``QueueError`` when an operation must not begin, given what is committed."""


@dataclass(slots=True, eq=False)
class _Operation:
    work: Callable[[sqlite3.Connection], None]
    full: bool
    first: tuple[Prepare, PurePath] | None
    check: Check | None = None
    error: QueueError | None = field(default_factory=lambda: QueueError("the queue ended before it could commit"))
    """None once the operation is committed."""
    reason: str = ""
    """Why it failed, in SQLite's words."""
    done: Event = field(default_factory=Event)


class Database:
    """The writer's connection and its group committer."""

    def __init__(self, path: Path, runner: Runner, kind: Kind = QUEUE, *, witness: "Witness | None" = None) -> None:
        self._path = path
        self._runner = runner
        self._kind = kind
        self._witness = witness
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[_Operation] = []
        self._submitted = Event()
        self._ended = False
        self._checkpointed = 0
        self._doubtful = False
        self.damage = ""
        """What showed that the file is damaged; empty while nothing does."""
        self.created = False
        """Whether there was no file when it was opened."""
        self._full: bool | None = None
        """What ``synchronous`` was set to last."""

    def open(self, first: Callable[[sqlite3.Connection], object]) -> None:
        """Open or create the file, bring its schema to our version, and execute the first statements.

        Raises:
            DamagedError: the file is no database, or one of its pages is damaged.
            QueueError: it is not ours, from a newer version, or the disk fails.
        """
        self._connection, self.created = opened(self._path, self._kind, first)
        self._full = None
        self.damage = ""
        self._ended = False

    def set_aside(self, now: datetime) -> Path:
        """Give a damaged file another name, for whoever wants to look at it. Returns that name."""
        return set_aside(self._path, now)

    def close(self, last: Callable[[sqlite3.Connection], object]) -> None:
        """Execute the last statements, copy the log into the database file and close; ``run`` must have ended.

        Raises:
            QueueError: the disk failed; what was committed is in the log.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if not self.damage:
                    last(connection)
                    self._checkpoint(connection, "TRUNCATE")
            except sqlite3.Error as error:
                self._note_damage(error)
                raise QueueError(f"the {self._kind.name} {self._path} was not closed well: {error}") from error
            finally:
                connection.close()

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Commit what is submitted, until cancelled; what was submitted by then is still committed.

        Raises:
            DamagedError: the file is damaged; nothing can be done with it any more.
        """
        task_status.started()
        try:
            while not self.damage:
                await self._submitted.wait()
                await self._batch()
            raise DamagedError(self.damage)
        finally:
            while self._waiting:
                await self._batch()
            self._ended = True

    async def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        full: bool = False,
        check: Check | None = None,
        first: tuple[Prepare, PurePath] | None = None,
    ) -> T:
        """The result of ``work``, once it is committed; a caller that is cancelled still waits for it.

        Args:
            work: executes statements; what it changes is undone when it raises.
            full: whether the commit must be on stable storage, with everything before it.
            check: what has to be seen before ``first`` is done.
            first: what has to be done before the transaction, and with which payload; once for all of a batch.

        Raises:
            QueueError: nothing was changed.
        """
        if self._ended:
            raise QueueError(f"the {self._kind.name} has ended: the daemon is stopping")
        results: list[T] = []
        operation = _Operation(lambda connection: results.append(work(connection)), full, first, check)
        self._waiting.append(operation)
        self._submitted.set()
        with CancelScope(shield=True):
            await operation.done.wait()
        if operation.error is not None:
            raise operation.error
        return results[0]

    def execute(self, work: Callable[[sqlite3.Connection], T], *, full: bool = False) -> T:
        """As ``submit``, here and now, for who does without ``run``: the callers take turns by themselves.

        Raises:
            QueueError: nothing was changed.
        """
        results: list[T] = []
        operation = _Operation(lambda connection: results.append(work(connection)), full, None)
        self._commit([operation])
        if operation.error is not None:
            raise operation.error
        self._checkpoint_if_due()
        return results[0]

    def shrink(self, *, pages: int) -> None:
        """Give up to so many free pages of a file with ``auto_vacuum=INCREMENTAL`` back to the disk.

        Raises:
            QueueError: the disk failed.
        """
        try:
            # As a script: what is executed alone ends after the first page.
            self._opened().executescript(f"PRAGMA incremental_vacuum({pages})")
        except sqlite3.Error as error:
            self._note_damage(error)
            self._doubtful = True
            raise QueueError(f"the {self._kind.name} {self._path} cannot be made smaller: {error}") from error

    async def _batch(self) -> None:
        batch, self._waiting = self._waiting, []
        self._submitted = Event()
        try:
            with CancelScope(shield=True):
                await self._runner(lambda: self._commit(batch))
            if self._witness is not None and any(operation.error is None for operation in batch):
                self._witness.committed()
        finally:
            for operation in batch:
                operation.done.set()
        if self._checkpoint_is_due():
            with CancelScope(shield=True):
                await self._runner(self._checkpoint_if_due)

    def _commit(self, batch: Sequence[_Operation]) -> None:
        """One transaction; each operation's ``error`` says how it went."""
        connection = self._opened()
        if self._doubtful and not self._checkpoint(connection, "TRUNCATE"):
            return self._fail(batch, "its last write failed and the disk has not recovered")
        sound = self._prepare([operation for operation in batch if self._begins(connection, operation)])
        executed: list[_Operation] = []
        try:
            self._synchronise(connection, full=any(each.full for each in sound))
            connection.execute("BEGIN IMMEDIATE")
            for operation in sound:
                connection.execute("SAVEPOINT operation")
                if self._succeeds(connection, operation, operation.work):
                    executed.append(operation)
                elif not connection.in_transaction:
                    # A full or failing disk: SQLite has rolled back everything by itself.
                    self._doubtful = True
                    return self._fail(sound, operation.reason)
                else:
                    connection.execute("ROLLBACK TO operation")
                connection.execute("RELEASE operation")
            if self._witness is not None:
                self._witness.committing(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._note_damage(error)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._doubtful = True
            return self._fail(sound, str(error))
        for operation in executed:
            operation.error = None
        return None

    def _synchronise(self, connection: sqlite3.Connection, *, full: bool) -> None:
        if full is not self._full:
            connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._full = full

    def _note_damage(self, error: Exception) -> None:
        if is_damage(error):
            self.damage = f"the {self._kind.name} {self._path} is damaged: {error}"

    def _checkpoint_is_due(self) -> bool:
        return self._opened().total_changes - self._checkpointed >= CHECKPOINT_AFTER

    def _checkpoint_if_due(self) -> None:
        if self._checkpoint_is_due():
            self._checkpoint(self._opened(), "PASSIVE")

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> bool:
        """Whether the log was copied into the database file.

        After a failed fsync the log may have a hole on the disk that the kernel does not show: what is committed after
        it would be lost with it. A complete copy (TRUNCATE) takes the log's content from memory and starts a new log;
        until that succeeds, nothing is committed.
        """
        try:
            busy = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
        except sqlite3.Error as error:
            self._note_damage(error)
            self._doubtful = True
            return False
        self._checkpointed = connection.total_changes
        if mode == "TRUNCATE" and not busy:
            self._doubtful = False
        return not busy

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise QueueError(f"the {self._kind.name} {self._path} is not open")
        return self._connection

    def _begins(self, connection: sqlite3.Connection, operation: _Operation) -> bool:
        return operation.check is None or self._succeeds(connection, operation, operation.check)

    def _succeeds(self, connection: sqlite3.Connection, operation: _Operation, work: Check) -> bool:
        """Whether ``work`` ended well; otherwise the operation's ``error`` says why not."""
        try:
            work(connection)
        except QueueError as error:
            operation.error = error
        except (sqlite3.Error, ValueError, ArithmeticError) as error:  # also a value that SQLite cannot hold
            self._note_damage(error)
            operation.reason = str(error)
            operation.error = QueueError(f"the {self._kind.name} could not do this: {error}")
        else:
            return True
        return False

    def _prepare(self, batch: Sequence[_Operation]) -> Sequence[_Operation]:
        """Do what has to be done before the transaction, once for all; returns the operations that may go on."""
        sound: list[_Operation] = []
        concerned: dict[Prepare, list[tuple[_Operation, PurePath]]] = {}
        for operation in batch:
            if operation.first is None:
                sound.append(operation)
            else:
                prepare, path = operation.first
                concerned.setdefault(prepare, []).append((operation, path))
        for prepare, operations in concerned.items():
            failed = prepare([path for _, path in operations])
            for operation, path in operations:
                if path in failed:
                    self._fail([operation], f"{failed[path].strerror}: {path}")
                else:
                    sound.append(operation)
        return sound

    def _fail(self, batch: Iterable[_Operation], why: str) -> None:
        sentence = f"the {self._kind.name} could not commit: {why}. Nothing was promised; see to the disk"
        for operation in batch:
            operation.error = QueueError(sentence)
