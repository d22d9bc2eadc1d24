"""What one claim takes, and in which order it comes."""

import pytest

from router.model.delivery import Order, Priority, Settlement, State, Terms, Wanted
from router.model.destination import AssociationPer
from tests.durable.world import MINUTE, World

pytestmark = pytest.mark.trust

URGENT, NORMAL, BULK = (Order("A", terms=Terms(priority)) for priority in Priority)


async def claimed(world: World, wanted: Wanted) -> list[int]:
    """The numbers, as they came."""
    claim = await world.queue.claim("A", "forwarder", wanted, world.clock())
    return [delivery.id for delivery in claim.deliveries]


async def test_whose_turn_it_is_fills_the_claim_first(world: World) -> None:
    """The others take what is left, the more urgent first."""
    async with world.running("A"):
        for number, order in enumerate((BULK, NORMAL, URGENT, BULK, NORMAL, URGENT)):
            await world.accepted(order, study=f"S{number}")
            world.clock.advance(MINUTE)
        assert await claimed(world, Wanted(3, first=Priority.BULK)) == [1, 4, 3]
        assert await claimed(world, Wanted(1)) == [6]
        assert await claimed(world, Wanted(9, first=Priority.NORMAL)) == [2, 5]


async def test_the_newest_may_be_taken_first(world: World) -> None:
    """From the end of what is due; among themselves they still come oldest first."""
    async with world.running("A"):
        for number in range(5):
            await world.accepted("A", study=f"S{number}")
            world.clock.advance(MINUTE)
        assert await claimed(world, Wanted(2, newest=True)) == [4, 5]
        assert await claimed(world, Wanted(1)) == [1]
        assert await claimed(world, Wanted(2, newest=True, per=AssociationPer.STUDY)) == [3]


async def test_a_study_and_a_series_stay_together(world: World) -> None:
    """Where the first of each stands; what has no UID stands for itself."""
    async with world.running("A"):
        for study, series in (("S1", "X1"), ("S2", "Y"), ("", ""), ("S1", "X2"), ("", ""), ("S1", "X1"), ("S2", "Y")):
            await world.accepted("A", study=study, series=series)
        assert await claimed(world, Wanted(10)) == [1, 6, 4, 2, 7, 3, 5]


@pytest.mark.parametrize("per", [AssociationPer.STUDY, AssociationPer.SERIES])
async def test_one_association_has_one_study(world: World, per: AssociationPer) -> None:
    """Or series; another association's is not touched, unless it is that association that asks."""
    async with world.running("A"):
        for name in ("1", "1", "2", "1", "", "", "2"):
            study, series = (name, "X") if per is AssociationPer.STUDY else ("S", name)
            await world.accepted("A", study=study, series=series)
        assert await claimed(world, Wanted(2, per=per)) == [1, 2]
        assert await claimed(world, Wanted(2, per=per)) == [3, 7]
        assert await claimed(world, Wanted(2, per=per)) == [5]
        assert await claimed(world, Wanted(2, per=per)) == [6]
        assert await claimed(world, Wanted(2, per=per)) == []
        assert await claimed(world, Wanted(2, per=per, only="2")) == []
        assert await claimed(world, Wanted(2, per=per, only="")) == []
        assert await claimed(world, Wanted(2, per=per, only="1")) == [4]


async def test_another_destination_does_not_take_a_study(world: World) -> None:
    """What is in flight for one does not bind the others, and it is free when it is back."""
    async with world.running("A", "B"):
        await world.accepted("A", "B")
        await world.accepted("A")
        elsewhere = await world.queue.claim("B", "forwarder", Wanted(5), world.clock())
        assert len(elsewhere.deliveries) == 1
        study = Wanted(1, per=AssociationPer.STUDY)
        claim = await world.queue.claim("A", "forwarder", study, world.clock())
        assert await claimed(world, study) == []
        later = Settlement(1, State.QUEUED, next_attempt_at=world.clock() + MINUTE)
        await world.queue.settle(claim, [later], world.clock())
        assert await claimed(world, study) == [3]


async def test_a_study_that_an_open_association_is_for_is_left_to_it(world: World) -> None:
    """Even if nothing of it is in flight; what has no UID is never somebody's."""
    async with world.running("A"):
        for study in ("S1", "", "S2"):
            await world.accepted("A", study=study)
        others = Wanted(5, per=AssociationPer.STUDY, without=frozenset({"S1"}))
        assert [await claimed(world, others) for _ in range(3)] == [[2], [3], []]


async def test_what_was_left_at_the_claim_is_not_due_again(world: World) -> None:
    """It is another association's; but what is queued since then wakes, however long it has been due."""
    async with world.running("A"):
        for _ in range(3):
            await world.accepted("A")
        study = Wanted(1, per=AssociationPer.STUDY)
        claim = await world.queue.claim("A", "forwarder", study, world.clock())
        later = Settlement(1, State.QUEUED, next_attempt_at=world.clock() + MINUTE)
        await world.queue.settle(claim, [later], world.clock())
        await world.queue.claim("A", "forwarder", study, world.clock())
        assert await claimed(world, study) == []
        assert await world.queue.next_due("A") == world.clock()
        assert await claimed(world, study) == []
        await world.accepted("A")
        assert await world.queue.next_due("A", world.clock()) == world.clock() + MINUTE
        await world.queue.changed("A")


async def test_a_study_goes_by_priority_too(world: World) -> None:
    """Its urgent instances first, whatever came first."""
    async with world.running("A"):
        for order in (BULK, NORMAL, URGENT):
            await world.accepted(order)
        assert await claimed(world, Wanted(2, per=AssociationPer.STUDY)) == [3, 2]
