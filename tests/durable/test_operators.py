"""What operators do with deliveries and destinations, and what moves on by itself."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

import pytest

from router.durable.queue import CauseTally, Query, StudyQuery, StudySummary
from router.model.delivery import Claim, Order, Priority, Settlement, Standing, State, Terms, Wanted
from router.model.destination import Strategy
from router.model.outcome import Cause
from tests.durable.world import MINUTE, NOON, World

pytestmark = pytest.mark.trust

EITHER = Terms(first_of=("A", "B"), failover_after=10 * MINUTE)


async def claimed(world: World, destination: str = "A") -> Claim:
    """All that is due."""
    return await world.queue.claim(destination, "forwarder", Wanted(100), world.clock())


async def settled(world: World, *states: State) -> None:
    """One delivery of A in each state, each in an instance of its own."""
    for _ in states:
        await world.accepted("A")
    claim = await claimed(world)
    settlements = [
        Settlement(each.id, state, charged=True, tried=True, uncertain=True, cause=Cause.REFUSED)
        for each, state in zip(claim.deliveries, states, strict=True)
    ]
    await world.queue.settle(claim, settlements, world.clock())


async def causes(world: World) -> Sequence[tuple[State, Cause | None]]:
    """State and cause of every delivery."""
    return [(entry.state, entry.cause) for entry in await world.entries()]


async def test_a_strategy_may_be_chosen_for_some(world: World) -> None:
    """It stays through other retries, until another is chosen or another destination has it."""
    async with world.running("A", "B"):
        await world.accepted("A")
        await world.queue.interventions.revive([1], world.clock(), Strategy.UNIVERSAL)
        await world.queue.interventions.revive([1], world.clock())
        assert (await claimed(world)).deliveries[0].strategy is Strategy.UNIVERSAL
        await world.queue.recover("forwarder", world.clock())
        await world.queue.interventions.readdress([1], "B", world.clock())
        assert (await claimed(world, "B")).deliveries[0].strategy is None


async def test_hold_and_resume(world: World) -> None:
    """Only what waits; a configuration that returns does not resume what an operator holds."""
    async with world.running("A"):
        await settled(world, State.DELIVERED, State.DEAD)
        await world.accepted("A")
        assert await world.queue.interventions.hold([1, 2, 3, 4], world.clock()) == 1
        await world.queue.standings.configured({"A": None}, world.clock())
        assert (await causes(world))[2] == (State.HELD, Cause.OPERATOR)
        assert await world.queue.interventions.revive([3], world.clock()) == {"A": 1}
        assert (await causes(world))[2] == (State.QUEUED, None)


async def test_drop_is_for_good(world: World) -> None:
    """What waits, is held or dead; on stable storage before the operator is told; its payload may go."""
    async with world.running("A"):
        await settled(world, State.DELIVERED, State.DEAD, State.HELD)
        await world.accepted("A")
        traced: list[str] = []
        world.connection.set_trace_callback(traced.append)
        assert await world.queue.interventions.drop(range(6), world.clock()) == 3
        world.connection.set_trace_callback(None)
        assert "PRAGMA synchronous=NORMAL" not in traced
        assert await causes(world) == [(State.DELIVERED, Cause.REFUSED)] + [(State.DROPPED, Cause.OPERATOR)] * 3
        assert await world.queue.interventions.revive(range(6), world.clock()) == {}
        assert len(await world.queue.remove(world.clock() + MINUTE, 10)) == 4


async def test_another_destination_begins_anew(world: World) -> None:
    """Whatever the first one said of it; also what no route took; never to a name that is not configured."""
    async with world.running("A", "B"):
        await settled(world, State.DEAD)
        await world.accepted(Order("", State.HELD, Cause.NO_ROUTE))
        assert await world.queue.interventions.readdress([1, 2], "NOBODY", world.clock()) == 0
        world.clock.advance(MINUTE)
        await world.queue.next_due("B")
        assert await world.queue.interventions.readdress([1, 2], "B", world.clock()) == 2
        await world.queue.changed("B")
        deliveries = (await claimed(world, "B")).deliveries
        assert [(each.id, each.attempts, each.tries, each.uncertain, each.worked) for each in deliveries] == [
            (number, 0, 0, False, timedelta()) for number in (1, 2)
        ]


async def test_resend_makes_new_deliveries(world: World) -> None:
    """Of what is settled, to whom it was owed or to another; once, however often it is asked while it is on its way."""
    async with world.running("A", "B"):
        await settled(world, State.DELIVERED, State.DEAD)
        await world.accepted(Order("A", State.DROPPED))
        await world.queue.next_due("A")
        assert await world.queue.interventions.resend([1, 2, 3, 99], None, world.clock()) == {"A": 2}
        await world.queue.changed("A")
        assert await world.queue.interventions.resend([1, 2, 3], None, world.clock()) == {}
        assert await world.queue.interventions.resend([1], "B", world.clock()) == {"B": 1}
        assert await world.queue.interventions.resend([1], "NOBODY", world.clock()) == {}
        assert await world.states() == [State.DELIVERED, State.DEAD, State.DROPPED] + [State.QUEUED] * 3
        assert [each.ulid for each in (await claimed(world)).deliveries] == [
            each.ulid for each in await world.entries() if each.id in (1, 3)
        ]
        assert await world.queue.remove(world.clock() + MINUTE, 10) == ()


async def test_what_is_being_removed_is_not_owed_again(world: World) -> None:
    """S6 → S7: its payload may be gone already."""
    async with world.running("A"):
        await world.accepted("A")
        await world.accepted("A", Order("A", State.DROPPED))
        await world.disk_work(lambda: world.connection.execute("UPDATE instance SET removing = 1"))
        assert await world.queue.interventions.revive([1], world.clock()) == {}
        assert await world.queue.interventions.readdress([1], "A", world.clock()) == 0
        assert await world.queue.interventions.resend([3], None, world.clock()) == {}


async def test_a_pause_outlives_restarts_and_stops_the_clock(world: World) -> None:
    """Whatever becomes of the destination meanwhile; the forwarder wakes at either end of it."""
    async with world.running("A", "B"):
        await world.accepted("A")
        assert not await world.queue.standings.paused("A")
        assert not await world.queue.standings.paused("NOBODY")
        world.clock.advance(MINUTE)
        await world.queue.next_due("A")
        await world.queue.interventions.pause("A", world.clock(), paused=True)
        await world.queue.changed("A")
        world.clock.advance(MINUTE)
        await world.queue.standings.stand("A", Standing(failures=1), world.clock())
        await world.queue.standings.stand("A", Standing(), world.clock())
        world.clock.advance(MINUTE)
    again = World(world.directory, world.disk_work, clock=world.clock)
    async with again.running("A", "B"):
        assert await again.queue.standings.paused("A")
        assert await again.desk.paused() == {"A"}
        again.clock.advance(MINUTE)
        await again.queue.standings.configured({"NEW": "A", "B": None}, again.clock())
        await again.queue.standings.configured({"B": "NEW"}, again.clock())
        assert await again.desk.paused() == {"B"}
        again.clock.advance(MINUTE)
        await again.queue.interventions.pause("B", again.clock(), paused=False)
        again.clock.advance(MINUTE)
        claim = await claimed(again, "B")
        assert claim.deliveries[0].worked == 2 * MINUTE
        await again.queue.interventions.pause("FRESH", again.clock(), paused=False)
        assert await again.desk.paused() == frozenset()


async def test_failover_moves_what_may_move(world: World) -> None:
    """When its time in trouble is over, at most the limit, and only between the destinations of its order."""
    other = Terms(first_of=("A", "C"), failover_after=MINUTE)
    never = Terms(first_of=("A", "B"))
    async with world.running("A", "B", "C"):
        alone = Terms(failover_after=MINUTE)
        for terms in (EITHER, other, never, EITHER, EITHER, alone):
            await world.accepted(Order("A", terms=terms))
        now = world.clock.advance(9 * MINUTE)
        assert await world.queue.fail_over("A", "B", NOON, 10, now) == 0
        now = world.clock.advance(MINUTE)
        assert await world.queue.fail_over("A", "NOBODY", NOON, 10, now) == 0
        await world.queue.next_due("B")
        assert await world.queue.fail_over("A", "B", NOON, 2, now) == 2
        await world.queue.changed("B")
        assert [each.id for each in (await claimed(world, "B")).deliveries] == [1, 4]
        assert await world.queue.fail_over("A", "B", NOON, 2, now) == 1
        assert await world.queue.fail_over("A", "B", NOON, 2, now) == 0
        # An operator's choice outside of the list is not undone.
        await world.queue.interventions.readdress([3], "C", now)
        assert await world.queue.fail_over("C", "B", NOON, 2, now) == 0


async def test_a_study_sticks_to_its_destination(world: World) -> None:
    """To that of its latest instance under the same order; not to one that an operator chose outside of it."""
    async with world.running("A", "B", "C"):
        assert await world.desk.chosen("2.25.9", ("A", "B")) is None
        await world.accepted(Order("A", terms=EITHER))
        await world.accepted(Order("B", terms=EITHER), series="2.25.7")
        await world.accepted("C")
        await world.accepted(Order("A", terms=EITHER), study="")
        assert await world.desk.chosen("2.25.9", ("A", "B")) == "B"
        assert await world.desk.chosen("2.25.9", ("B", "A")) is None
        assert await world.desk.chosen("", ("A", "B")) is None
        await world.queue.interventions.readdress([2], "C", world.clock())
        assert await world.desk.chosen("2.25.9", ("A", "B")) == "A"


async def test_causes_group_what_an_operator_has_to_see(world: World) -> None:
    """Dead and held, the most first, with the bytes, the age and an example."""
    async with world.running("A", "B"):
        for _ in range(2):
            await world.accepted("A")
        claim = await claimed(world)
        dead = [Settlement(each.id, State.DEAD, cause=Cause.REFUSED, error="no") for each in claim.deliveries]
        await world.queue.settle(claim, dead, world.clock())
        world.clock.advance(MINUTE)
        held = await world.accepted(Order("", State.HELD, Cause.NO_ROUTE, "nobody"))
        assert await world.desk.causes() == [
            CauseTally("A", State.DEAD, Cause.REFUSED, 2, 2 * held.size, NOON, "no"),
            CauseTally("", State.HELD, Cause.NO_ROUTE, 1, held.size, NOON + MINUTE, "nobody"),
        ]


async def test_studies_are_found_by_what_an_operator_knows(world: World) -> None:
    """By UID, accession number or patient, all of which have to match; the whole study, the latest first."""
    async with world.running("A"):
        await world.accepted("A", study="S1", series="X1", accession_number="", patient_id="P1")
        await world.accepted("A", study="S1", series="X2", accession_number="A1", patient_id="P1")
        last = await world.accepted("A", study="S2", accession_number="A2", patient_id="P1")
        world.clock.advance(MINUTE)
        await world.accepted("A", Order("B", State.DROPPED), study="S1", series="X1", accession_number="")
        await world.accepted("A", study="", accession_number="A1", patient_id="P1")
        first = StudySummary(
            "S1", "A1", 3, 3 * last.size, NOON, NOON + MINUTE, {"A": {State.QUEUED: 3}, "B": {State.DROPPED: 1}}
        )
        second = StudySummary("S2", "A2", 1, last.size, NOON, NOON, {"A": {State.QUEUED: 1}})
        for query, wanted in {
            StudyQuery(): [first, second],
            StudyQuery(limit=1): [first],
            StudyQuery(study="S2"): [second],
            StudyQuery(accession_number="A1"): [first],
            StudyQuery(accession_number=""): [],
            StudyQuery(patient_id="P1"): [first, second],
            StudyQuery(patient_id="P1", accession_number="A2"): [second],
            StudyQuery(study="S1", accession_number="A2"): [],
        }.items():
            assert await world.desk.studies(query) == wanted


async def test_entries_come_in_pages_and_by_many_keys(world: World) -> None:
    """After a number, by study, SOP instance and status; with priority and the choice of destinations."""
    async with world.running("A", "B"):
        await settled(world, State.DEAD, State.DEAD)
        bulk = Terms(Priority.BULK, first_of=("A", "B"))
        await world.accepted(Order("A", terms=bulk), Order("B"), sop_instance="1.2")
        await claimed(world)
        await world.accepted("A", study="S2", series="X")
        questions = {
            Query(after=2): [3, 4, 5],
            Query(after=2, limit=1): [3],
            Query(state=State.QUEUED): [4, 5],
            Query(state=State.QUEUED, after=4): [5],
            Query(state=State.DEAD, cause=Cause.REFUSED, after=1): [2],
            Query(state=State.IN_FLIGHT): [3],
            Query(sop_instance="1.2"): [3, 4],
            Query(sop_instance="1.2", destination="B", state=State.QUEUED): [4],
            Query(study="S2"): [5],
            Query(study="S2", state=State.DEAD): [],
            Query(status=0xA700): [],
        }
        for query, wanted in questions.items():
            assert [entry.id for entry in await world.desk.entries(query, world.clock())] == wanted, query
        entry = await world.desk.entry(3)
        assert entry is not None
        assert (entry.priority, entry.first_of, entry.series) == (Priority.BULK, ("A", "B"), "2.25.8")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(), "PRIMARY KEY"),
        (Query(destination="A", state=State.QUEUED), "delivery_queued"),
        (Query(destination="A", state=State.IN_FLIGHT), "delivery_in_flight"),
        (Query(state=State.HELD), "delivery_held"),
        (Query(destination="A", state=State.DEAD), "delivery_dead"),
        (Query(destination="A", state=State.DEAD, cause=Cause.REFUSED), "delivery_dead_cause"),
        (Query(state=State.HELD, cause=Cause.REFUSED), "delivery_held_cause"),
        (Query(study="S", destination="A", state=State.QUEUED), "instance_series"),
        (Query(sop_instance="1.2", destination="A", state=State.DEAD), "instance_sop_instance"),
    ],
)
async def test_questions_use_the_narrowest_index(world: World, query: Query, index: str) -> None:
    """In the order of the numbers, so that a page costs as much as it has lines."""
    async with world.running("A"):
        await world.accepted(Order("A", State.HELD, Cause.LOOP))
        (search, _), *_ = await world.desk._searches(query)
        values: defaultdict[str, None] = defaultdict(lambda: None)

        def plan() -> Sequence[str]:
            return [row["detail"] for row in world.connection.execute(f"EXPLAIN QUERY PLAN {search}", values)]

        steps = await world.disk_work(plan)
    assert f"{index} " in steps[0] or f"{index} " in steps[1]
    few = query.sop_instance is not None or query.study is not None or query.cause is not None
    assert few or not any("TEMP" in step for step in steps)
