"""What a crash left behind, in each state of ``router.durable``, and the removal of what nobody needs any more."""

from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from router.durable.spool import Spool
from router.flow.forwarder import OWNER
from router.flow.janitor import empty
from router.journal import Removed, SpoolTrouble
from router.model.delivery import Order, State, Wanted
from router.model.outcome import Cause
from router.rules.routing import Unrouted
from tests.flow.house import KEPT, House
from tests.flow.objects import routing

pytestmark = pytest.mark.delivery


@pytest.fixture
def anyio_backend() -> str:
    """The disk is worked on in threads."""
    return "asyncio"


@pytest.fixture
def house(folder: Path) -> House:
    """Not open yet."""
    return House(folder)


NOTHING = {"swept": 0, "adopted": 0, "queued again": 0, "lost": 0}


async def test_s2_is_swept(house: House) -> None:
    """What was arriving was not answered for: it goes."""
    async with house.world.running("PACS"):
        await house.sealed()
        assert await house.recover() == NOTHING | {"swept": 1}
        assert house.world.files() == set()


async def test_s3_is_adopted_and_routed_by_what_it_says(house: House) -> None:
    """The file says who sent it and what it is: routes that ask for attributes decide as at arrival."""
    async with house.world.running("PACS"):
        ct = await house.published_only("2.25.1", modality="CT")
        await house.published_only("2.25.2", modality="MR")
        assert await house.recover() == NOTHING | {"adopted": 2}
        entries = {entry.identity.sop_instance: entry for entry in await house.world.entries()}
        assert (entries["2.25.1"].destination, entries["2.25.1"].state) == ("PACS", State.QUEUED)
        assert (entries["2.25.2"].state, entries["2.25.2"].cause) == (State.HELD, Cause.NO_ROUTE)
        (delivery,) = (await house.world.queue.claim("PACS", OWNER, Wanted(9), house.world.clock())).deliveries
    assert (delivery.envelope, delivery.identity) == (ct.envelope, ct.identity)
    assert (delivery.size, delivery.header_size, delivery.digest) == (ct.size, ct.header_size, ct.digest)
    assert delivery.study == "2.25.99"


async def test_what_may_have_been_answered_is_held_though_unrouted_is_refuse(house: House) -> None:
    """A refusal is for an association; here is nobody to refuse it to."""
    async with house.world.running("PACS"):
        await house.published_only(modality="MR")
        assert await house.recover(routing(unrouted=Unrouted.REFUSE)) == NOTHING | {"adopted": 1}
        assert await house.world.states() == [State.HELD]


async def test_s4_is_queued_again_and_may_be_there_already(house: House) -> None:
    """What was in flight has an unknown outcome; what waited waits."""
    async with house.world.running("PACS"):
        await house.accepted("2.25.1")
        await house.accepted("2.25.2")
        await house.world.queue.claim("PACS", OWNER, Wanted(1), house.world.clock())
        assert await house.recover() == NOTHING | {"queued again": 1}
        claim = await house.world.queue.claim("PACS", OWNER, Wanted(9), house.world.clock())
        assert [delivery.uncertain for delivery in claim.deliveries] == [True, False]


async def test_s8_is_a_dead_letter_with_an_alarm(house: House) -> None:
    """The disk lost a payload: the operator is told, and the others are not concerned."""
    async with house.world.running("PACS"):
        lost = await house.accepted("2.25.1")
        await house.accepted("2.25.2")
        house.world.spool.absolute(lost.path).unlink()
        assert await house.recover() == NOTHING | {"lost": 1}
        entries = {entry.identity.sop_instance: entry for entry in await house.world.entries()}
        assert (entries["2.25.1"].state, entries["2.25.1"].cause) == (State.DEAD, Cause.PAYLOAD_MISSING)
        assert entries["2.25.2"].state is State.QUEUED
    (alarm,) = [event for event in house.events if isinstance(event, SpoolTrouble)]
    assert str(lost.path) in alarm.error


async def test_a_second_recovery_finds_nothing_to_do(house: House) -> None:
    """Whatever it found is in order then."""
    async with house.world.running("PACS"):
        await house.sealed("2.25.1")
        await house.published_only("2.25.2")
        await house.accepted("2.25.3")
        gone = await house.accepted("2.25.4")
        house.world.spool.absolute(gone.path).unlink()
        assert await house.recover() == {"swept": 1, "adopted": 1, "queued again": 0, "lost": 1}
        assert await house.recover() == NOTHING


@pytest.mark.parametrize("content", [b"", b"not DICOM", bytes(128) + b"DICM"], ids=["empty", "text", "no meta"])
async def test_a_file_that_says_nothing_stays_where_it_is(house: House, content: bytes) -> None:
    """It cannot be adopted, and is not ours to remove: the log names it, and the start goes on."""
    async with house.world.running("PACS"):
        strange = await house.published_only("2.25.1")
        await house.published_only("2.25.2")
        house.world.spool.absolute(strange.path).write_bytes(content)
        assert await house.recover() == NOTHING | {"adopted": 1}
        assert len(house.world.files()) == 2
    (alarm,) = [event for event in house.events if isinstance(event, SpoolTrouble)]
    assert str(strange.path) in alarm.error


async def test_a_part_10_file_of_another_system_is_not_adopted(house: House) -> None:
    """Nobody knows who sent it to us."""
    async with house.world.running("PACS"):
        strange = await house.published_only()
        path = house.world.spool.absolute(strange.path)
        path.write_bytes(path.read_bytes().replace(b'"digest"', b'"didgest'))
        assert await house.recover() == NOTHING
    (alarm,) = [event for event in house.events if isinstance(event, SpoolTrouble)]
    assert "does not say who sent it" in alarm.error


async def test_what_is_delivered_is_kept_for_a_while_and_then_removed(house: House) -> None:
    """Not earlier than `keep_delivered`, and never what is still owed."""
    async with house.world.running("PACS"):
        await house.accepted("2.25.1")
        await house.deliver()
        await house.accepted("2.25.2")
        house.world.clock.advance(KEPT)
        async with house.sweeping():
            await anyio.wait_all_tasks_blocked()
        assert len(house.world.files()) == 2
        assert house.events == []
        house.world.clock.advance(timedelta(seconds=1))
        async with house.sweeping():
            await house.until(Removed)
        assert house.events == [Removed(outcome=1)]
        assert len(house.world.files()) == 1
        assert await house.world.states() == [State.QUEUED]


async def test_when_the_disk_is_short_what_is_delivered_goes_at_once(house: House) -> None:
    """The room is needed: below twice the reserve nothing that is delivered is kept."""
    async with house.world.running("PACS"):
        await house.accepted("2.25.1")
        await house.deliver()
        await house.accepted("2.25.2")
        house.world.clock.advance(timedelta(seconds=1))
        house.reserve = lambda total: total
        async with house.sweeping():
            await house.until(Removed)
        assert await house.world.states() == [State.QUEUED]
        assert len(house.world.files()) == 1


async def test_a_removal_that_fails_is_reported_and_ends_nothing(house: House) -> None:
    """A folder that cannot be written: the row stays, and the next round tries again."""
    async with house.world.running("PACS"):
        arrived = await house.accepted()
        await house.deliver()
        house.world.clock.advance(2 * KEPT)
        path = house.world.spool.absolute(arrived.path)
        path.unlink()
        path.mkdir()
        async with house.sweeping():
            await house.until(SpoolTrouble)
        path.rmdir()
        async with house.sweeping():
            await house.until(Removed)
        assert await house.world.entries() == []


async def test_a_spool_that_is_gone_for_a_moment_ends_nothing(house: House) -> None:
    """The file system cannot even be asked how much room it has."""
    async with house.world.running("PACS"):
        moved = house.world.directory.rename(house.world.directory.with_name("elsewhere"))
        async with house.sweeping():
            await house.until(SpoolTrouble)
        moved.rename(house.world.directory)


def test_what_conversions_left_behind_is_removed(folder: Path) -> None:
    """Converted data sets live as long as an attempt; the folder is made if need be."""
    converted = folder / "spool" / "converted"
    empty(converted)
    (converted / "1.converted").write_bytes(b"1")
    empty(converted)
    assert list(converted.iterdir()) == []


async def test_what_another_writer_has_is_not_lost(house: House) -> None:
    """The scan reads this writer's folder alone, the rows are everybody's: only what is missing is lost."""
    async with house.world.running("PACS"):
        other = Spool(house.world.directory, writer="1", clock=house.world.clock)
        await house.world.queue.accept(await house.sealed(spool=other), [Order("PACS")])
        assert await house.recover() == NOTHING
