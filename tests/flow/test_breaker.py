"""Whether a destination works, and until when it is left alone if not."""

import anyio
import pytest

from router.flow.breaker import Breaker
from router.journal import DestinationRecovered, DestinationTrouble
from router.model.delivery import Standing
from router.model.outcome import Cause, Deferred, Scope
from tests.durable.world import NOON
from tests.flow.world import MINUTE, PACS, SECOND, Flow

pytestmark = pytest.mark.unit

DOWN = Deferred(Scope.DESTINATION, Cause.CONNECT_FAILED, "Cannot connect")
UNKNOWN = Deferred(Scope.DESTINATION, Cause.AE_TITLE_UNKNOWN, "Who is there?", hold=True)


async def breaker(flow: Flow) -> Breaker:
    """A breaker as it is after a start."""
    made = Breaker(PACS, flow.queue.standings, journal=flow.journal, clock=flow.clock, chance=flow.chance)
    await made.load()
    return made


async def opened(one: Breaker) -> bool:
    """Whether somebody who waits for trouble would go on."""
    with anyio.move_on_after(1):
        await one.wait_opened()
        return True
    return False


async def closed(one: Breaker) -> bool:
    """Whether somebody who waits for the destination would go on."""
    with anyio.move_on_after(1):
        while not one.closed:
            await one.changed.wait()
        return True
    return False


async def test_it_opens_and_closes(flow: Flow) -> None:
    """And wakes those who wait for the one or the other, each time anew."""
    async with flow.open(PACS):
        one = await breaker(flow)
        for _ in range(2):
            assert (one.closed, await closed(one), await opened(one)) == (True, True, False)
            await one.trip(DOWN)
            assert (one.closed, await closed(one), await opened(one)) == (False, False, True)
            await one.reset()
    assert [type(event) for event in flow.events] == [DestinationTrouble, DestinationRecovered] * 2


async def test_associations_that_fail_together_count_once(flow: Flow) -> None:
    """What several lines notice is one failure; a probe that fails is another one."""
    async with flow.open(PACS):
        one = await breaker(flow)
        for _ in range(3):
            await one.trip(DOWN)
        assert one.standing.failures == 1
        await one.trip(DOWN, probing=True)
        assert one.standing.failures == 2
    assert len(flow.events) == 2


async def test_success_while_it_works_is_no_news(flow: Flow) -> None:
    """Nothing is written, and nothing is said."""
    async with flow.open(PACS):
        one = await breaker(flow)
        await one.reset()
        assert one.closed
    assert flow.events == []


async def test_it_goes_on_where_the_last_run_stopped(flow: Flow) -> None:
    """Failures, cause, hold and times are in the queue."""
    async with flow.open(PACS):
        one = await breaker(flow)
        await one.trip(UNKNOWN)
        other = await breaker(flow)
        assert not other.closed
        assert other.standing == one.standing
        assert other.standing == Standing(
            1, NOON + 5 * MINUTE, held=True, cause=Cause.AE_TITLE_UNKNOWN, error="Who is there?", since=NOON
        )
        await anyio.sleep(7)
        await other.reset()
        assert (await breaker(flow)).standing == Standing()
    (_, recovered) = flow.events
    assert isinstance(recovered, DestinationRecovered)
    assert recovered.duration_ms == 7 * SECOND.total_seconds() * 1000
