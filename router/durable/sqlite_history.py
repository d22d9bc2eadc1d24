"""The history on SQLite: statements of ``history.sql``, in a file beside the queue's, with a writer of its own."""

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from anyio import TASK_STATUS_IGNORED, Event, move_on_after, sleep
from anyio.abc import TaskStatus

from router.durable.database import Database
from router.durable.history import Happened, Happening, Search
from router.durable.queue import QueueError
from router.durable.reading import Reading
from router.durable.runner import Runner, in_thread
from router.durable.sqlite_file import DamagedError, Kind
from router.durable.values import instant, micros, statements
from router.model.outcome import Cause
from router.model.ulid import is_ulid

GATHERED_FOR = 0.25
"""Seconds between the first note and its commit, which is then one for many."""
WAITING = 20_000
"""Notes that may wait to be written; more are lost, and counted."""
FORGOTTEN_AT_ONCE = 1000
BOUNDED_AFTER = 1000
"""Rows written after which the bounds are looked at; they are at least every ``BOUNDED_EVERY`` seconds, too."""
BOUNDED_EVERY = 3600.0

_PAGE = 4096
"""Bytes of a page of the file."""
_MUCH = 8
"""More than one page in so many."""
HISTORY = Kind(
    "history",
    0x44434D48,  # «DCMH»
    ("history_schema.sql",),
    checked=False,
    remedy="a new one begins",
    settings=(f"page_size={_PAGE}", "auto_vacuum=INCREMENTAL"),
)
_SQL = statements("history.sql")
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


class SqliteHistory:
    """The history in the file at ``path``: ``open``, then ``run`` in a task group, then ``close``, after the queue.

    A ``promise`` is written by whoever makes it, in his thread, after all notes before it.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime],
        keep: timedelta,
        size: int,
        report: Callable[[str], None],
        runner: Runner = in_thread,
    ) -> None:
        """A history.

        Args:
            path: of the file.
            clock: the time of day.
            keep: how long what happened is kept.
            size: bytes of what is kept, the oldest go first; the file may be an eighth larger.
            report: told in a sentence what is wrong with it; in the event loop.
            runner: where the disk is worked on.
        """
        self.lost = 0
        """Happenings that were not written."""
        self._clock = clock
        self._keep = keep
        self._size = size
        self._report = report
        self._runner = runner
        self._database = Database(path, runner, HISTORY)
        self._reading = Reading(path, runner, name=HISTORY.name)
        self._waiting: deque[Happening] = deque()
        self._noted = Event()
        self._turn = Lock()
        """Of the writer's connection: promises come from another thread."""
        self._written = 0
        """Since the bounds were looked at."""
        self._trouble = ""
        self._told_trouble = ""
        self._told_lost = 0

    def open(self) -> None:
        """Open or create the file. A damaged one is set aside, and the log says so.

        Raises:
            QueueError: it is not ours, from a newer version, or the disk fails.
        """
        try:
            self._database.open(_nothing)
        except DamagedError as error:
            self._trouble = f"{error}; it was moved to {self._database.set_aside(self._clock())}, and a new one begins"
            self._database.open(_nothing)
        self._reading.open()

    def close(self) -> None:
        """Write what is still noted, copy the log into the database file, and close; a damaged file is set aside.

        Raises:
            QueueError: the disk failed; what was committed is in the log.
        """
        self._reading.close()
        if self._waiting:
            self._write((), full=False)
        try:
            self._database.close(_nothing)
        finally:
            if self._database.damage:
                self._database.set_aside(self._clock())

    @property
    def new(self) -> bool:
        """Whether it was empty when it was opened."""
        return self._database.created

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Write what is noted and forget what is too old, until cancelled; ``close`` writes the rest."""
        task_status.started()
        self._written = BOUNDED_AFTER
        while True:
            await self._keep_bounds()
            self._tell()
            with move_on_after(BOUNDED_EVERY) as waiting:
                await self._noted.wait()
                self._noted = Event()
                await sleep(GATHERED_FOR)
            if waiting.cancelled_caught:
                self._written = BOUNDED_AFTER
            await self._write_noted()

    def note(self, happenings: Sequence[Happening]) -> None:
        """These happened; in the event loop, and nobody waits for the disk."""
        room = WAITING - len(self._waiting)
        self._waiting.extend(happenings[:room])
        self.lost += max(0, len(happenings) - room)
        self._noted.set()

    def promise(self, happenings: Sequence[Happening]) -> None:
        """These are about to be committed; returns when they are on stable storage, or cannot be. Blocks."""
        self._write(happenings, full=True)

    async def story(self, instance: str, limit: int = 1000) -> Sequence[Happening]:
        """What happened to an instance at all destinations, in order; by ULID or SOP Instance UID."""
        statement = "story_of_ulid" if is_ulid(instance) else "story_of_sop_instance"
        rows = await self._ask(statement, {"instance": instance, "limit": limit})
        return [_happening(row, row["error_comment"]) for row in rows]

    async def search(self, search: Search) -> Sequence[Happening]:
        """What matches, the latest first."""
        always_since, always_until = _ALWAYS
        rows = await self._ask(
            _path(search),
            {
                "destination": search.destination,
                "study": search.study,
                "accession_number": search.accession_number,
                "what": search.what,
                "since": micros(search.since or always_since),
                "until": micros(search.until or always_until),
                "limit": search.limit,
            },
        )
        return [_happening(row) for row in rows]

    async def latest(self, ulids: Sequence[str]) -> Mapping[str, Mapping[str, Happening]]:
        """Of these instances, ULID → destination → what happened there last."""
        latest: dict[str, dict[str, Happening]] = {}
        for row in await self._ask("of_instances", {"ulids": json.dumps(ulids)}):
            latest.setdefault(row["ulid"], {})[row["destination"]] = _happening(row)
        return latest

    async def _ask(self, statement: str, values: Mapping[str, str | int | None]) -> Sequence[sqlite3.Row]:
        await self._write_noted()
        return await self._reading.ask(_SQL[statement], values)

    async def _write_noted(self) -> None:
        if self._waiting:
            await self._runner(lambda: self._write((), full=False))

    def _write(self, happenings: Iterable[Happening], *, full: bool) -> None:
        with self._turn:
            # Together with what was noted before, so that what happened last to a delivery stands last.
            rows = [_values(self._waiting.popleft()) for _ in range(len(self._waiting))]
            rows += map(_values, happenings)
            try:
                self._database.execute(lambda connection: connection.executemany(_SQL["note"], rows), full=full)
            except QueueError as error:
                self.lost += len(rows)
                self._trouble = f"{error}. The daemon goes on, but what happens to deliveries is not recorded"
            else:
                self._trouble = ""
                self._written += len(rows)

    async def _keep_bounds(self) -> None:
        if self._written < BOUNDED_AFTER:
            return
        self._written = 0
        try:
            while await self._runner(self._forget):
                pass
        except QueueError as error:
            self._trouble = str(error)

    def _forget(self) -> bool:
        """One small piece of it, so that promises need not wait; whether there may be more."""
        wanted = {"before": micros(self._clock() - self._keep), "limit": FORGOTTEN_AT_ONCE}

        def forget(connection: sqlite3.Connection) -> tuple[int, int, int]:
            gone = connection.execute(_SQL["forget_old"], wanted).rowcount
            pages, free = _pages(connection)
            if (pages - free) * _PAGE > self._size:
                gone += connection.execute(_SQL["forget_oldest"], wanted).rowcount
            return gone, *_pages(connection)

        with self._turn:
            gone, pages, free = self._database.execute(forget)
            # What was forgotten is room for what comes next; only much of it goes back to the disk.
            if free * _MUCH > pages:
                self._database.shrink(pages=FORGOTTEN_AT_ONCE)
            return gone >= FORGOTTEN_AT_ONCE or free * _MUCH > pages

    def _tell(self) -> None:
        """Say what is wrong once; and afterwards, what is missing."""
        if self._trouble and not self._told_trouble:
            self._report(self._trouble)
        elif not self._trouble and self.lost > self._told_lost:
            self._report(f"the history lacks {self.lost - self._told_lost} happenings")
            self._told_lost = self.lost
        self._told_trouble = self._trouble


def _path(search: Search) -> str:
    """The statement whose index leaves the least to sort out."""
    match search:
        case Search(study=str()):
            return "by_study"
        case Search(accession_number=str()):
            return "by_accession_number"
        case Search(what=Happened() as what, destination=str()) if what is not Happened.DELIVERED:
            return "by_trouble_at_destination"
        case Search(what=Happened() as what) if what is not Happened.DELIVERED:
            return "by_trouble"
        case Search(destination=str()):
            return "by_destination"
        case _:
            return "by_time"


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many the file has, and how many of them are free."""
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return pages, free


def _nothing(connection: sqlite3.Connection) -> None:
    """No statement."""


def _values(happening: Happening) -> tuple[str | int | None, ...]:
    return (
        micros(happening.at),
        happening.what,
        happening.ulid,
        happening.delivery,
        happening.destination,
        happening.sop_class,
        happening.sop_instance,
        happening.study,
        happening.accession_number,
        happening.calling_ae_title,
        happening.size,
        happening.stored_transfer_syntax,
        happening.transfer_syntax,
        happening.strategy,
        happening.associations,
        happening.status,
        happening.cause,
        happening.error,
        happening.error_comment,
    )


def _happening(row: sqlite3.Row, error_comment: str = "") -> Happening:
    return Happening(
        at=instant(row["at"]),
        what=Happened(row["what"]),
        ulid=row["ulid"],
        delivery=row["delivery"],
        destination=row["destination"],
        sop_class=row["sop_class"],
        sop_instance=row["sop_instance"],
        study=row["study"],
        accession_number=row["accession_number"],
        calling_ae_title=row["calling_ae_title"],
        size=row["size"],
        stored_transfer_syntax=row["stored_transfer_syntax"],
        transfer_syntax=row["transfer_syntax"],
        strategy=row["strategy"],
        associations=row["associations"],
        status=row["status"],
        cause=None if row["cause"] is None else Cause(row["cause"]),
        error=row["error"],
        error_comment=error_comment,
    )
