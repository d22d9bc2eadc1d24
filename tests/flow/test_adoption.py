"""A queue that is lost is made again as it was: from the payloads and the routes, less what the history says."""

from dataclasses import replace
from pathlib import Path

import pytest

from router.durable.history import Happened
from router.flow.forwarder import OWNER
from router.flow.intake import Routing
from router.journal import HistoryTrouble, QueueRebuilt
from router.model.delivery import Order, Settlement, State, Wanted
from router.model.outcome import Cause
from router.rules.routing import Route, Target
from tests.durable.test_history import DELIVERED
from tests.flow.house import House
from tests.flow.objects import CT_TO_PACS, PACS, routing

pytestmark = pytest.mark.delivery

NAMES = ("PACS", "OTHER", "THIRD")
OTHER = replace(PACS, name="OTHER", remote_host="other.invalid")
BOTH = Route("all to both", CT_TO_PACS.when, (Target(("PACS",)), Target(("OTHER",))))
EITHER = Route("all to either", CT_TO_PACS.when, (Target(("PACS", "OTHER")),))


@pytest.fixture
def anyio_backend() -> str:
    """The disk is worked on in threads."""
    return "asyncio"


def rules(route: Route) -> Routing:
    """With two destinations."""
    return replace(routing(route), destinations={"PACS": PACS, "OTHER": OTHER})


async def standing(house: House) -> set[tuple[str, str, State, Cause | None]]:
    """What is owed, and how that stands."""
    entries = await house.world.entries()
    return {(entry.identity.sop_instance, entry.destination, entry.state, entry.cause) for entry in entries}


def lose(house: House, folder: Path, *, history: bool = False) -> House:
    """The same spool without its queue."""
    for path in house.world.directory.glob("*.db*" if history else "queue.db*"):
        path.unlink()
    after = House(folder)
    after.world.clock.now = house.world.clock()
    return after


async def test_a_queue_is_made_again_as_it_was(folder: Path) -> None:
    """Whatever became of a delivery, by its destination or by an operator."""
    house = House(folder)
    async with house.world.running(*NAMES):
        queue, now = house.world.queue, house.world.clock()
        for number in range(1, 10):
            await house.accepted(f"2.25.{number}", Order("PACS"), Order("OTHER"))
        claim = await queue.claim("PACS", OWNER, Wanted(3), now)
        first, second, third = (delivery.id for delivery in claim.deliveries)
        dead = Settlement(second, State.DEAD, cause=Cause.REFUSED, error="refused")
        settlements = [Settlement(first, State.DELIVERED), dead, Settlement(third, State.QUEUED)]
        await queue.settle(claim, settlements, now)
        owed = {(entry.identity.sop_instance, entry.destination): entry.id for entry in await house.world.entries()}
        await queue.interventions.hold([owed["2.25.4", "PACS"], owed["2.25.5", "PACS"]], now)
        await queue.interventions.revive([owed["2.25.5", "PACS"]], now)
        await queue.interventions.drop([owed["2.25.6", "PACS"]], now)
        await queue.interventions.readdress([owed["2.25.7", "PACS"]], "THIRD", now)
        await queue.interventions.resend([first], "THIRD", now)
        await house.accepted("2.25.10", Order("", State.HELD, Cause.NO_ROUTE, "no route"), modality="MR")
        unrouted = (await house.world.entries())[-1].id
        await house.accepted("2.25.11", Order("", State.HELD, Cause.NO_ROUTE, "no route"), modality="MR")
        await queue.interventions.readdress([unrouted], "PACS", now)
        before = await standing(house)
    house = lose(house, folder)
    async with house.world.running():
        assert (await house.recover(rules(BOTH)))["adopted"] == 11
        await house.world.queue.standings.configured(dict.fromkeys(NAMES), house.world.clock())
        assert await standing(house) == before
    (rebuilt,) = [event for event in house.events if isinstance(event, QueueRebuilt)]
    assert rebuilt.outcome == {"adopted": 11, "dead": 1, "delivered": 1, "dropped": 1, "held": 2, "queued": 16}
    assert rebuilt.error == ""


async def test_what_is_delivered_may_go_in_its_time(folder: Path) -> None:
    """It is not sent again, and not kept for ever either."""
    house = House(folder)
    async with house.world.running("PACS"):
        await house.accepted()
        await house.deliver()
    house = lose(house, folder)
    async with house.world.running("PACS"):
        await house.recover()
        assert await house.world.states() == [State.DELIVERED]
        assert len(await house.world.queue.remove(house.world.clock.advance(house.janitor._keep_delivered), 9)) == 1


async def test_a_destination_that_is_not_configured_any_more_keeps_what_it_is_owed(folder: Path) -> None:
    """The routes do not lead there, but the history knows."""
    house = House(folder)
    async with house.world.running("GONE"):
        await house.accepted("2.25.1", Order("GONE"))
        await house.world.queue.standings.configured({"PACS": None}, house.world.clock())
    house = lose(house, folder)
    async with house.world.running("PACS"):
        await house.recover(routing(unrouted=routing().unrouted))
        assert ("2.25.1", "GONE", State.HELD, Cause.NOT_CONFIGURED) in await standing(house)
        await house.world.queue.standings.configured({"PACS": None, "GONE": None}, house.world.clock())
        assert ("2.25.1", "GONE", State.QUEUED, None) in await standing(house)


async def test_of_several_destinations_the_one_that_was_chosen_stays(folder: Path) -> None:
    """Otherwise the first of them would get what the other has."""
    house = House(folder)
    async with house.world.running("PACS", "OTHER"):
        await house.accepted("2.25.1", Order("OTHER"))
        claim = await house.world.queue.claim("OTHER", OWNER, Wanted(1), house.world.clock())
        await house.world.queue.settle(claim, [Settlement(1, State.DELIVERED)], house.world.clock())
        await house.accepted("2.25.2", Order("PACS"))
        await house.world.queue.interventions.readdress([2], "OTHER", house.world.clock())
        await house.accepted("2.25.3", Order("PACS"))
    house = lose(house, folder)
    async with house.world.running("PACS", "OTHER"):
        await house.recover(rules(EITHER))
        assert await standing(house) == {
            ("2.25.1", "OTHER", State.DELIVERED, None),
            ("2.25.2", "OTHER", State.QUEUED, None),
            ("2.25.3", "PACS", State.QUEUED, None),
        }


async def test_what_no_route_took_then_is_held_though_one_takes_it_now(folder: Path) -> None:
    """As it would be had the queue not been lost: an operator decides."""
    house = House(folder)
    async with house.world.running("PACS"):
        await house.accepted("2.25.1", Order("", State.HELD, Cause.NO_ROUTE, "no route"))
    house = lose(house, folder)
    async with house.world.running("PACS"):
        await house.recover()
        assert await standing(house) == {("2.25.1", "", State.HELD, Cause.NO_ROUTE)}


async def test_a_history_with_holes_loses_nothing(folder: Path) -> None:
    """It knows that a delivery was moved, and not where to: then the routes decide."""
    house = House(folder)
    async with house.world.running("PACS"):
        arrived = await house.accepted()
        house.world.history.note([replace(DELIVERED, ulid=arrived.ulid, what=Happened.MOVED, destination="PACS")])
    house = lose(house, folder)
    async with house.world.running("PACS"):
        await house.recover()
        assert await standing(house) == {("2.25.1", "PACS", State.QUEUED, None)}


async def test_without_a_history_all_is_sent_again(folder: Path) -> None:
    """And what no route takes is held again; the event says why."""
    house = House(folder)
    async with house.world.running("PACS"):
        await house.accepted("2.25.1")
        await house.deliver()
        await house.accepted("2.25.2", Order("", State.HELD, Cause.NO_ROUTE, "no route"), modality="MR")
    house = lose(house, folder, history=True)
    async with house.world.running("PACS"):
        await house.recover()
        assert await standing(house) == {
            ("2.25.1", "PACS", State.QUEUED, None),
            ("2.25.2", "", State.HELD, Cause.NO_ROUTE),
        }
    (rebuilt,) = [event for event in house.events if isinstance(event, QueueRebuilt)]
    assert rebuilt.outcome == {"adopted": 2, "held": 1, "queued": 1}
    assert "sent again" in rebuilt.error


async def test_a_history_that_cannot_be_read_is_said_and_done_without(folder: Path) -> None:
    """Nothing is lost with it but the knowledge of what was delivered."""
    house = House(folder)
    async with house.world.running("PACS"):
        await house.accepted()
        await house.deliver()
    house = lose(house, folder)
    async with house.world.running("PACS"):
        house.world.history._reading.close()
        assert (await house.recover())["adopted"] == 1
        assert await house.world.states() == [State.QUEUED]
    assert any(isinstance(event, HistoryTrouble) for event in house.events)


async def test_a_first_start_is_no_loss(folder: Path) -> None:
    """An empty spool has no queue yet."""
    house = House(folder)
    async with house.world.running("PACS"):
        await house.recover()
    assert not any(isinstance(event, QueueRebuilt) for event in house.events)
