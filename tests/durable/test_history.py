"""The history: what is kept of what happened, for how long, and that nothing depends on it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from router.durable import sqlite_history
from router.durable.history import Happened, Happening, Search
from router.durable.queue import QueueError
from router.durable.runner import Runner, in_thread, inline
from router.durable.sqlite_history import BOUNDED_AFTER, BOUNDED_EVERY, FORGOTTEN_AT_ONCE, GATHERED_FOR, SqliteHistory
from router.model.outcome import Cause
from router.model.ulid import ulid
from tests.durable.world import MINUTE, NOON, Clock

pytestmark = pytest.mark.trust

ULID = ulid(NOON, lambda _: 1)
OTHER = ulid(NOON, lambda _: 2)
DELIVERED = Happening(
    at=NOON,
    what=Happened.DELIVERED,
    ulid=ULID,
    delivery=1,
    destination="A",
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    sop_instance="2.25.1",
    study="2.25.9",
    accession_number="A1",
    calling_ae_title="CT1",
    size=1000,
    stored_transfer_syntax="1.2.840.10008.1.2.1",
    transfer_syntax="1.2.840.10008.1.2",
    strategy="conservative",
    associations=2,
    status=0,
    cause=None,
    error="",
)
HELD = replace(DELIVERED, what=Happened.HELD, cause=Cause.OPERATOR, error="an operator keeps it back", status=None)


class Chronicle:
    """A history, and what it said was wrong with it."""

    def __init__(self, folder: Path, runner: Runner, *, size: int = 1 << 30) -> None:
        self.path = folder / "history.db"
        self.clock = Clock()
        self.runner = runner
        self.said: list[str] = []
        self.history = SqliteHistory(
            self.path, clock=self.clock, keep=timedelta(days=90), size=size, report=self.said.append, runner=runner
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SqliteHistory]:
        """Open, and with its writer at work."""
        await self.runner(self.history.open)
        try:
            async with anyio.create_task_group() as group:
                await group.start(self.history.run)
                yield self.history
                group.cancel_scope.cancel()
        finally:
            await self.runner(self.history.close)

    def rows(self) -> int:
        """How many are in the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM happening").fetchone()
        assert isinstance(count, int)
        return count


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """A clock that jumps to whatever comes next."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def chronicle(folder: Path) -> Chronicle:
    """Not open yet."""
    return Chronicle(folder, inline)


async def settled() -> None:
    """Virtual time in which everything that was noted is written, and everything that is wrong is said."""
    await anyio.sleep(4 * GATHERED_FOR)


async def test_what_is_noted_is_told_as_it_was(chronicle: Chronicle) -> None:
    """Every field; the peer's comment only in a story."""
    noted = replace(HELD, error_comment="as the peer says")
    async with chronicle.running() as history:
        history.note([noted])
        assert await history.story(ULID) == [noted]
        assert await history.story("2.25.1") == [noted]
        assert await history.search(Search()) == [HELD]
        assert await history.story(OTHER) == []
    assert chronicle.said == []


async def test_a_story_is_in_order_though_clocks_are_set(chronicle: Chronicle) -> None:
    """And tells all destinations."""
    life = [
        replace(DELIVERED, what=Happened.DEFERRED),
        replace(DELIVERED, destination="B", at=NOON - MINUTE),
        replace(DELIVERED, at=NOON - 2 * MINUTE),
    ]
    async with chronicle.running() as history:
        history.note(life)
        assert await history.story(ULID) == life
        assert await history.story(ULID, limit=2) == life[:2]


async def test_searches_match_every_part_of_the_question(chronicle: Chronicle) -> None:
    """The latest first; whatever index serves it."""
    happened = [
        DELIVERED,
        replace(DELIVERED, at=NOON + MINUTE, destination="B", what=Happened.DEAD),
        replace(DELIVERED, at=NOON + 2 * MINUTE, study="2.25.8", accession_number="A2"),
        replace(DELIVERED, at=NOON + 3 * MINUTE, study="", accession_number="", what=Happened.DEFERRED),
        replace(DELIVERED, at=NOON + 4 * MINUTE, what=Happened.DEAD),
    ]
    questions = {
        Search(): [4, 3, 2, 1, 0],
        Search(limit=2): [4, 3],
        Search(study="2.25.9"): [4, 1, 0],
        Search(study="2.25.9", destination="A", what=Happened.DELIVERED): [0],
        Search(study="2.25.9", accession_number="A2"): [],
        Search(accession_number="A1"): [4, 1, 0],
        Search(accession_number="A1", destination="B", what=Happened.DEAD): [1],
        Search(accession_number=""): [],
        Search(destination="A"): [4, 3, 2, 0],
        Search(destination="A", what=Happened.DELIVERED): [2, 0],
        Search(destination="A", what=Happened.DEAD): [4],
        Search(what=Happened.DEAD): [4, 1],
        Search(what=Happened.DELIVERED): [2, 0],
        Search(since=NOON + MINUTE, until=NOON + 3 * MINUTE): [2, 1],
        Search(destination="A", since=NOON + MINUTE, until=NOON + 4 * MINUTE): [3, 2],
        Search(what=Happened.DEAD, until=NOON + 4 * MINUTE): [1],
        Search(destination="A", what=Happened.DEAD, since=NOON + 5 * MINUTE): [],
    }
    async with chronicle.running() as history:
        history.note(happened)
        for question, wanted in questions.items():
            assert [happened.index(each) for each in await history.search(question)] == wanted, question


async def test_the_latest_is_what_happened_last_at_each_destination(chronicle: Chronicle) -> None:
    """As it was noted, whatever the clock said; for as many instances as are asked for."""
    async with chronicle.running() as history:
        history.note([DELIVERED, replace(DELIVERED, destination="B"), replace(HELD, ulid=OTHER)])
        history.note([replace(HELD, at=NOON - MINUTE)])
        latest = await history.latest([ULID, *(f"{number:026}" for number in range(5000))])
        assert {name: each.what for name, each in latest[ULID].items()} == {
            "A": Happened.HELD,
            "B": Happened.DELIVERED,
        }
        assert latest.keys() == {ULID}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_promise_is_durable_and_comes_after_what_was_noted(folder: Path) -> None:
    """In one FULL commit, in the thread of who makes it: what was noted before is what happened before."""
    chronicle = Chronicle(folder, in_thread)
    async with chronicle.running() as history:
        traced: list[str] = []
        history._database._opened().set_trace_callback(traced.append)
        history.note([DELIVERED])
        await in_thread(lambda: history.promise([HELD]))
        transaction = traced[traced.index("PRAGMA synchronous=FULL") :]
        transaction = transaction[: transaction.index("COMMIT")]
        assert sum(statement.startswith("INSERT") for statement in transaction) == 2
        assert [each.what for each in await history.story(ULID)] == [Happened.DELIVERED, Happened.HELD]


async def test_notes_are_gathered(chronicle: Chronicle) -> None:
    """What happens within a moment is one NORMAL commit."""
    async with chronicle.running() as history:
        await settled()
        traced: list[str] = []
        history._database._opened().set_trace_callback(traced.append)
        for _ in range(100):
            history.note([DELIVERED])
        await settled()
        assert chronicle.rows() == 100
        assert traced.count("COMMIT") == 1
        assert not history._database._full


async def test_what_was_noted_last_is_written_at_the_end(chronicle: Chronicle) -> None:
    """A daemon that stops in order leaves nothing out; the next one adds to it."""
    for times in (1, 2):
        async with chronicle.running() as history:
            history.note([DELIVERED])
        assert chronicle.rows() == times


async def test_more_notes_than_there_is_room_for_are_counted(
    chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded; the log says how many are missing."""
    monkeypatch.setattr(sqlite_history, "WAITING", 10)
    async with chronicle.running() as history:
        history.note([DELIVERED] * 8)
        history.note([DELIVERED] * 8)
        history.note([DELIVERED])
        assert history.lost == 7
        await settled()
    assert chronicle.rows() == 10
    assert chronicle.said == ["the history lacks 7 happenings"]


async def test_the_daemon_goes_on_without_its_history(chronicle: Chronicle) -> None:
    """A disk that is full: said once, counted; and when it can be written again, how many are missing."""
    async with chronicle.running() as history:
        await settled()
        connection = history._database._opened()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        for _ in range(2):
            history.note([replace(DELIVERED, sop_instance=f"2.25.{number}") for number in range(500)])
            await settled()
        history.promise([replace(HELD, error="." * 10_000)])
        assert history.lost == 1001
        connection.execute("PRAGMA max_page_count=1000000")
        history.note([DELIVERED])
        await settled()
    first, second = chronicle.said
    assert "could not commit" in first
    assert "goes on" in first
    assert second == "the history lacks 1001 happenings"
    assert chronicle.rows() == 1


async def test_what_is_too_old_is_forgotten(chronicle: Chronicle) -> None:
    """At the start, after so many have been written, and every hour; all of it, in small pieces."""
    old = [replace(DELIVERED, at=NOON - timedelta(days=91))]
    async with chronicle.running() as history:
        await settled()
        history.note(old * (BOUNDED_AFTER - 1))
        await settled()
        assert chronicle.rows() == BOUNDED_AFTER - 1
        await anyio.sleep(BOUNDED_EVERY)
        assert chronicle.rows() == 0
        history.note([DELIVERED])
        history.note(old * (2 * FORGOTTEN_AT_ONCE + 1))
        await settled()
        assert chronicle.rows() == 1
        history.note(old)
    assert chronicle.rows() == 2
    async with chronicle.running():
        await settled()
    assert chronicle.rows() == 1


async def test_the_file_keeps_its_size(folder: Path) -> None:
    """The oldest go first, and their room is given back."""
    chronicle = Chronicle(folder, inline, size=1 << 20)
    async with chronicle.running() as history:
        for begin in range(0, 6000, BOUNDED_AFTER):
            numbers = range(begin, begin + BOUNDED_AFTER)
            history.note([replace(DELIVERED, delivery=number, ulid=f"{number:026}") for number in numbers])
            await settled()
        kept = [each.delivery for each in await history.search(Search(limit=10_000))]
    assert chronicle.path.stat().st_size <= (1 << 20) * 8 / 7
    assert 1000 < len(kept) < 6000
    assert kept == list(range(5999, 5999 - len(kept), -1))
    assert chronicle.said == []


async def test_bounds_that_cannot_be_kept_are_said(chronicle: Chronicle) -> None:
    """It is tried again later."""
    async with chronicle.running() as history:
        await settled()
        history._database._opened().execute("ALTER TABLE happening RENAME TO elsewhere")
        await anyio.sleep(BOUNDED_EVERY)
        await settled()
    assert "no such table: happening" in chronicle.said[0]


async def test_room_that_cannot_be_given_back_is_said(chronicle: Chronicle) -> None:
    """What was forgotten is forgotten all the same, and its room is used again."""
    old = replace(DELIVERED, at=NOON - timedelta(days=91))

    def deny(action: int, name: str | None, *_: object) -> int:
        denied = action == sqlite3.SQLITE_PRAGMA and name == "incremental_vacuum"
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    async with chronicle.running() as history:
        history._database._opened().set_authorizer(deny)
        history.note([old] * BOUNDED_AFTER)
        await settled()
    assert "cannot be made smaller" in chronicle.said[0]
    assert chronicle.rows() == 0


@pytest.mark.parametrize("damage", [b"no database " * 1000, b""], ids=["overwritten", "emptied"])
async def test_a_damaged_history_is_set_aside(chronicle: Chronicle, damage: bytes) -> None:
    """A new one begins, and nobody has to do anything; the log says so."""
    async with chronicle.running() as history:
        history.note([DELIVERED])
    chronicle.path.write_bytes(damage)
    async with chronicle.running() as history:
        history.note([HELD])
        assert await history.story(ULID) == [HELD]
    aside = [path.name for path in chronicle.path.parent.glob("history.db.damaged-*")]
    assert aside == (["history.db.damaged-20310507T120000Z"] if damage else [])
    assert [aside[0] in sentence for sentence in chronicle.said] == [True] * len(aside)


async def test_damage_that_shows_later_is_set_aside_at_the_end(chronicle: Chronicle) -> None:
    """The daemon goes on, and the next start finds a new one."""
    async with chronicle.running() as history:
        history.note([replace(DELIVERED, delivery=number) for number in range(2000)])
    content = bytearray(chronicle.path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    chronicle.path.write_bytes(content)
    async with chronicle.running() as history:
        history.note([DELIVERED])
        with pytest.raises(QueueError, match="cannot be read"):
            await history.story(ULID)
        await settled()
    assert "malformed" in chronicle.said[0]
    assert not chronicle.path.exists()


async def test_what_is_not_our_history_is_left_alone(chronicle: Chronicle) -> None:
    """Another program's file is not ours to move."""
    with closing(sqlite3.connect(chronicle.path)) as connection:
        connection.executescript("PRAGMA application_id=7; CREATE TABLE somebody(s)")
    with pytest.raises(QueueError, match="not a history of dicom-router"):
        await chronicle.runner(chronicle.history.open)


async def test_a_history_that_is_not_open_says_so(chronicle: Chronicle) -> None:
    """A mistake in the daemon's order shows at once; so does a reader without a file."""
    with pytest.raises(QueueError, match="is not open"):
        await chronicle.history.story(ULID)
    with pytest.raises(QueueError, match="cannot be read"):
        chronicle.history._reading.open()
    chronicle.history._reading.close()


def test_the_moments_are_sensible() -> None:
    """A history lags by less than a second, and is looked after every hour."""
    assert GATHERED_FOR < 1
    assert BOUNDED_EVERY == 3600
