"""Operators' questions."""

from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from router.durable.queue import Query, QueueError, Tally
from router.durable.sqlite import SqliteDesk
from router.model.delivery import Order, State
from router.model.outcome import Cause
from tests.durable.world import MINUTE, NOON, World

pytestmark = pytest.mark.trust


async def test_entries_match_every_part_of_the_question(world: World) -> None:
    """Destination, state, cause, sender, age and limit; oldest first."""
    async with world.running("A", "B"):
        await world.accepted("A", "B")
        await world.accepted(Order("A", State.HELD, Cause.LOOP, "it came back"), calling="MR1")
        world.clock.advance(timedelta(hours=2))
        await world.accepted(Order("", State.HELD, Cause.NO_ROUTE))
        questions = {
            Query(): [1, 2, 3, 4],
            Query(limit=2): [1, 2],
            Query(destination="A"): [1, 3],
            Query(destination=""): [4],
            Query(state=State.HELD): [3, 4],
            Query(cause=Cause.LOOP): [3],
            Query(calling_ae_title="MR1"): [3],
            Query(older_than=timedelta(hours=1)): [1, 2, 3],
            Query(destination="A", state=State.QUEUED, calling_ae_title="MR1"): [],
        }
        for query, wanted in questions.items():
            assert [entry.id for entry in await world.desk.entries(query, world.clock())] == wanted


async def test_an_entry_tells_the_delivery_and_its_instance(world: World) -> None:
    """With everything that an operator may want to see; None for a number that is none."""
    async with world.running("A"):
        arrived = await world.accepted(Order("A", State.HELD, Cause.LOOP, "it came back"))
        entry = await world.desk.entry(1)
        assert entry is not None
        assert (entry.ulid, entry.path, entry.size) == (arrived.ulid, str(arrived.path), arrived.size)
        assert (entry.envelope, entry.identity, entry.study) == (arrived.envelope, arrived.identity, arrived.study)
        assert (entry.state, entry.cause, entry.error) == (State.HELD, Cause.LOOP, "it came back")
        assert (entry.next_attempt_at, entry.last_attempt_at, entry.status) == (None, None, None)
        assert await world.desk.entry(2) is None


async def test_tallies_count_per_destination_and_state(world: World) -> None:
    """With the bytes, and the age of the oldest."""
    async with world.running("A", "B"):
        first = await world.accepted("A", "B", content=b"12345")
        world.clock.advance(MINUTE)
        second = await world.accepted("A", Order("B", State.DROPPED))
        assert await world.desk.tallies() == [
            Tally("A", State.QUEUED, 2, first.size + second.size, NOON),
            Tally("B", State.DROPPED, 1, second.size, None),
            Tally("B", State.QUEUED, 1, first.size, NOON),
        ]


async def test_known_instances_and_paths(world: World) -> None:
    """For the scan at start, however long the list is."""
    async with world.running("A"):
        arrivals = [await world.accepted("A") for _ in range(3)]
        asked = [arrived.ulid for arrived in arrivals[1:]] + [f"{number:026}" for number in range(5000)]
        assert await world.desk.known(asked) == {arrived.ulid for arrived in arrivals[1:]}
        assert set(await world.desk.paths()) == {str(arrived.path) for arrived in arrivals}


async def test_many_may_ask_at_once(world: World) -> None:
    """They take turns on the one connection, while the writer writes."""
    async with world.running("A"), anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(world.desk.tallies)
            group.start_soon(world.accepted, "A")


async def test_the_desk_cannot_write(world: World) -> None:
    """Its connection only reads."""
    async with world.running("A"):

        def write() -> None:
            assert world.desk._reading._connection is not None
            world.desk._reading._connection.execute("DELETE FROM destination")

        with pytest.raises(Exception, match="readonly"):
            await world.disk_work(write)


async def test_a_desk_without_a_queue_says_so(folder: Path, world: World) -> None:
    """No file; not open; a damaged file."""
    desk = SqliteDesk(folder / "queue.db", runner=world.disk_work)
    with pytest.raises(QueueError, match="cannot be read"):
        await world.disk_work(desk.open)
    with pytest.raises(QueueError, match="not open"):
        await desk.tallies()
    (folder / "queue.db").write_bytes(b"no database " * 1000)
    await world.disk_work(desk.open)
    with pytest.raises(QueueError, match="cannot be read"):
        await desk.tallies()
    desk.close()
    desk.close()
