"""A look at the whole spool: what is wrong is found, what only comes and goes is not."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from router.durable.census import Census
from router.durable.spool import Spool
from router.durable.sqlite import in_thread
from router.flow.inspection import Flaw, Inspection, Inspector
from router.model.delivery import Order, State
from router.model.outcome import Cause
from tests.flow.house import House

pytestmark = pytest.mark.unit

HELD = Order("", State.HELD, Cause.NO_ROUTE, "no route")


@pytest.fixture
def anyio_backend() -> str:
    """The disk is worked on in threads."""
    return "asyncio"


@pytest.fixture
def house(folder: Path) -> House:
    """Not open yet."""
    return House(folder)


def nothing() -> None:
    """No pause."""


def inspected(house: House, pause: Callable[[], None] = nothing) -> Inspection:
    """What is found, as if by another program."""
    directory = house.world.directory
    sizes: list[int] = []
    spool = Spool(directory, clock=house.world.clock)
    inspector = Inspector(spool, Census(directory / "queue.db"), pause=pause, seen=sizes.append)
    inspection = inspector.inspect()
    assert (inspection.payloads, inspection.size) == (len(sizes), sum(sizes))
    return inspection


def flaws(inspection: Inspection) -> dict[str, Flaw]:
    """What is wrong with which file."""
    return {finding.path: finding.flaw for finding in inspection.findings}


async def test_a_sound_spool_has_no_flaws(house: House) -> None:
    """Beside a daemon at work, and without one; what is settled may have no payload any more."""
    async with house.world.running("PACS"):
        await house.accepted("2.25.1")
        await house.deliver()
        await house.accepted("2.25.2")
        await house.accepted("2.25.3", HELD)
        await house.sealed("2.25.4")
        beside = await in_thread(lambda: inspected(house))
        assert (beside.payloads, beside.findings) == (3, ())
        await house.world.queue.remove(house.world.clock.advance(timedelta(days=9)), 9)
    after = await in_thread(lambda: inspected(house))
    assert (after.payloads, after.findings) == (2, ())


async def test_each_flaw_is_found(house: House) -> None:
    """Bit rot, a cut file, one that says nothing, a stray, a loss."""
    async with house.world.running("PACS"):
        arrived = [await house.accepted(f"2.25.{number}") for number in range(5)]
        stray = await house.published_only("2.25.9")
        rotten, short, mute, gone, _ = [house.world.spool.absolute(each.path) for each in arrived]
        content = bytearray(rotten.read_bytes())
        content[-1] ^= 1
        rotten.write_bytes(content)
        short.write_bytes(short.read_bytes()[:-10])
        mute.write_bytes(bytes(200))
        gone.unlink()
    inspection = await in_thread(lambda: inspected(house))
    assert flaws(inspection) == {
        str(arrived[0].path): Flaw.DAMAGED,
        str(arrived[1].path): Flaw.DAMAGED,
        str(arrived[2].path): Flaw.DAMAGED,
        str(arrived[3].path): Flaw.WITHOUT_PAYLOAD,
        str(stray.path): Flaw.WITHOUT_ROW,
    }
    errors = {finding.path: finding.error for finding in inspection.findings}
    assert "digest" in errors[str(arrived[0].path)]
    assert f"{arrived[1].size - 10} bytes" in errors[str(arrived[1].path)]
    assert "DICM" in errors[str(arrived[2].path)]


@pytest.mark.parametrize("damage", [None, b"no database " * 1000])
async def test_without_a_queue_payloads_are_still_read(house: House, damage: bytes | None) -> None:
    """The flaw is said once, not for every payload."""
    async with house.world.running("PACS"):
        await house.accepted("2.25.1")
        rotten = await house.accepted("2.25.2")
        path = house.world.spool.absolute(rotten.path)
        path.write_bytes(path.read_bytes()[:-2] + b"!!")
    queue = house.world.directory / "queue.db"
    queue.unlink()
    if damage:
        queue.write_bytes(damage)
    assert flaws(await in_thread(lambda: inspected(house))) == {
        "queue.db": Flaw.QUEUE,
        str(rotten.path): Flaw.DAMAGED,
    }


async def test_a_page_that_is_damaged_is_found(house: House) -> None:
    """As at a start, every page is looked at."""
    async with house.world.running("PACS"):
        for number in range(50):
            await house.accepted(f"2.25.{number}")
    queue = house.world.directory / "queue.db"
    content = queue.read_bytes()
    queue.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    (finding,) = (await in_thread(lambda: inspected(house))).findings
    assert finding.flaw is Flaw.QUEUE
    assert "next start" in finding.error


async def test_what_comes_and_goes_is_no_flaw(house: House) -> None:
    """A payload whose row comes a moment later; one that is removed between a look at the folder and a look at it."""
    async with house.world.running("PACS"):
        arrived = await house.published_only("2.25.1")
        delivered = await house.accepted("2.25.2")
        await house.deliver()
        owed = await house.accepted("2.25.3")
        hidden = house.world.spool.absolute(owed.path).rename(house.world.directory / "hidden")

    def pause() -> None:
        hidden.rename(house.world.spool.absolute(owed.path))
        house.world.spool.absolute(arrived.path).unlink()

    assert (await in_thread(lambda: inspected(house, pause))).findings == ()
    path = house.world.spool.absolute(delivered.path)
    path.unlink()
    path.symlink_to("nowhere")
    assert (await in_thread(lambda: inspected(house))).findings == ()


async def test_what_is_no_spool_cannot_be_inspected(house: House) -> None:
    """A folder that does not exist."""
    with pytest.raises(FileNotFoundError):
        await in_thread(lambda: inspected(house))
