"""The queue on a mock clock: days pass in no time, because no thread is waited for."""

from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from router.durable.sqlite import inline
from router.model.delivery import Settlement, State, Wanted
from tests.durable.world import World

pytestmark = pytest.mark.trust


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["mock clock"])
async def test_a_week_of_retries_passes_at_once(folder: Path) -> None:
    """A forwarder sleeps until the next attempt is due, or something new is queued; both happen on the mock clock."""
    world = World(folder / "spool", inline)
    attempts: list[tuple[int, timedelta]] = []
    began = world.clock()

    async def sleep(duration: timedelta) -> None:
        await anyio.sleep(duration.total_seconds())
        world.clock.advance(duration)

    async def forward() -> None:
        while len(attempts) < 8:
            claim = await world.queue.claim("A", "forwarder", Wanted(1), world.clock())
            for delivery in claim.deliveries:
                attempts.append((delivery.id, world.clock() - began))
                later = Settlement(delivery.id, State.QUEUED, next_attempt_at=world.clock() + timedelta(days=1))
                await world.queue.settle(claim, [later], world.clock())
            if not claim.deliveries:
                due = await world.queue.next_due("A")
                if due is None:
                    await world.queue.changed("A")
                else:
                    await sleep(due - world.clock())

    async with world.running("A"), anyio.create_task_group() as group:
        group.start_soon(forward)
        await anyio.wait_all_tasks_blocked()
        await world.accepted("A")
    assert attempts == [(1, timedelta(days=day)) for day in range(8)]
