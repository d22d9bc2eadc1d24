"""The queue on SQLite, with both runners."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from router.durable.queue import QueueError
from router.durable.sqlite import _SQL
from router.model.delivery import TRANSITIONS, Claim, Delivery, Order, Priority, Settlement, Standing, State, Wanted
from router.model.outcome import Cause
from tests.durable.world import HEAD, MINUTE, NOON, ScriptedDisk, World, io_error

pytestmark = pytest.mark.trust


async def claimed(world: World, destination: str = "A", limit: int = 10) -> Claim:
    """What is due for a destination."""
    return await world.queue.claim(destination, "forwarder", Wanted(limit), world.clock())


def all_as(claim: Claim, state: State) -> Sequence[Settlement]:
    """A settlement for each delivery of a claim."""
    return [Settlement(delivery.id, state) for delivery in claim.deliveries]


async def test_a_claim_tells_everything_about_a_delivery(world: World) -> None:
    """What was accepted comes out again, once, with its path and the destination's working time."""
    async with world.running("A"):
        arrived = await world.accepted("A")
        world.clock.advance(MINUTE)
        claim = await claimed(world)
        assert claim.deliveries == (
            Delivery(
                id=1,
                ulid=arrived.ulid,
                destination="A",
                path=str(arrived.path),
                envelope=arrived.envelope,
                identity=arrived.identity,
                size=arrived.size,
                header_size=len(HEAD),
                digest=arrived.digest,
                study=arrived.study,
                series=arrived.series,
                priority=Priority.NORMAL,
                strategy=None,
                attempts=0,
                tries=0,
                uncertain=False,
                worked=MINUTE,
            ),
        )
        assert (await claimed(world)).deliveries == ()
        assert await world.states() == [State.IN_FLIGHT]


async def test_claims_are_oldest_first_and_at_most_the_limit(world: World) -> None:
    """By the time when they are due, then as they came; what is not due yet waits."""
    async with world.running("A"):
        for _ in range(4):
            await world.accepted("A")
            world.clock.advance(MINUTE)
        first = await claimed(world, limit=1)
        later = Settlement(1, State.QUEUED, next_attempt_at=world.clock() + MINUTE)
        await world.queue.settle(first, [later], world.clock())
        assert [delivery.id for delivery in (await claimed(world, limit=2)).deliveries] == [2, 3]
        assert await world.queue.next_due("A") == NOON + 3 * MINUTE
        world.clock.advance(MINUTE)
        assert [delivery.id for delivery in (await claimed(world)).deliveries] == [4, 1]
        assert await world.queue.next_due("A") is None


async def test_a_clock_that_was_set_back_delays_nothing(world: World) -> None:
    """An instance is due when it is accepted, even if it was received in the future."""
    async with world.running("A"):
        arrived = await world.disk_work(world.sealed)
        world.clock.advance(-timedelta(hours=1))
        await world.queue.accept(arrived, [Order("A")])
        assert len((await claimed(world)).deliveries) == 1


async def test_settlements_are_recorded(world: World) -> None:
    """Counters, cause, status and strategy are for the operator and the next attempt; uncertainty stays."""
    async with world.running("A"):
        await world.accepted("A")
        claim = await claimed(world)
        settlement = Settlement(
            1,
            State.QUEUED,
            next_attempt_at=NOON + MINUTE,
            charged=True,
            tried=True,
            uncertain=True,
            cause=Cause.CANNOT_UNDERSTAND,
            error="the peer cannot understand the object",
            status=0xC000,
            strategy="universal",
            transfer_syntax="1.2.840.10008.1.2",
            associations=2,
            error_comment="ELEMENT",
        )
        assert await world.queue.settle(claim, [settlement], world.clock()) == 1
        entry = await world.desk.entry(1)
        assert entry is not None
        assert (entry.state, entry.cause, entry.error) == (State.QUEUED, settlement.cause, settlement.error)
        assert (entry.attempts, entry.status, entry.strategy) == (1, 0xC000, "universal")
        assert (entry.transfer_syntax, entry.error_comment) == ("1.2.840.10008.1.2", "ELEMENT")
        assert (entry.next_attempt_at, entry.last_attempt_at) == (NOON + MINUTE, NOON)

        world.clock.advance(MINUTE)
        claim = await claimed(world)
        (delivery,) = claim.deliveries
        assert (delivery.attempts, delivery.tries, delivery.uncertain) == (1, 1, True)
        await world.queue.settle(claim, [Settlement(1, State.QUEUED)], world.clock())
        (delivery,) = (await claimed(world)).deliveries
        assert (delivery.attempts, delivery.tries, delivery.uncertain) == (1, 1, True)


async def test_a_stale_token_changes_nothing(world: World) -> None:
    """After recovery by another, or a settlement, the old claim is void; tokens are never used twice."""
    async with world.running("A"):
        await world.accepted("A")
        stale = await claimed(world)
        await world.queue.recover("forwarder", world.clock())
        fresh = await claimed(world)
        assert fresh.token > stale.token
        assert await world.queue.settle(stale, all_as(stale, State.DELIVERED), world.clock()) == 0
        await world.queue.give_back(stale)
        assert await world.states() == [State.IN_FLIGHT]
        assert await world.queue.settle(fresh, all_as(fresh, State.DEAD), world.clock()) == 1
        assert await world.queue.settle(fresh, all_as(fresh, State.DELIVERED), world.clock()) == 0
        assert await world.states() == [State.DEAD]
    again = World(world.directory, world.disk_work)
    async with again.running("A"):
        await again.accepted("A")
        assert (await claimed(again)).token > fresh.token


async def test_what_was_not_tried_is_given_back_uncharged(world: World) -> None:
    """Only what the claim still holds; it keeps its place."""
    async with world.running("A"):
        for _ in range(3):
            await world.accepted("A")
        claim = await claimed(world)
        await world.queue.settle(claim, [Settlement(2, State.DELIVERED)], world.clock())
        await world.queue.give_back(claim)
        assert await world.states() == [State.QUEUED, State.DELIVERED, State.QUEUED]
        assert [each.attempts for each in (await claimed(world)).deliveries] == [0, 0]


async def bring(world: World, state: State) -> None:
    """Delivery 1 of destination A into ``state``."""
    match state:
        case State.QUEUED:
            await world.accepted("A")
        case State.HELD:
            await world.accepted(Order("A", State.HELD, Cause.LOOP))
        case State.DROPPED:
            await world.accepted(Order("A", State.DROPPED))
        case _:
            await world.accepted("A")
            claim = await claimed(world)
            if state is not State.IN_FLIGHT:
                await world.queue.settle(claim, all_as(claim, state), world.clock())


@pytest.mark.parametrize(("before", "wanted"), list(product(State, State)))
async def test_only_the_transitions_of_the_model_happen(world: World, before: State, wanted: State) -> None:
    """Whatever operation is tried on a delivery in any state: it stays, or goes where the model lets it go."""
    async with world.running("A"):
        await bring(world, before)
        seen = before
        settle = Settlement(1, wanted)

        async def look(*allowed: State) -> None:
            nonlocal seen
            (now,) = await world.states()
            assert now is seen or (now in TRANSITIONS[seen] and now in allowed)
            seen = now

        claim = Claim(1, ())
        if wanted in TRANSITIONS[State.IN_FLIGHT]:
            await world.queue.settle(claim, [settle], world.clock())
        else:
            with pytest.raises(QueueError, match=f"cannot become {wanted}"):
                await world.queue.settle(claim, [settle], world.clock())
        await look(wanted)
        await world.queue.recover("forwarder", world.clock())
        await look(State.QUEUED)
        await world.queue.interventions.revive([1], world.clock())
        await look(State.QUEUED)
        await world.queue.standings.configured({}, world.clock())
        await look(State.HELD)
        await world.queue.standings.configured({"A": None}, world.clock())
        await look(State.QUEUED)
        (entry,) = await world.entries()
        await world.queue.lose(entry.path, world.clock())
        await look(State.DEAD)
        await world.queue.remove(world.clock() - MINUTE, 10)
        await look()


async def test_orders_that_make_no_sense_are_refused(world: World) -> None:
    """No order, one that is in flight already, one for nobody: nothing is promised."""
    async with world.running("A"):
        arrived = await world.disk_work(world.sealed)
        for orders in ([], [Order("A", State.IN_FLIGHT)], [Order("")]):
            with pytest.raises(QueueError):
                await world.queue.accept(arrived, orders)
        with pytest.raises(QueueError):
            await world.queue.adopt(arrived, [])
        assert await world.entries() == []


async def test_a_value_that_sqlite_cannot_hold_fails_alone(world: World) -> None:
    """One operation of a batch fails; the others in the same commit stand."""
    async with world.running("A"):
        bad = await world.disk_work(lambda: world.sealed(calling="\ud800"))
        good = await world.disk_work(world.sealed)
        huge = replace(await world.disk_work(world.sealed), size=1 << 70)
        twice = replace(await world.disk_work(world.sealed), ulid=good.ulid)
        failures: list[str] = []

        async def accept(arrived: object) -> None:
            try:
                await world.queue.accept(arrived, [Order("A")])  # type: ignore[arg-type] # each is an arrival
            except QueueError as error:
                failures.append(str(error))

        async with anyio.create_task_group() as group:
            for each in (bad, good, huge, twice):
                group.start_soon(accept, each)
        assert len(failures) == 3
        assert [entry.ulid for entry in await world.entries()] == [good.ulid]


async def test_a_publish_that_fails_fails_alone(world: World) -> None:
    """S2: the rename of one part fails, its neighbours in the batch are accepted."""
    async with world.running("A"):
        gone = await world.disk_work(world.sealed)
        (world.directory / gone.path).with_suffix(".part").unlink()
        with pytest.raises(QueueError, match=r"No such file.*Nothing was promised"):
            await world.queue.accept(gone, [Order("A")])
        await world.accepted("A")
        assert len(await world.entries()) == 1


async def test_acceptances_that_wait_together_share_one_commit(world: World) -> None:
    """Group commit: what comes while a batch runs is the next batch, with one fsync of the folder and one COMMIT."""
    disk = ScriptedDisk()
    world = World(world.directory, world.disk_work, disk=disk)
    async with world.running("A"):
        arrivals = [await world.disk_work(world.sealed) for _ in range(20)]
        traced: list[str] = []
        world.connection.set_trace_callback(traced.append)
        disk.calls.clear()
        async with anyio.create_task_group() as group:
            for arrived in arrivals:
                group.start_soon(world.queue.accept, arrived, [Order("A")])
        assert disk.calls.count("rename") == 20
        assert disk.calls.count("fsync_directory") == traced.count("COMMIT") <= 2
        assert traced[0] == "PRAGMA synchronous=FULL"
        assert "PRAGMA synchronous=NORMAL" not in traced
        traced.clear()
        claim = await claimed(world)
        await world.queue.settle(claim, all_as(claim, State.DELIVERED), world.clock())
        assert traced[0] == "PRAGMA synchronous=NORMAL"
        assert "PRAGMA synchronous=FULL" not in traced
        world.connection.set_trace_callback(None)


async def test_a_cancelled_caller_loses_no_claim(world: World) -> None:
    """The claim is returned, so that it can be given back; cancellation comes at the caller's next wait."""
    async with world.running("A"):
        await world.accepted("A")
        with anyio.CancelScope() as scope:
            scope.cancel()
            claim = await claimed(world)
            await world.queue.give_back(claim)
            await checkpoint()
            pytest.fail("the scope was cancelled")
        assert len(claim.deliveries) == 1
        assert await world.states() == [State.QUEUED]


async def test_changed_waits_for_what_is_queued_after_the_claim(world: World) -> None:
    """Something that was queued between a claim and the call wakes at once; then it waits."""
    async with world.running("A", "B"):
        await claimed(world)
        await world.accepted("A")
        await world.queue.changed("A")
        await claimed(world)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await world.queue.changed("A")
        assert scope.cancelled_caught
        await world.accepted("A")
        await world.queue.next_due("A")
        await world.accepted("B")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await world.queue.changed("A")
        assert scope.cancelled_caught


async def test_all_forwarders_of_a_destination_wake(world: World) -> None:
    """Several wait for one destination, each in its own task, some without having looked before."""
    async with world.running("A"):
        woken = 0

        async def wait(look: object) -> None:
            nonlocal woken
            if look:
                await world.queue.next_due("A")
            await world.queue.changed("A")
            woken += 1

        async with anyio.create_task_group() as group:
            for look in ("looked", "", "looked"):
                group.start_soon(wait, look)
            await anyio.wait_all_tasks_blocked()
            await world.accepted("A")
        assert woken == 3


@pytest.mark.parametrize("operation", ["settle", "give_back", "recover", "revive", "configured", "adopt"])
async def test_every_way_back_into_the_queue_wakes(world: World, operation: str) -> None:
    """Not only an acceptance."""
    async with world.running("A"):
        await world.accepted("A")
        claim = await claimed(world)
        if operation == "revive":
            await world.queue.settle(claim, all_as(claim, State.DEAD), world.clock())
        await world.queue.next_due("A")
        match operation:
            case "settle":
                await world.queue.settle(claim, all_as(claim, State.QUEUED), world.clock())
            case "give_back":
                await world.queue.give_back(claim)
            case "recover":
                await world.queue.recover("forwarder", world.clock())
            case "revive":
                assert await world.queue.interventions.revive([1, 99], world.clock()) == {"A": 1}
            case "configured":
                await world.queue.standings.configured({"A": None}, world.clock())
            case _:
                arrived = await world.disk_work(world.sealed)
                await world.disk_work(lambda: world.spool.publish([arrived.path]))
                await world.queue.adopt(arrived, [Order("A")])
        await world.queue.changed("A")


async def test_unconfigured_destinations_are_held_and_resume(world: World) -> None:
    """Queued ones at once, those in flight when they come back; other causes of being held stay."""
    async with world.running("A", "B"):
        await world.accepted("A")
        await world.accepted("A", Order("B", State.HELD, Cause.LOOP))
        claim = await claimed(world, limit=1)
        await world.queue.standings.configured({"B": None}, world.clock())
        assert await world.states() == [State.IN_FLIGHT, State.HELD, State.HELD]
        await world.queue.settle(claim, all_as(claim, State.QUEUED), world.clock())
        await world.accepted("A")
        assert {(each.state, each.cause) for each in await world.entries(destination="A")} == {
            (State.HELD, Cause.NOT_CONFIGURED)
        }
        assert await world.queue.interventions.revive([1], world.clock()) == {}
        assert set(await world.desk.standings()) == {"B"}
        await world.queue.standings.configured({"A": None, "B": None}, world.clock())
        assert await world.states(destination="A") == [State.QUEUED] * 3
        assert await world.states(destination="B") == [State.HELD]


async def test_deliveries_from_before_any_configuration_are_held(world: World) -> None:
    """A destination that the queue never heard of is not configured either."""
    async with world.running():
        await world.accepted("A", "B")
        await claimed(world, "B")
        await world.queue.standings.configured({"C": None}, world.clock())
        assert await world.states() == [State.HELD, State.IN_FLIGHT]
        await world.queue.recover("forwarder", world.clock())
        assert await world.states() == [State.HELD, State.HELD]


async def test_a_renamed_destination_takes_its_deliveries_along(world: World) -> None:
    """Queued, in flight, held and dead ones, its standing and its working time; what is settled stays as it was."""
    trouble = Standing(3, NOON + MINUTE, held=True, cause=Cause.AE_TITLE_UNKNOWN, error="unknown", since=NOON)
    async with world.running("OLD"):
        for state in (State.DELIVERED, State.DEAD, State.IN_FLIGHT, State.QUEUED):
            await world.accepted("OLD")
            if state is not State.QUEUED:
                claim = await claimed(world, "OLD")
            if state in (State.DELIVERED, State.DEAD):
                await world.queue.settle(claim, all_as(claim, state), world.clock())
        world.clock.advance(MINUTE)
        await world.queue.standings.stand("OLD", trouble, world.clock())
        world.clock.advance(MINUTE)
        for _ in range(2):
            await world.queue.standings.configured({"NEW": "OLD"}, world.clock())
        assert await world.states(destination="OLD") == [State.DELIVERED]
        assert await world.states(destination="NEW") == [State.DEAD, State.IN_FLIGHT, State.QUEUED]
        assert await world.desk.standings() == {"NEW": trouble}
        (delivery,) = (await claimed(world, "NEW")).deliveries
        assert delivery.worked == MINUTE
        assert await world.queue.settle(claim, all_as(claim, State.QUEUED), world.clock()) == 1


async def test_what_is_accepted_for_the_old_name_meanwhile_is_held(world: World) -> None:
    """It was routed before the reload; the next one carries it over, and nothing waits for a name that is gone."""
    async with world.running("OLD"):
        await world.queue.standings.configured({"NEW": "OLD"}, world.clock())
        await world.accepted("OLD")
        assert await world.states(destination="OLD") == [State.HELD]
        await world.queue.standings.configured({"NEW": "OLD"}, world.clock())
        assert await world.states(destination="NEW") == [State.QUEUED]


async def test_what_is_settled_after_a_rename_wakes_under_the_new_name(world: World) -> None:
    """The claim still says the old one."""
    async with world.running("OLD"):
        await world.accepted("OLD")
        claim = await claimed(world, "OLD")
        await world.queue.standings.configured({"NEW": "OLD"}, world.clock())
        await world.queue.next_due("NEW")
        await world.queue.settle(claim, all_as(claim, State.QUEUED), world.clock())
        with anyio.fail_after(5):
            await world.queue.changed("NEW")


async def test_a_name_in_use_is_not_carried_over(world: World) -> None:
    """``renamed_from`` a destination that still exists means nothing; one that both had is joined to the new one."""
    async with world.running("OLD"):
        await world.accepted("OLD")
        world.clock.advance(5 * MINUTE)
        await world.queue.standings.configured({"OLD": None, "NEW": "OLD"}, world.clock())
        assert await world.states(destination="OLD") == [State.QUEUED]
        world.clock.advance(MINUTE)
        await world.queue.standings.configured({"NEW": "OLD"}, world.clock())
        (delivery,) = (await claimed(world, "NEW")).deliveries
        assert delivery.worked == 6 * MINUTE


async def test_the_working_clock_runs_while_the_destination_works(world: World) -> None:
    """Not while it fails, is held or not configured, nor while the daemon is down; a crash forgets little."""
    async with world.running("A", "B"):
        await world.accepted("A")
        world.clock.advance(MINUTE)
        for trouble in (Standing(failures=1), Standing(held=True)):
            await world.queue.standings.stand("A", trouble, world.clock())
            world.clock.advance(timedelta(hours=1))
            await world.queue.standings.stand("A", Standing(), world.clock())
            world.clock.advance(MINUTE)
        await world.queue.standings.configured({"B": None}, world.clock())
        world.clock.advance(timedelta(hours=1))
        await world.queue.standings.configured({"A": None}, world.clock())
        world.clock.advance(MINUTE)
        claim = await claimed(world)
        assert claim.deliveries[0].worked == 4 * MINUTE
        await world.queue.settle(claim, all_as(claim, State.QUEUED), world.clock())
    clock = world.clock
    clock.advance(timedelta(days=1))
    again = World(world.directory, world.disk_work, clock=clock)
    async with again.running():
        clock.advance(MINUTE)
        assert (await claimed(again)).deliveries[0].worked == 5 * MINUTE


async def test_a_clock_set_back_does_not_run_backwards(world: World) -> None:
    """Working time never shrinks."""
    async with world.running("A"):
        await world.accepted("A")
        now = world.clock.advance(-timedelta(hours=1))
        await world.queue.standings.stand("A", Standing(), now)
        claim = await world.queue.claim("A", "forwarder", Wanted(1), NOON)
        assert claim.deliveries[0].worked == timedelta(hours=1)


async def test_standings_survive(world: World) -> None:
    """Of a destination that nobody stored anything about, too."""
    trouble = Standing(2, NOON + MINUTE, held=False, cause=Cause.CONNECT_FAILED, error="refused", since=NOON)
    async with world.running("A"):
        assert await world.queue.standings.standing("X") == Standing()
        await world.queue.standings.stand("A", trouble, world.clock())
        await world.queue.standings.stand("NEW", trouble, world.clock())
    again = World(world.directory, world.disk_work)
    async with again.running():
        assert await again.queue.standings.standing("A") == trouble
        assert await again.desk.standings() == {"A": trouble, "NEW": trouble}


async def test_revived_deliveries_begin_anew(world: World) -> None:
    """Dead, held and waiting ones are due now, counters at 0; settled ones, and those for nobody, stay."""
    async with world.running("A"):
        await world.accepted("A")
        claim = await claimed(world)
        dead = Settlement(1, State.DEAD, charged=True, tried=True, cause=Cause.REFUSED, error="no")
        await world.queue.settle(claim, [dead], world.clock())
        await world.accepted(Order("A", State.HELD, Cause.LOOP))
        await world.accepted("A")
        claim = await claimed(world)
        later = Settlement(3, State.QUEUED, next_attempt_at=NOON + timedelta(days=1), charged=True)
        await world.queue.settle(claim, [later], world.clock())
        await world.accepted(Order("A", State.DROPPED))
        await world.accepted(Order("", State.HELD, Cause.NO_ROUTE))
        world.clock.advance(MINUTE)
        assert await world.queue.interventions.revive(range(1, 6), world.clock()) == {"A": 3}
        deliveries = (await claimed(world)).deliveries
        assert [(each.id, each.attempts, each.tries, each.worked) for each in deliveries] == [
            (number, 0, 0, timedelta()) for number in (1, 2, 3)
        ]
        (first, *_) = await world.entries()
        assert (first.cause, first.error) == (None, "")


async def test_only_settled_instances_are_removed(world: World) -> None:
    """S6 → S1, oldest first, at most the limit, settled before then; S4 and S5 keep their payloads."""
    async with world.running("A", "B"):
        for orders in (("A",), ("A", "B"), ("A",)):
            await world.accepted(*orders)
            claim = await claimed(world)
            await world.queue.settle(claim, all_as(claim, State.DELIVERED), world.clock.advance(MINUTE))
        kept = await world.accepted(Order("", State.HELD, Cause.NO_ROUTE))
        assert await world.queue.remove(NOON + MINUTE, 10) == ()
        (first,) = await world.queue.remove(world.clock() + MINUTE, 1)
        assert first.instance == 1
        (third,) = await world.queue.remove(world.clock() + MINUTE, 10)
        assert third.instance == 3
        assert await world.queue.remove(world.clock() + MINUTE, 10) == ()
        second = (await claimed(world, "B")).deliveries[0]
        assert world.files() == {f"{second.ulid}.dcm", kept.path.name}
        assert set(await world.desk.paths()) == {second.path, str(kept.path)}


async def test_what_cannot_be_unlinked_keeps_its_row(world: World) -> None:
    """S6: the disk refuses one unlink; the next removal takes it."""
    disk = ScriptedDisk(error=io_error)
    world = World(world.directory, world.disk_work, disk=disk)
    async with world.running("A"):
        for _ in range(3):
            await world.accepted(Order("A", State.DROPPED))
        disk.stop_at = len(disk.calls) + 2
        with pytest.raises(QueueError, match="1 payloads cannot be removed, the first: Input/output error"):
            await world.queue.remove(NOON + MINUTE, 10)
        assert [entry.id for entry in await world.entries()] == [2]
        assert len(await world.queue.remove(NOON + MINUTE, 10)) == 1
        assert world.files() == set()


async def test_a_lost_payload_is_a_dead_letter(world: World) -> None:
    """S8: open deliveries die, whoever has them in flight; what is settled or kept stays."""
    async with world.running("A", "B"):
        arrived = await world.accepted("A", "B", Order("C", State.HELD, Cause.LOOP), Order("D", State.DROPPED))
        claim = await claimed(world)
        assert await world.queue.lose(str(arrived.path), world.clock()) == 2
        assert await world.queue.lose("objects/0/2031050712/elsewhere.dcm", world.clock()) == 0
        assert await world.states() == [State.DEAD, State.DEAD, State.HELD, State.DROPPED]
        assert (await world.entries())[0].cause is Cause.PAYLOAD_MISSING
        assert await world.queue.settle(claim, all_as(claim, State.DELIVERED), world.clock()) == 0


def explain(world: World, name: str) -> Sequence[str]:
    """How SQLite carries a statement out."""
    values = dict.fromkeys(re.findall(r":(\w+)", _SQL[name]))
    return [row["detail"] for row in world.connection.execute(f"EXPLAIN QUERY PLAN {_SQL[name]}", values)]


@pytest.mark.parametrize(
    ("name", "index"),
    {
        "accepted_before": "instance_sop_instance",
        "known_of": "instance_sop_instance",
        "load": "delivery_in_flight",
        "dead_kept": "delivery_dead_kept",
        "oldest_queued": "delivery_queued",
        "quiet_by_now": "quiet_until",
        "end_quiet": "delivery_instance",
        "due_first": "delivery_due",
        "due_last": "delivery_due",
        "due_of_study": "delivery_instance",
        "due_of_series": "delivery_instance",
        "in_flight_groups": "delivery_in_flight",
        "claim": "PRIMARY KEY",
        "claimed": "PRIMARY KEY",
        "settle": "PRIMARY KEY",
        "next_due": "delivery_due",
        "recover": "delivery_in_flight",
        "hold_strangers": "delivery_queued",
        "movable": "delivery_failover",
        "stamp_settled": "delivery_instance",
        "mark_removing": "instance_settled",
    }.items(),
)
async def test_the_daily_path_uses_the_indexes(world: World, name: str, index: str) -> None:
    """A backlog costs nothing: no statement of the daily path scans deliveries or instances, or sorts what waits."""
    async with world.running():
        plan = await world.disk_work(partial(explain, world, name))
    assert any(index in step for step in plan), plan
    sorts = name in {"due_of_study", "due_of_series", "claimed", "in_flight_groups"}  # only what belongs together
    assert sorts or not [step for step in plan if "TEMP" in step]
    scanned = ("SCAN delivery", "SCAN instance", "SCAN series")
    # The covering index of what is in flight is short.
    assert not [step for step in plan if step.startswith(scanned) and "delivery_in_flight" not in step]


async def test_what_is_asked_after_the_end_is_an_error(world: World) -> None:
    """A caller is never left waiting: at the end it is committed, or refused."""
    async with world.running("A"):
        pass
    with pytest.raises(QueueError, match="the daemon is stopping"):
        await world.queue.next_due("A")


async def test_what_waits_at_the_end_is_committed(world: World) -> None:
    """Cancelled together with its callers, the queue still does what they asked for."""
    await world.disk_work(world.open)
    async with anyio.create_task_group() as group:
        group.start_soon(world.queue.run)
        group.start_soon(world.queue.standings.stand, "A", Standing(failures=7), NOON)
        group.cancel_scope.cancel()
    await world.disk_work(world.close)
    again = World(world.directory, world.disk_work)
    async with again.running():
        assert (await again.queue.standings.standing("A")).failures == 7


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_disk_that_breaks_the_runner_leaves_nobody_waiting(world: World) -> None:
    """Whatever ends the queue, its callers get an answer."""
    world = World(world.directory, disk=ScriptedDisk())
    world.open()
    assert isinstance(world.spool.disk, ScriptedDisk)
    arrived = world.sealed()
    world.spool.disk.stop_at = len(world.spool.disk.calls) + 1
    refused: list[QueueError] = []

    async def accept() -> None:
        try:
            await world.queue.accept(arrived, [Order("A")])
        except QueueError as error:
            refused.append(error)

    with pytest.RaisesGroup(Exception):
        async with anyio.create_task_group() as group:
            group.start_soon(world.queue.run)
            group.start_soon(accept)
    assert "ended before it could commit" in str(refused[0])
    world.close()


def test_the_queue_needs_no_loop_to_be_built(tmp_path: Path) -> None:
    """The daemon builds everything first; closing what was never opened is harmless."""
    world = World(tmp_path)
    world.close()
