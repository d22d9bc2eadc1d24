"""The SQLite file: opening, versions, and commits that fail."""

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import anyio
import pytest

from router.durable import database
from router.durable.database import Database
from router.durable.queue import QueueError
from router.durable.runner import inline
from router.durable.sqlite_file import APPLICATION, MIGRATIONS, DamagedError
from router.durable.values import statements
from router.model.delivery import Order, Standing, State
from tests.durable.world import NOON, World

pytestmark = pytest.mark.trust


def nothing(connection: sqlite3.Connection) -> None:
    """No statement."""


def pragma(path: Path, name: str) -> object:
    """What another program reads in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_file_is_ours(tmp_path: Path) -> None:
    """It says what it is, in which version; opening it again changes nothing."""
    path = tmp_path / "queue.db"
    for _ in range(2):
        opened = Database(path, inline)
        opened.open(nothing)
        opened.close(nothing)
        opened.close(nothing)
        assert pragma(path, "application_id") == APPLICATION
        assert pragma(path, "user_version") == len(MIGRATIONS)
        assert pragma(path, "journal_mode") == "wal"


def test_the_settings_are_those_of_the_design(tmp_path: Path) -> None:
    """What durability and safety depend on is set on the writer's connection."""
    opened = Database(tmp_path / "queue.db", inline)
    wanted = {
        "synchronous": 2,
        "foreign_keys": 1,
        "wal_autocheckpoint": 0,
        "mmap_size": 0,
        "journal_size_limit": 1 << 26,
    }
    found: dict[str, int] = {}

    def look(connection: sqlite3.Connection) -> None:
        for name in wanted:
            found[name] = connection.execute(f"PRAGMA {name}").fetchone()[0]

    opened.open(look)
    opened.close(nothing)
    assert found == wanted


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (f"PRAGMA application_id={APPLICATION}; PRAGMA user_version=99", r"newer dicom-router \(schema 99"),
        ("PRAGMA application_id=7", "not a queue of dicom-router"),
        ("CREATE TABLE somebody(s INTEGER)", "not a queue of dicom-router"),
        (f"PRAGMA application_id={APPLICATION}; CREATE TABLE instance(s)", "cannot be opened: table instance already"),
    ],
)
def test_what_is_not_our_queue_is_left_alone(tmp_path: Path, script: str, sentence: str) -> None:
    """A newer version, another program's file, a half-made one: a sentence, and no change."""
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    with pytest.raises(QueueError, match=sentence):
        Database(path, inline).open(nothing)


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    """So that its owner can begin a new one: the spool has everything."""
    path = tmp_path / "queue.db"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(DamagedError, match="is damaged"):
        Database(path, inline).open(nothing)


def test_a_bad_end_is_said(tmp_path: Path) -> None:
    """The last statements fail; the connection is closed all the same."""
    opened = Database(tmp_path / "queue.db", inline)
    opened.open(nothing)
    with pytest.raises(QueueError, match="not closed well"):
        opened.close(lambda connection: connection.execute("nonsense"))
    opened.open(nothing)
    opened.close(nothing)


def test_every_statement_is_legal(tmp_path: Path) -> None:
    """SQLite can prepare each statement of the file by name, and the file has nothing else."""
    queue = statements("queue.sql")
    text = resources.files("router.durable").joinpath("queue.sql").read_text("utf-8")
    assert len(queue) == text.count("\n-- :") > 30

    class Zero(dict[str, object]):
        def __missing__(self, key: str) -> object:
            return 0

    def prepare(connection: sqlite3.Connection) -> None:
        for sql in queue.values():
            connection.execute(f"EXPLAIN {sql}", Zero())

    opened = Database(tmp_path / "queue.db", inline)
    opened.open(prepare)
    opened.close(nothing)


def break_the_commit(connection: sqlite3.Connection) -> None:
    """A delivery without an instance, which only the COMMIT finds."""
    connection.execute("PRAGMA defer_foreign_keys=ON")
    connection.execute(
        "INSERT INTO delivery (instance, destination, state, size, priority, first_of, due, worked_from) "
        "VALUES (999, 'A', 'held', 0, 1, '[]', 0, 0)"
    )


async def test_a_failed_commit_fails_all_of_its_batch(world: World) -> None:
    """Nothing of it happened, and the queue goes on with the next batch; payloads are left in S3."""
    async with world.running("A"):
        arrived = await world.disk_work(world.sealed)
        refused: list[str] = []

        async def expect_refusal(broken: object) -> None:
            try:
                if broken:
                    await world.queue._database.submit(break_the_commit)
                else:
                    await world.queue.accept(arrived, [Order("A")])
            except QueueError as error:
                refused.append(str(error))

        async with anyio.create_task_group() as group:
            for broken in ("broken", ""):
                group.start_soon(expect_refusal, broken)
        assert len(refused) == 2
        assert all("FOREIGN KEY" in sentence and "Nothing was promised" in sentence for sentence in refused)
        assert await world.entries() == []
        assert world.files() == {arrived.path.name}
        assert await world.queue.adopt(arrived, [Order("A")])
        assert await world.states() == [State.QUEUED]


async def test_a_transaction_that_sqlite_ended_fails_all(world: World) -> None:
    """On a full or failing disk SQLite may roll back by itself, in the middle of an operation."""

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    async with world.running("A"):
        with pytest.raises(QueueError, match="database or disk is full"):
            await world.queue._database.submit(fail)
        await world.queue.standings.stand("A", Standing(failures=1), NOON)


async def test_after_a_failed_commit_the_log_is_renewed_first(world: World) -> None:
    """Until the log was copied completely nothing is committed: it may have a hole on the disk."""
    async with world.running("A"):
        reader = sqlite3.connect(world.directory / "queue.db", check_same_thread=False)
        await world.disk_work(lambda: reader.executescript("BEGIN; SELECT * FROM destination"))
        await world.disk_work(lambda: world.connection.execute("PRAGMA busy_timeout=0"))
        await world.queue.standings.stand("A", Standing(failures=1), NOON)
        with pytest.raises(QueueError, match="FOREIGN KEY"):
            await world.queue._database.submit(break_the_commit)
        arrived = await world.disk_work(world.sealed)
        with pytest.raises(QueueError, match="has not recovered"):
            await world.queue.accept(arrived, [Order("A")])
        assert world.files() == {f"{arrived.ulid}.part"}
        await world.disk_work(reader.close)
        await world.queue.accept(arrived, [Order("A")])
        assert await world.states() == [State.QUEUED]


async def test_a_failed_checkpoint_makes_the_log_doubtful(world: World) -> None:
    """Its fsync may have failed as well: the next batch renews the log first."""
    async with world.running("A"):
        opened = world.queue._database

        def fail() -> bool:
            world.connection.execute("BEGIN IMMEDIATE")
            world.connection.execute("UPDATE destination SET failures = 9")
            try:
                return opened._checkpoint(world.connection, "PASSIVE")
            finally:
                world.connection.execute("ROLLBACK")

        assert not await world.disk_work(fail)
        assert opened._doubtful
        await world.queue.standings.stand("A", Standing(failures=1), NOON)
        assert not opened._doubtful


async def test_the_log_is_copied_when_enough_has_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the waiters were answered, and not at every commit."""
    monkeypatch.setattr(database, "CHECKPOINT_AFTER", 10)
    async with world.running("A"):
        traced: list[str] = []
        world.connection.set_trace_callback(traced.append)
        for failures in range(30):
            await world.queue.standings.stand("A", Standing(failures=failures), NOON)
        await world.queue.next_due("A")
        world.connection.set_trace_callback(None)
        assert 2 <= traced.count("PRAGMA wal_checkpoint(PASSIVE)") <= 7
        first = traced.index("PRAGMA wal_checkpoint(PASSIVE)")
        assert traced[first - 1] == "COMMIT"


async def test_a_queue_that_is_not_open_does_not_run(world: World) -> None:
    """A mistake in the daemon's order shows at once."""

    async def ask() -> None:
        with pytest.raises(QueueError, match="ended before"):
            await world.queue.next_due("A")

    with pytest.RaisesGroup(pytest.RaisesExc(QueueError, match="is not open")):
        async with anyio.create_task_group() as group:
            group.start_soon(world.queue.run)
            group.start_soon(ask)
