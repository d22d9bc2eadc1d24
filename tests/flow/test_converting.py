"""From the queue to one destination, where some of it has to be converted, or this machine is in trouble."""

from typing import TYPE_CHECKING

import anyio
import pytest

from router.dicom.content import Outgoing
from router.journal import DeadLetter, DeliveryDeferred, DestinationTrouble, SpoolTrouble
from router.model.delivery import State
from router.model.outcome import Answered, Cause, Failed
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from tests.flow.pacs import ABORTED, UNREADABLE, Response
from tests.flow.world import HOUR, MINUTE, PACS, SECOND, Flow

if TYPE_CHECKING:
    from datetime import timedelta

pytestmark = pytest.mark.unit

MANY = 100
"""More than one claim takes."""


async def owe_mixed(flow: Flow, convert: str, natives: int) -> None:
    """One that has to be converted, which takes as long as its event says, and many that need not be."""
    flow.pacs.accepts = frozenset({IMPLICIT_VR_LITTLE_ENDIAN})
    flow.transcoder.held[convert] = anyio.Event()
    await flow.owe(convert)
    await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, *(f"{number}" for number in range(natives)))


async def test_a_long_conversion_holds_up_nobody(flow: Flow) -> None:
    """Neither what waits already nor what comes later; when it is ready it goes."""
    async with flow.open(PACS):
        await owe_mixed(flow, "slow", MANY)
        async with flow.forwarding():
            await anyio.sleep(1)
            assert len(flow.pacs.received) == MANY
            await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "later")
            await anyio.sleep(1)
            assert flow.pacs.received[-1] == "later"
            await anyio.sleep(30)
            assert flow.pacs.open == 0, "the association does not idle meanwhile"
            flow.transcoder.held["slow"].set()
            await anyio.sleep(1)
            assert flow.pacs.received[-1] == "slow"
        assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}
        assert flow.pacs.most_open == 1


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_what_is_being_converted_is_given_back_in_the_end(flow: Flow, how: str) -> None:
    """Uncharged, and not in doubt: it was not sent."""
    async with flow.open(PACS):
        await owe_mixed(flow, "slow", 3)
        async with anyio.create_task_group() as group:
            forwarder = flow.forwarder(PACS)
            group.start_soon(forwarder.run)
            await anyio.sleep(1)
            assert (await flow.entry("slow")).state is State.IN_FLIGHT
            if how == "stop":
                forwarder.stop()
            else:
                group.cancel_scope.cancel()
        entry = await flow.entry("slow")
        assert (entry.state, entry.attempts) == (State.QUEUED, 0)
        assert not await flow.uncertain("slow")
        assert flow.transcoder.files == 0


async def test_trouble_of_the_destination_gives_back_what_is_being_converted(flow: Flow) -> None:
    """It is due again when the destination works; its conversion begins anew."""
    async with flow.open(PACS):
        await owe_mixed(flow, "slow", 2)
        flow.pacs.script({f"{number}": [ABORTED, Answered(0)] for number in range(2)})
        async with flow.forwarding():
            await anyio.sleep(1)
            assert (await flow.entry("slow")).state is State.QUEUED
            flow.transcoder.held["slow"].set()
            await anyio.sleep(60)
        assert (await flow.entry("slow")).state is State.DELIVERED
        assert flow.transcoder.begun == ["slow", "slow"]
        assert flow.happened(DestinationTrouble)


async def test_trouble_on_this_machine_is_waited_for(flow: Flow) -> None:
    """5 s, doubling; no try is used up, the destination is not in trouble, others go, and the log says what it is."""
    sent_at: list[timedelta] = []

    async def respond(sent: Outgoing) -> Response:
        if sent.identity.sop_instance == "unreadable" and flow.passed < HOUR:
            sent_at.append(flow.passed)
            return UNREADABLE
        return Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await flow.owe("unreadable", "other")
        async with flow.forwarding():
            await anyio.sleep(MINUTE.total_seconds())
            assert (await flow.entry("other")).state is State.DELIVERED
            entry = await flow.entry("unreadable")
            assert (entry.state, entry.cause) == (State.QUEUED, Cause.LOCAL_TROUBLE)
            assert [round(each / SECOND) for each in sent_at] == [0, 5, 15, 35]
            assert await flow.tries("unreadable") == 0
            await anyio.sleep(2 * HOUR.total_seconds())
        assert (await flow.entry("unreadable")).state is State.DELIVERED
    assert not flow.happened(DestinationTrouble)
    assert flow.happened(SpoolTrouble)
    assert len(flow.happened(DeliveryDeferred)) == len(sent_at)


async def test_an_object_that_kills_its_worker_is_not_tried_for_ever(flow: Flow) -> None:
    """At once, after 1 min, 10 min and 1 h; then it is a dead letter with the reason."""
    flow.pacs.accepts = frozenset({IMPLICIT_VR_LITTLE_ENDIAN})
    flow.transcoder.failure = Failed(Cause.CONVERSION_DIED, "the worker process died of it")
    async with flow.open(PACS):
        await flow.owe("bomb")
        async with flow.forwarding():
            await anyio.sleep(3 * HOUR.total_seconds())
        entry = await flow.entry("bomb")
        assert (entry.state, entry.cause, entry.attempts) == (State.DEAD, Cause.CONVERSION_DIED, 4)
        assert "died of it" in entry.error
    assert len(flow.happened(DeadLetter)) == 1
    assert not flow.happened(DestinationTrouble)
