"""On which terms instances are accepted: duplicates, quotas, quiet studies."""

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from router.durable.queue import OverQuotaError, QueueError
from router.model.delivery import Accepted, GivenUp, Order, Settlement, State, Terms, Wanted
from router.model.outcome import Cause
from tests.durable.world import HEAD, MINUTE, NOON, World

pytestmark = pytest.mark.trust

ONCE = Terms(once_within=timedelta(hours=1))
CONTENT = b"10 bytes.."
SIZE = len(HEAD) + len(CONTENT)


async def accept(world: World, *orders: Order, content: bytes = CONTENT, **changes: str) -> Accepted:
    """What the queue says of one more instance."""
    arrived = await world.disk_work(lambda: world.sealed(content, **changes))
    return await world.queue.accept(arrived, orders)


async def settle(world: World, state: State, destination: str = "A", limit: int = 1) -> None:
    """The next that is due becomes delivered, or dead."""
    claim = await world.queue.claim(destination, "forwarder", Wanted(limit), world.clock())
    settlements = [Settlement(each.id, state, cause=Cause.REFUSED) for each in claim.deliveries]
    await world.queue.settle(claim, settlements, world.clock())


async def test_a_duplicate_is_dropped_within_its_window(world: World) -> None:
    """While the first is queued, in flight or delivered; for each destination by itself; the record says why."""
    async with world.running("A", "B"):
        first = await accept(world, Order("A", terms=ONCE))
        assert first.orders == (Order("A", terms=ONCE),)
        (second,) = (await accept(world, Order("A", terms=ONCE))).orders
        assert (second.state, second.cause) == (State.DROPPED, Cause.DUPLICATE)
        assert "accepted for the destination before" in second.error
        assert [
            each.state for each in (await accept(world, Order("A", terms=ONCE), Order("B", terms=ONCE))).orders
        ] == [
            State.DROPPED,
            State.QUEUED,
        ]
        await settle(world, State.DELIVERED)
        assert (await accept(world, Order("A", terms=ONCE))).orders[0].state is State.DROPPED
        assert (await accept(world, Order("A"))).orders[0].state is State.QUEUED
        world.clock.advance(timedelta(hours=2))
        assert (await accept(world, Order("A", terms=ONCE))).orders[0].state is State.QUEUED
        # What was delivered, and what was dropped for all, may go.
        assert len(await world.queue.remove(world.clock(), 100)) == 3


async def test_what_did_not_arrive_is_no_reason_to_drop(world: World) -> None:
    """A dead letter, or one that was dropped, delivers nothing; other bytes or another syntax are another object."""
    async with world.running("A"):
        await accept(world, Order("A"))
        await settle(world, State.DEAD)
        assert (await accept(world, Order("A", terms=ONCE))).orders[0].state is State.QUEUED
        await settle(world, State.DEAD)
        await accept(world, Order("A", State.DROPPED))
        assert (await accept(world, Order("A", terms=ONCE))).orders[0].state is State.QUEUED
        assert (await accept(world, Order("A", terms=ONCE), content=b"other")).orders[0].state is State.QUEUED
        arrived = await world.disk_work(lambda: world.sealed(CONTENT))
        arrived = replace(arrived, identity=replace(arrived.identity, transfer_syntax="1.2.840.10008.1.2.4.90"))
        assert (await world.queue.accept(arrived, [Order("A", terms=ONCE)])).orders[0].state is State.QUEUED


async def test_two_at_the_same_moment_see_each_other(world: World) -> None:
    """However many arrive in one commit: exactly one is sent, all are answered for; other content is said."""
    async with world.running("A"):
        said: list[Accepted] = []

        async def one(content: bytes) -> None:
            said.append(await accept(world, Order("A", terms=ONCE), content=content))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one, CONTENT)
        assert sorted(each.orders[0].state for each in said) == [State.DROPPED] * 9 + [State.QUEUED]
        assert not any(each.changed_content for each in said)
        await one(b"other bytes")
        assert said[-1].changed_content
        assert said[-1].orders[0].state is State.QUEUED


async def test_an_adopted_instance_keeps_no_terms_that_refuse(world: World) -> None:
    """It may have been answered for: it is neither a duplicate nor over a quota."""
    terms = replace(ONCE, quota=SIZE)
    async with world.running("A"):
        await accept(world, Order("A", terms=terms))
        arrived = await world.disk_work(lambda: world.sealed(CONTENT))
        await world.disk_work(lambda: world.spool.publish([arrived.path]))
        assert await world.queue.adopt(arrived, [Order("A", terms=terms)])
        assert await world.states() == [State.QUEUED] * 2


async def test_a_best_effort_destination_gives_up_its_oldest(world: World) -> None:
    """Dead letters first, then what waits longest, no more than is needed; what is held or in flight stays."""
    terms = Terms(quota=4 * SIZE, best_effort=True)
    async with world.running("A", "B"):
        for _ in range(2):
            await accept(world, Order("A"), Order("B"))
        await settle(world, State.DEAD, limit=1)
        flying = await world.queue.claim("A", "forwarder", Wanted(1), NOON)
        for _ in range(2):
            accepted = await accept(world, Order("A", terms=terms))
        assert accepted.given_up == ()
        dead, queued = (GivenUp("A", 1, SIZE),) * 2
        assert (await accept(world, Order("A", terms=terms))).given_up == (dead,)
        assert await world.states(destination="A") == [State.DEAD, State.IN_FLIGHT] + [State.QUEUED] * 3
        assert (await accept(world, Order("A", terms=terms))).given_up == (queued,)
        entries = await world.entries(destination="A")
        assert [each.state for each in entries] == [State.DEAD, State.IN_FLIGHT, State.DEAD] + [State.QUEUED] * 3
        assert [each.cause for each in entries[:3]] == [Cause.REFUSED, None, Cause.OVER_QUOTA]
        # Nothing that B is owed was touched, and the payloads of instances 1 and 2 stay for it.
        assert await world.states(destination="B") == [State.QUEUED] * 2
        await world.queue.give_back(flying)
        removed = await world.queue.remove(world.clock() + MINUTE, 10)
        assert [each.instance for each in removed] == [3]


async def test_what_finds_no_room_at_all_is_given_up_itself(world: World) -> None:
    """What is in flight or held is not given up for it; it is a dead letter at once, and may go."""
    async with world.running("A"):
        await accept(world, Order("A"))
        await world.queue.claim("A", "forwarder", Wanted(1), NOON)
        await accept(world, Order("A"))
        accepted = await accept(world, Order("A", terms=Terms(quota=2 * SIZE - 1, best_effort=True)))
        assert [(each.state, each.cause) for each in accepted.orders] == [(State.DEAD, Cause.OVER_QUOTA)]
        assert accepted.given_up == (GivenUp("A", 1, SIZE),)
        assert await world.states() == [State.IN_FLIGHT, State.QUEUED, State.DEAD]
        assert [each.instance for each in await world.queue.remove(world.clock() + MINUTE, 10)] == [3]


@pytest.mark.parametrize("operation", ["revive", "readdress"])
async def test_sent_again_it_takes_its_claim_back(world: World, operation: str) -> None:
    """S6 → S4: the payload stays then, and is kept as long after its delivery as any other."""
    terms = Terms(quota=SIZE, best_effort=True)
    async with world.running("A"):
        await accept(world, Order("A", terms=terms))
        await accept(world, Order("A", terms=terms))
        assert await world.states() == [State.DEAD, State.QUEUED]
        world.clock.advance(timedelta(hours=1))
        if operation == "revive":
            assert await world.queue.interventions.revive([1], world.clock()) == {"A": 1}
        else:
            assert await world.queue.interventions.readdress([1], "A", world.clock()) == 1
        assert await world.queue.remove(world.clock() + MINUTE, 10) == ()
        await settle(world, State.DELIVERED, limit=2)
        assert await world.queue.remove(world.clock(), 10) == ()
        assert len(await world.queue.remove(world.clock() + MINUTE, 10)) == 2


async def test_a_quota_warns_and_then_refuses(world: World) -> None:
    """Over its quota, one destination of several is named; when all are, nothing is kept and nothing published."""
    full, free = Terms(quota=SIZE), Terms(quota=2 * SIZE)
    async with world.running("A", "B"):
        await accept(world, Order("A", terms=full))
        accepted = await accept(world, Order("A", terms=full), Order("B", terms=free))
        assert accepted.over_quota == ("A",)
        before = world.files()
        arrived = await world.disk_work(lambda: world.sealed(CONTENT))
        with pytest.raises(OverQuotaError, match="no destination has room for another instance: A would be over"):
            await world.queue.accept(arrived, [Order("A", terms=full)])
        assert world.files() - before == {f"{arrived.ulid}.part"}
        assert len(await world.entries()) == 3
        await world.disk_work(lambda: world.spool.withdraw(arrived.path))
        # A dead letter keeps its place until an operator drops it.
        await settle(world, State.DEAD, limit=2)
        with pytest.raises(OverQuotaError):
            await accept(world, Order("A", terms=full))
        await world.queue.interventions.drop([1, 2], world.clock())
        assert (await accept(world, Order("A", terms=full))).over_quota == ()
        # A destination without a quota, or one that gives up, always has room.
        assert (await accept(world, Order("A", terms=full), Order("B"))).over_quota == ("A",)


async def test_a_failing_check_fails_alone(world: World) -> None:
    """Before its payload is published; its neighbours in the batch are accepted."""
    async with world.running("A"):
        bad = replace(await world.disk_work(world.sealed), digest="\ud800")
        with pytest.raises(QueueError, match="could not do this"):
            await world.queue.accept(bad, [Order("A", terms=replace(ONCE, quota=SIZE))])
        assert world.files() == {f"{bad.ulid}.part"}
        await accept(world, Order("A"))


QUIET = Terms(wait_for_quiet=2 * MINUTE)


async def test_a_study_is_due_when_it_is_quiet(world: World) -> None:
    """Each arrival puts it off; then all are due in the order in which they came, by one pass."""
    async with world.running("A", "B"):
        for series in ("X1", "X2", "X1"):
            await accept(world, Order("A", terms=QUIET), Order("B", terms=QUIET), series=series)
            world.clock.advance(MINUTE)
        await accept(world, Order("A", terms=QUIET), study="")
        claim = await world.queue.claim("A", "forwarder", Wanted(10), world.clock())
        assert [each.id for each in claim.deliveries] == [7]
        until = world.clock() + MINUTE
        assert await world.queue.next_due("A") == until
        assert {each.next_attempt_at for each in await world.entries(destination="B")} == {until}
        world.clock.advance(MINUTE)
        traced: list[str] = []
        world.connection.set_trace_callback(traced.append)
        claim = await world.queue.claim("A", "forwarder", Wanted(10), world.clock())
        world.connection.set_trace_callback(None)
        assert len([each for each in traced if each.startswith("UPDATE delivery SET due")]) == 1
        assert [each.id for each in claim.deliveries] == [1, 5, 3]
        assert await world.queue.next_due("A") is None
        assert await world.queue.next_due("B") == until


async def test_quiet_survives_restarts_and_renaming(world: World) -> None:
    """The later of two times counts when both names waited for one study; an operator need not wait."""
    async with world.running("OLD", "NEW"):
        await accept(world, Order("OLD", terms=QUIET))
        world.clock.advance(MINUTE)
        await accept(world, Order("NEW", terms=QUIET))
    again = World(world.directory, world.disk_work, clock=world.clock)
    async with again.running():
        await again.queue.standings.configured({"NEW": "OLD"}, again.clock())
        assert await again.queue.next_due("NEW") == NOON + 3 * MINUTE
        assert await again.queue.next_due("OLD") is None
        await again.queue.interventions.revive([2], again.clock())
        claim = await again.queue.claim("NEW", "forwarder", Wanted(10), again.clock())
        assert [each.id for each in claim.deliveries] == [2]
        again.clock.advance(2 * MINUTE)
        claim = await again.queue.claim("NEW", "forwarder", Wanted(10), again.clock())
        assert [each.id for each in claim.deliveries] == [1]


async def test_what_was_held_while_its_study_became_quiet_is_due_when_it_returns(world: World) -> None:
    """Whoever held it."""
    async with world.running("A"):
        await accept(world, Order("A", terms=QUIET))
        await world.queue.standings.configured({}, world.clock())
        world.clock.advance(2 * MINUTE)
        await world.queue.claim("A", "forwarder", Wanted(10), world.clock())
        await world.queue.standings.configured({"A": None}, world.clock())
        assert await world.queue.next_due("A") == NOON


async def test_a_series_leaves_with_its_last_instance(world: World) -> None:
    """Its row too, and not before."""
    async with world.running():
        for _ in range(2):
            await accept(world, Order("A", State.DROPPED))
        for left in (1, 0):
            await world.queue.remove(world.clock() + MINUTE, 1)
            (count,) = world.connection.execute("SELECT count(*) FROM series").fetchone()
            assert count == left
