"""What became of claimed deliveries is settled beside the sending."""

from collections.abc import Sequence
from datetime import datetime

import anyio
import pytest

from router.durable.queue import QueueError
from router.flow.pacer import Pacer
from router.journal import Defect, Delivered
from router.model.delivery import Claim, Settlement, State
from tests.flow.world import MINUTE, PACS, Flow

pytestmark = pytest.mark.unit


async def test_what_ends_during_one_commit_has_the_next_one_together(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow commit does not hold up the next instance, and none is told of before it is settled."""
    commits: list[int] = []
    sent_by_then: list[int] = []
    commit = flow.queue.settle

    async def slow(claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        commits.append(len(settlements))
        await anyio.sleep(10)
        sent_by_then.append(len(flow.pacs.sent))
        assert len(flow.happened(Delivered)) == sum(commits[:-1])
        return await commit(claim, settlements, now)

    monkeypatch.setattr(flow.queue, "settle", slow)
    flow.pacs.script({})
    async with flow.open(PACS):
        await flow.owe("1", "2", "3", "4")
        async with flow.forwarding():
            await anyio.sleep(30)
        assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}
    assert (len(commits), sum(commits)) == (2, 4)
    assert sent_by_then == [4, 4]
    assert len(flow.happened(Delivered)) == 4


async def test_nothing_is_claimed_before_what_ended_is_settled(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that fails no more is sent than one claim: all of it would be sent again after a crash."""
    flow.pacs.script({})
    commit = flow.queue.settle

    async def failing_at_first(claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        if flow.passed < MINUTE:
            raise QueueError("the disk fails")
        return await commit(claim, settlements, now)

    monkeypatch.setattr(flow.queue, "settle", failing_at_first)
    async with flow.open(PACS):
        await flow.owe("1")
        async with flow.forwarding():
            await anyio.sleep(1)
            await flow.owe("2")
            await anyio.sleep(50)
            assert flow.pacs.received == ["1"]
            await anyio.sleep(60)
        assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}
    assert flow.pacs.received == ["1", "2"]


async def test_a_defect_in_the_middle_leaves_nothing_in_flight(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored before it is settled, as an error of its own, not as one of a group."""
    commit = flow.queue.settle

    async def slow(claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        await anyio.sleep(10)
        return await commit(claim, settlements, now)

    def defective(_: Pacer, __: int) -> None:
        if len(flow.pacs.received) == 2:
            raise LookupError("a defect")

    monkeypatch.setattr(flow.queue, "settle", slow)
    flow.pacs.script({})
    async with flow.open(PACS):
        monkeypatch.setattr(Pacer, "sent", defective)
        await flow.owe("1", "2", "3")
        async with flow.forwarding():
            await anyio.sleep(15)
            assert [entry.state for entry in (await flow.entries()).values()].count(State.DELIVERED) == 1
    (defect,) = flow.happened(Defect)
    assert isinstance(defect, Defect)
    assert defect.error.startswith("LookupError")
