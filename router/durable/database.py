"""One SQLite file: how it is opened, and how many operations become one commit.

Group commit without a timer: whatever was submitted while the last batch ran is the next batch. Settings: WAL with one
writer; ``synchronous`` is FULL for batches that promise something and NORMAL for others (a later FULL commit makes
those durable too, as it flushes the same log); checkpoints are our own, after the waiters were answered.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path, PurePath
from typing import Protocol, TypeVar

from anyio import TASK_STATUS_IGNORED, CancelScope, CapacityLimiter, Event, to_thread
from anyio.abc import TaskStatus

from router.durable.queue import QueueError

T = TypeVar("T")

APPLICATION = 0x44434D52
"""SQLite's ``application_id``: «DCMR»."""
MIGRATIONS = ("schema.sql",)
"""The N-th script leads from version N to N + 1."""
_PRAGMAS = (
    "journal_mode=WAL",
    "wal_autocheckpoint=0",
    "journal_size_limit=67108864",  # the log is cut to this when it starts again
    "mmap_size=0",  # a truncated file would kill the program
    "foreign_keys=ON",
    "synchronous=FULL",
)
CHECKPOINT_AFTER = 1000
"""Changed rows after which the log is copied into the database file."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Runner(Protocol):
    """Where blocking work runs; both runners run the same SQL."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """The result of ``work``."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """In a worker thread, outside the number of threads that others share. The callers take turns by themselves."""
    return await to_thread.run_sync(work, limiter=CapacityLimiter(1))


async def inline(work: Callable[[], T], /) -> T:
    """Here and now: for simulations on a mock clock, which does not wait for threads."""
    return work()


def micros(instant: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def micros_or_none(instant: datetime | None) -> int | None:
    """``micros``, or None for None."""
    return None if instant is None else micros(instant)


def instant(value: int) -> datetime:
    """The inverse of ``micros``."""
    return _EPOCH + value * _MICROSECOND


def instant_or_none(value: int | None) -> datetime | None:
    """The inverse of ``micros_or_none``."""
    return None if value is None else instant(value)


def statements(name: str) -> Mapping[str, str]:
    """The statements of an SQL file beside this module, by the names that ``-- :name`` lines give them."""
    blocks = (block.partition("\n") for block in _script(name).split("\n-- :")[1:])
    return {title.strip(): sql.strip() for title, _, sql in blocks}


Prepare = Callable[[Iterable[PurePath]], Mapping[PurePath, OSError]]
"""What has to be done on the disk with all paths of a batch before its transaction; returns the paths that failed."""


@dataclass(slots=True, eq=False)
class _Operation:
    work: Callable[[sqlite3.Connection], None]
    full: bool
    first: tuple[Prepare, PurePath] | None
    error: QueueError | None = field(default_factory=lambda: QueueError("the queue ended before it could commit"))
    """None once the operation is committed."""
    done: Event = field(default_factory=Event)


class Database:
    """The writer's connection and its group committer."""

    def __init__(self, path: Path, runner: Runner) -> None:
        self._path = path
        self._runner = runner
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[_Operation] = []
        self._submitted = Event()
        self._ended = False
        self._checkpointed = 0
        self._doubtful = False
        self._full: bool | None = None
        """What ``synchronous`` was set to last."""

    def open(self, first: Callable[[sqlite3.Connection], object]) -> None:
        """Open or create the file, bring its schema to our version, and execute the first statements.

        Raises:
            QueueError: it is not ours, from a newer version, or damaged.
        """
        try:
            connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            try:
                self._check(connection)
                for pragma in _PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}")
                _migrate(connection)
                first(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise QueueError(
                f"the queue {self._path} cannot be opened: {error}. If the disk is sound, move the file aside: "
                "the payloads in the spool are adopted into a new one"
            ) from error
        self._connection = connection
        self._full = None
        self._ended = False

    def close(self, last: Callable[[sqlite3.Connection], object]) -> None:
        """Execute the last statements, copy the log into the database file and close; ``run`` must have ended.

        Raises:
            QueueError: the disk failed; what was committed is in the log.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                last(connection)
                self._checkpoint(connection, "TRUNCATE")
            except sqlite3.Error as error:
                raise QueueError(f"the queue {self._path} was not closed well: {error}") from error
            finally:
                connection.close()

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Commit what is submitted, until cancelled; what was submitted by then is still committed."""
        task_status.started()
        try:
            while True:
                await self._submitted.wait()
                await self._batch()
        finally:
            while self._waiting:
                await self._batch()
            self._ended = True

    async def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        full: bool = False,
        first: tuple[Prepare, PurePath] | None = None,
    ) -> T:
        """The result of ``work``, once it is committed; a caller that is cancelled still waits for it.

        Args:
            work: executes statements; what it changes is undone when it raises.
            full: whether the commit must be on stable storage, with everything before it.
            first: what has to be done before the transaction, and with which payload; once for all of a batch.

        Raises:
            QueueError: nothing was changed.
        """
        if self._ended:
            raise QueueError("the queue has ended: the daemon is stopping")
        results: list[T] = []
        operation = _Operation(lambda connection: results.append(work(connection)), full, first)
        self._waiting.append(operation)
        self._submitted.set()
        with CancelScope(shield=True):
            await operation.done.wait()
        if operation.error is not None:
            raise operation.error
        return results[0]

    async def _batch(self) -> None:
        batch, self._waiting = self._waiting, []
        self._submitted = Event()
        try:
            with CancelScope(shield=True):
                await self._runner(lambda: self._commit(batch))
        finally:
            for operation in batch:
                operation.done.set()
        connection = self._opened()
        if connection.total_changes - self._checkpointed >= CHECKPOINT_AFTER:
            with CancelScope(shield=True):
                await self._runner(lambda: self._checkpoint(connection, "PASSIVE"))

    def _commit(self, batch: Sequence[_Operation]) -> None:
        """One transaction; each operation's ``error`` says how it went."""
        connection = self._opened()
        if self._doubtful and not self._checkpoint(connection, "TRUNCATE"):
            return _fail(batch, "its last write failed and the disk has not recovered")
        sound = _prepare(batch)
        executed: list[_Operation] = []
        try:
            self._synchronise(connection, full=any(each.full for each in sound))
            connection.execute("BEGIN IMMEDIATE")
            for operation in sound:
                connection.execute("SAVEPOINT operation")
                try:
                    operation.work(connection)
                except (sqlite3.Error, ValueError, ArithmeticError) as error:  # also a value that SQLite cannot hold
                    operation.error = QueueError(f"the queue could not do this: {error}")
                    connection.execute("ROLLBACK TO operation")
                else:
                    executed.append(operation)
                connection.execute("RELEASE operation")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._doubtful = True
            return _fail(sound, str(error))
        for operation in executed:
            operation.error = None
        return None

    def _synchronise(self, connection: sqlite3.Connection, *, full: bool) -> None:
        if full is not self._full:
            connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._full = full

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> bool:
        """Whether the log was copied into the database file.

        After a failed fsync the log may have a hole on the disk that the kernel does not show: what is committed after
        it would be lost with it. A complete copy (TRUNCATE) takes the log's content from memory and starts a new log;
        until that succeeds, nothing is committed.
        """
        try:
            busy = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
        except sqlite3.Error:
            self._doubtful = True
            return False
        self._checkpointed = connection.total_changes
        if mode == "TRUNCATE" and not busy:
            self._doubtful = False
        return not busy

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise QueueError(f"the queue {self._path} is not open")
        return self._connection

    def _check(self, connection: sqlite3.Connection) -> None:
        application = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if application != APPLICATION and (application or version or tables):
            raise QueueError(f"{self._path} is not a queue of dicom-router: name another spool directory")
        if version > len(MIGRATIONS):
            raise QueueError(
                f"the queue {self._path} was written by a newer dicom-router (schema {version}, this one knows "
                f"{len(MIGRATIONS)}): install that version or a later one"
            )


def _migrate(connection: sqlite3.Connection) -> None:
    for version in range(_pragma(connection, "user_version"), len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{_script(MIGRATIONS[version])}\nPRAGMA application_id = {APPLICATION};\n"
            f"PRAGMA user_version = {version + 1};\nCOMMIT;"
        )


def _prepare(batch: Sequence[_Operation]) -> Sequence[_Operation]:
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
                _fail([operation], f"{failed[path].strerror}: {path}")
            else:
                sound.append(operation)
    return sound


def _fail(batch: Iterable[_Operation], why: str) -> None:
    for operation in batch:
        operation.error = QueueError(f"the queue could not commit: {why}. Nothing was promised; see to the disk")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    assert isinstance(value, int)
    return value


def _script(name: str) -> str:
    return resources.files("router.durable").joinpath(name).read_text("utf-8")
