"""A spool with its queue, a clock that stands still, and disks that fail, lie, or lose what was not fsynced."""

import errno
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

import anyio
from anyio.abc import TaskStatus

from router.durable.disk import Disk
from router.durable.queue import Entry, Query
from router.durable.runner import Runner
from router.durable.spool import Part, Spool
from router.durable.sqlite import SqliteDesk, SqliteQueue, inline
from router.durable.sqlite_history import SqliteHistory
from router.model.delivery import Order, State
from router.model.instance import Arrival, Envelope, Identity

NOON = datetime(2031, 5, 7, 12, 0, tzinfo=UTC)
HEAD = b"HEAD" + b"." * 32 + b"MORE"
DIGEST_AT = 4
MINUTE = timedelta(minutes=1)


class PowerCut(Exception):  # noqa: N818 -- not an error of the program
    """The machine stopped at this call; nothing that it would have done later happens."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """The instant."""
        return self.now

    def advance(self, duration: timedelta) -> datetime:
        """Move it; the new instant."""
        self.now += duration
        return self.now


class ScriptedDisk(Disk):
    """Counts its calls and raises at the N-th, with ``PowerCut`` at every later one too; its fsyncs do not wait."""

    def __init__(self, *, stop_at: int = 0, error: Callable[[], Exception] = PowerCut) -> None:
        self.calls: list[str] = []
        self.stop_at = stop_at
        self._error = error

    @property
    def stopped(self) -> bool:
        """Whether it came to the N-th call."""
        return 0 < self.stop_at <= len(self.calls)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self.stop_at or (self.stopped and self._error is PowerCut):
            raise self._error()

    def create(self, path: Path) -> int:
        """Counted, then made."""
        self._call("create")
        return super().create(path)

    def write(self, file: int, buffers: Sequence[memoryview]) -> int:
        """Counted, then written."""
        self._call("write")
        return super().write(file, buffers)

    def pwrite(self, file: int, buffer: memoryview, offset: int) -> int:
        """Counted, then overwritten."""
        self._call("pwrite")
        return super().pwrite(file, buffer, offset)

    def fsync(self, file: int) -> None:  # noqa: ARG002 -- nothing waits
        """Counted."""
        self._call("fsync")

    def close(self, file: int) -> None:
        """Counted; closed in any case."""
        try:
            self._call("close")
        finally:
            super().close(file)

    def rename(self, old: Path, new: Path) -> None:
        """Counted, then renamed."""
        self._call("rename")
        super().rename(old, new)

    def fsync_directory(self, path: Path) -> None:
        """Counted; a folder that is missing is an error."""
        self._call("fsync_directory")
        if not path.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def unlink(self, path: Path) -> None:
        """Counted, then unlinked."""
        self._call("unlink")
        super().unlink(path)


class VolatileDisk(ScriptedDisk):
    """Forgets in a power cut what was not fsynced: content, and names of files that came, changed or went."""

    def __init__(self, limbo: Path, *, stop_at: int = 0, lies: frozenset[str] = frozenset()) -> None:
        super().__init__(stop_at=stop_at)
        limbo.mkdir()
        self._limbo = limbo
        self._lies = lies
        self._undo: list[tuple[Path, Callable[[], object]]] = []
        self._unwritten: set[int] = set()

    def create(self, path: Path) -> int:
        """Neither the name nor the content is safe."""
        file = super().create(path)
        self._unwritten.add(os.fstat(file).st_ino)
        self._undo.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return file

    def fsync(self, file: int) -> None:
        """The content is safe."""
        super().fsync(file)
        if "fsync" not in self._lies:
            self._unwritten.discard(os.fstat(file).st_ino)

    def rename(self, old: Path, new: Path) -> None:
        """The old name may come back."""
        super().rename(old, new)
        self._undo.append((new.parent, lambda: new.rename(old)))

    def unlink(self, path: Path) -> None:
        """The file may come back."""
        kept = self._limbo / f"{len(self.calls)}"
        with suppress(FileNotFoundError):
            os.link(path, kept)
        super().unlink(path)
        self._undo.append((path.parent, lambda: kept.rename(path)))

    def fsync_directory(self, path: Path) -> None:
        """The names in it are safe."""
        super().fsync_directory(path)
        if "fsync_directory" not in self._lies:
            self._undo = [(folder, undo) for folder, undo in self._undo if folder != path]

    def cut(self, directory: Path) -> None:
        """What the power cut leaves of the payloads in ``directory``."""
        for _, undo in reversed(self._undo):
            undo()
        for path in directory.glob("objects/*/*/*"):
            if path.stat().st_ino in self._unwritten:
                os.truncate(path, 0)


class Log:
    """How much of the database's log is on stable storage: what was there at the end of the last FULL commit."""

    def __init__(self, world: "World") -> None:
        self._database = world.directory / "queue.db"
        self._log = world.directory / "queue.db-wal"
        self._synced = self._log.stat().st_size
        self._full = self._committed = False
        world.connection.set_trace_callback(self._trace)

    def copy(self, target: Path) -> None:
        """What a power cut leaves of the database."""
        self._statement_ended()
        shutil.copy(self._database, target)
        shutil.copy(self._log, target)
        os.truncate(target / self._log.name, self._synced)

    def _trace(self, statement: str) -> None:
        self._statement_ended()
        if statement.startswith("PRAGMA synchronous"):
            self._full = statement.endswith("FULL")
        self._committed = statement == "COMMIT"

    def _statement_ended(self) -> None:
        if self._committed and self._full:
            self._synced = self._log.stat().st_size
        self._committed = False


class World:
    """One daemon's spool, history, queue and desk; ``disk_work`` runs what blocks where the queue's runner runs it."""

    def __init__(
        self, directory: Path, runner: Runner = inline, *, disk: Disk | None = None, clock: Clock | None = None
    ) -> None:
        self.directory = directory
        self.clock = clock or Clock()
        self.disk_work = runner
        self.spool = Spool(directory, disk=disk, clock=self.clock)
        self.said: list[str] = []
        """What is wrong with the history."""
        self.history = SqliteHistory(
            directory / "history.db",
            clock=self.clock,
            keep=timedelta(days=90),
            size=1 << 30,
            report=self.said.append,
            runner=runner,
        )
        self.queue = SqliteQueue(directory / "queue.db", self.spool, self.history, clock=self.clock, runner=runner)
        self.desk = SqliteDesk(directory / "queue.db", runner=runner)

    @property
    def connection(self) -> sqlite3.Connection:
        """The writer's connection."""
        return self.queue._database._opened()

    def open(self) -> None:
        """Everything but the committer."""
        self.spool.open()
        self.history.open()
        self.queue.open()
        self.desk.open()

    def close(self) -> None:
        """Everything but the committer, in the order of a clean stop."""
        self.desk.close()
        self.queue.close()
        self.history.close()
        self.spool.close()

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[None]:
        """Open, run, with ``names`` as the configured destinations; and close."""
        await self.disk_work(self.open)
        try:
            async with anyio.create_task_group() as group:
                await group.start(self.history.run)
                await group.start(self._run)
                if names:
                    await self.queue.standings.configured(dict.fromkeys(names), self.clock())
                yield
                group.cancel_scope.cancel()
        finally:
            await self.disk_work(self.close)

    async def _run(self, *, task_status: TaskStatus[None]) -> None:
        await self.queue.run(task_status=task_status)

    def part(self, content: bytes = b"data set") -> Part:
        """S1 → S2: a part with all its content, not sealed."""
        part = self.spool.begin(HEAD, DIGEST_AT)
        try:
            part.write([memoryview(content)])
        except OSError:
            part.abandon()
            raise
        return part

    def sealed(self, content: bytes = b"data set", **changes: str) -> Arrival:
        """S1 → S2: a durable part, not published."""
        part = self.part(content)
        digest = part.seal()
        return arrival(part.path, digest, part.size, self.clock(), **changes)

    async def accepted(self, *orders: str | Order, content: bytes = b"data set", **changes: str) -> Arrival:
        """S1 → S4: an instance that is owed to ``orders``."""
        arrived = await self.disk_work(lambda: self.sealed(content, **changes))
        await self.queue.accept(arrived, [Order(each) if isinstance(each, str) else each for each in orders])
        return arrived

    async def entries(self, **wanted: str) -> Sequence[Entry]:
        """All deliveries, or those of one destination."""
        return await self.desk.entries(Query(destination=wanted.get("destination"), limit=10_000), self.clock())

    async def states(self, **wanted: str) -> Sequence[State]:
        """The states of ``entries``."""
        return [entry.state for entry in await self.entries(**wanted)]

    def files(self) -> set[str]:
        """The names of all files below ``objects``."""
        return {path.name for path in self.directory.glob("objects/*/*/*")}


def arrival(path: PurePath, digest: str, size: int, received_at: datetime, **changes: str) -> Arrival:
    """What ``receive`` says of a payload."""
    return Arrival(
        ulid=path.stem,
        path=path,
        envelope=Envelope(changes.get("calling", "CT1"), "ROUTER", "192.0.2.7", 40123, "a1", received_at),
        identity=Identity("1.2.840.10008.5.1.4.1.1.2", changes.get("sop_instance", "2.25.1"), "1.2.840.10008.1.2.1"),
        size=size,
        header_size=len(HEAD),
        digest=digest,
        study=changes.get("study", "2.25.9"),
        series=changes.get("series", "2.25.8"),
        accession_number=changes.get("accession_number", "A1"),
        patient_id=changes.get("patient_id", "P1"),
        attributes={},
    )


def failing(number: int) -> Callable[[], OSError]:
    """Makes the ``OSError`` of an error number."""
    return lambda: OSError(number, os.strerror(number))


def io_error() -> OSError:
    """A failing disk."""
    return failing(errno.EIO)()
