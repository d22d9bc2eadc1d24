"""From the queue to the history: everything that happens to a delivery, once, and in order."""

import errno
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from router.durable import notes
from router.durable.census import Census
from router.durable.history import Happened, Happening, Search
from router.durable.queue import QueueError
from router.durable.sqlite_file import DamagedError
from router.model.delivery import Order, Settlement, State, Terms, Wanted
from router.model.destination import Strategy
from router.model.outcome import Cause
from tests.durable.test_database import break_the_commit
from tests.durable.world import MINUTE, NOON, World

pytestmark = pytest.mark.trust

DEAD: dict[str, Any] = {"cause": Cause.REFUSED, "error": "refused", "status": 0xC000}


async def told(world: World, sop_instance: str = "2.25.1") -> Sequence[tuple[str, str]]:
    """What happened to an instance, where."""
    return [(each.what.value, each.destination) for each in await world.history.story(sop_instance)]


async def settle(world: World, state: State, destination: str = "A", **more: Any) -> None:
    """How everything that is due for a destination goes on."""
    claim = await world.queue.claim(destination, "test", Wanted(100), world.clock.advance(MINUTE))
    assert claim.deliveries
    settlements = [Settlement(each.id, state, **more) for each in claim.deliveries]
    await world.queue.settle(claim, settlements, world.clock())


async def test_a_life_is_told(world: World) -> None:
    """Attempts as they ended, and what operators did; neither claims nor what was given back."""
    async with world.running("A", "B"):
        await world.accepted("A", "B")
        await world.queue.give_back(await world.queue.claim("A", "test", Wanted(1), NOON))
        await world.queue.claim("A", "test", Wanted(1), NOON)
        await world.queue.recover("test", NOON)
        assert await told(world) == []
        await settle(world, State.QUEUED, **DEAD)
        await settle(world, State.QUEUED, **DEAD)
        await settle(world, State.DEAD, **DEAD)
        await world.queue.interventions.revive([1], NOON)
        await world.queue.interventions.hold([1], NOON)
        await world.queue.interventions.revive([1], NOON, Strategy.UNIVERSAL)
        await world.queue.interventions.revive([1], NOON)
        await settle(world, State.DELIVERED, status=0)
        await world.queue.interventions.resend([1], None, NOON)
        await world.queue.interventions.drop([3], NOON)
        await world.queue.interventions.readdress([2], "A", NOON)
        assert await told(world) == [
            ("deferred", "A"),
            ("deferred", "A"),
            ("dead", "A"),
            ("resumed", "A"),
            ("held", "A"),
            ("resumed", "A"),
            ("resumed", "A"),
            ("delivered", "A"),
            ("queued", "A"),
            ("dropped", "A"),
            ("moved", "B"),
            ("queued", "A"),
        ]
    assert world.said == []


async def test_what_is_told_is_what_was_known(world: World) -> None:
    """Of the instance, and of the attempt."""
    async with world.running("A"):
        arrived = await world.accepted("A", calling="MR1", study="2.25.7")
        await settle(
            world,
            State.DELIVERED,
            status=0xB000,
            strategy="universal",
            transfer_syntax="1.2.840.10008.1.2",
            associations=3,
            error_comment="as the peer says",
        )
        (happening,) = await world.history.story(arrived.ulid)
    assert (happening.at, happening.what, happening.delivery) == (NOON + MINUTE, Happened.DELIVERED, 1)
    assert (happening.ulid, happening.size, happening.destination) == (arrived.ulid, arrived.size, "A")
    assert (happening.sop_class, happening.sop_instance) == (arrived.identity.sop_class, "2.25.1")
    assert (happening.study, happening.accession_number, happening.calling_ae_title) == ("2.25.7", "A1", "MR1")
    assert happening.stored_transfer_syntax == arrived.identity.transfer_syntax
    assert (happening.transfer_syntax, happening.strategy, happening.associations) == (
        "1.2.840.10008.1.2",
        "universal",
        3,
    )
    assert (happening.status, happening.cause, happening.error) == (0xB000, None, "")
    assert happening.error_comment == "as the peer says"


async def test_what_is_not_sent_from_the_beginning_is_told(world: World) -> None:
    """No route, a duplicate, over the quota; not what is simply owed."""
    once = Terms(once_within=timedelta(hours=1))
    async with world.running("A", "B", "C"):
        await world.accepted(Order("", State.HELD, Cause.NO_ROUTE, "no route"), sop_instance="2.25.1")
        await world.accepted(Order("A", terms=once), sop_instance="2.25.2")
        await world.accepted(Order("A", terms=once), Order("B"), sop_instance="2.25.2")
        best_effort = Terms(quota=1, best_effort=True)
        await world.accepted(Order("C", terms=best_effort), sop_instance="2.25.3")
        assert await told(world, "2.25.1") == [("held", "")]
        assert await told(world, "2.25.2") == [("dropped", "A"), ("queued", "B")]
        assert await told(world, "2.25.3") == [("dead", "C")]


async def test_configurations_are_told(world: World) -> None:
    """A destination that goes, comes back, gets another name; and a payload that is lost."""
    async with world.running("A"):
        arrived = await world.accepted("A")
        await world.queue.standings.configured({"B": None}, NOON)
        await world.queue.standings.configured({"A": None}, NOON)
        await world.queue.standings.configured({"B": "A"}, NOON)
        await world.queue.claim("B", "test", Wanted(1), NOON)
        await world.queue.standings.configured({"C": "B"}, NOON)
        await world.queue.lose(arrived.path.as_posix(), NOON)
        await world.queue.standings.configured({"A": "C"}, NOON)
        assert await told(world) == [
            ("held", "A"),
            ("resumed", "A"),
            ("moved", "A"),
            ("queued", "B"),
            ("moved", "B"),
            ("queued", "C"),
            ("dead", "C"),
            ("moved", "C"),
            ("dead", "A"),
        ]


async def test_what_is_held_or_dropped_is_promised_before_the_queue_commits(world: World) -> None:
    """Were it the other way round, a queue that is lost would be made again with it as something to send."""
    async with world.running("A"):
        await world.accepted("A")
        await settle(world, State.QUEUED)
        assert not world.history._waiting or [each.what for each in world.history._waiting] == [Happened.DEFERRED]

        def hold(connection: object) -> None:
            world.connection.execute("UPDATE delivery SET state = 'held'")
            break_the_commit(world.connection)

        with pytest.raises(QueueError, match="FOREIGN KEY"):
            await world.queue._database.submit(hold)
        assert await world.states() == [State.QUEUED]
        assert await told(world) == [("deferred", "A"), ("held", "A")]


async def test_what_the_routes_hold_anyway_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that no route takes costs no second commit on stable storage."""
    async with world.running("A"):
        promised: list[Happening] = []
        promise = world.history.promise

        def watched(happenings: Sequence[Happening]) -> None:
            promised.extend(happenings)
            promise(happenings)

        monkeypatch.setattr(world.history, "promise", watched)
        await world.accepted(Order("", State.HELD, Cause.NO_ROUTE, "no route"))
        await world.accepted(Order("", State.DROPPED, Cause.NO_ROUTE, "discarded"))
        assert promised == []
        await world.accepted(Order("A", State.HELD, Cause.LOOP, "it came back"))
        assert len(promised) == 1
        assert await told(world) == [("held", ""), ("dropped", ""), ("held", "A")]


async def test_what_is_undone_was_never_noted(world: World) -> None:
    """One operation of a batch, or a commit that fails: nothing happened."""
    async with world.running("A"):
        await world.accepted("A")

        def fail(connection: object) -> None:
            world.connection.execute("UPDATE delivery SET state = 'dead'")
            raise ValueError("no")

        def die(connection: object) -> None:
            world.connection.execute("UPDATE delivery SET state = 'dead'")
            break_the_commit(world.connection)

        for work in (fail, die):
            with pytest.raises(QueueError):
                await world.queue._database.submit(work)
        await world.queue.next_due("A")
        assert await told(world) == []


async def test_very_much_at_once_is_written_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination with a backlog that is no longer configured: memory is bounded, nothing is left out."""
    monkeypatch.setattr(notes, "AT_ONCE", 3)
    async with world.running("A", "B"):
        for number in range(8):
            await world.accepted("A", sop_instance=f"2.25.{number}")
        await world.queue.interventions.revive(range(1, 9), NOON)
        assert [each.delivery for each in await world.history.search(Search())] == list(range(8, 0, -1))
        await world.queue.standings.configured({"B": None}, NOON)
        assert len(await world.history.search(Search(what=Happened.HELD))) == 8


@pytest.mark.parametrize("damage", [b"no database " * 1000, b"SQLite format 3\0" + b"\xa5" * 8176])
async def test_a_damaged_queue_is_set_aside(world: World, damage: bytes) -> None:
    """A new one begins with the next sentence; the old one is there for whoever wants to look."""
    async with world.running("A"):
        await world.accepted("A")
        assert world.queue.new
    path = world.directory / "queue.db"
    path.write_bytes(damage)
    async with world.running("A"):
        assert world.queue.new
        assert await world.entries() == []
        (aside,) = world.directory.glob("queue.db.damaged-*")
        assert aside.read_bytes() == damage
        assert str(aside) in world.queue.damage
    async with world.running("A"):
        assert not world.queue.new


async def test_one_damaged_page_is_enough(world: World) -> None:
    """Every page is looked at when the queue is opened, not only what is read then."""
    async with world.running("A"):
        for number in range(50):
            await world.accepted("A", sop_instance=f"2.25.{number}")
    path = world.directory / "queue.db"
    path.write_bytes(path.read_bytes()[:-4096] + bytes(4096))
    census = Census(path)
    with pytest.raises(QueueError, match="is damaged"):
        await world.disk_work(census.open)
    census.close()
    async with world.running("A"):
        assert "is damaged" in world.queue.damage
        assert world.queue.new


async def test_a_queue_may_be_set_aside_on_purpose(world: World) -> None:
    """Whatever is in it: the next one begins anew."""
    async with world.running("A"):
        await world.accepted("A")
    await world.disk_work(world.queue.set_aside)
    async with world.running("A"):
        assert world.queue.new
        assert world.queue.damage == ""


async def test_a_disk_that_fails_keeps_a_damaged_queue_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error of the queue, which whoever closes it expects, not one of the operating system."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with world.running("A"):
        await world.accepted("A")
    with monkeypatch.context() as failing:
        failing.setattr(Path, "replace", fails)
        with pytest.raises(QueueError, match=r"queue\.db cannot be moved aside: Input/output error"):
            await world.disk_work(world.queue.set_aside)
    async with world.running("A"):
        assert not world.queue.new


async def test_damage_in_operation_ends_the_queue(world: World) -> None:
    """And sets the file aside when it is closed, so that the next start does not stumble over it."""
    with pytest.RaisesGroup(pytest.RaisesExc(DamagedError, match="malformed")):
        async with world.running("A"):
            await world.accepted("A")
            await world.disk_work(lambda: world.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
            await world.disk_work(lambda: world.connection.execute("PRAGMA shrink_memory").fetchall())
            path = world.directory / "queue.db"
            content = path.read_bytes()
            path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
            with pytest.raises(QueueError, match="malformed"):
                await world.queue.standings.configured({"B": None}, NOON)
            await world.queue.changed("B")
    assert not (world.directory / "queue.db").exists()
    assert len(list(world.directory.glob("queue.db.damaged-*"))) == 1
    async with world.running("A"):
        assert world.queue.new


async def test_an_order_of_old_may_have_come_to_its_end(world: World) -> None:
    """In a queue that was lost: what was delivered or dead then is so again, and is not told twice."""
    async with world.running("A", "B", "C"):
        arrived = await world.disk_work(world.sealed)
        await world.disk_work(lambda: world.spool.publish([arrived.path]))
        orders = [Order("A", State.DELIVERED), Order("B", State.DEAD, Cause.REFUSED, "refused")]
        with pytest.raises(QueueError, match="cannot begin delivered"):
            await world.queue.accept(arrived, orders)
        assert await world.queue.adopt(arrived, orders)
        assert await world.states() == [State.DELIVERED, State.DEAD]
        assert await world.queue.remove(NOON + timedelta(days=9), 10) == ()
        assert await told(world) == [("dead", "B")]
        assert await world.queue.interventions.revive([2], NOON) == {"B": 1}
