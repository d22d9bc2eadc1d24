"""A flood of refusals is told as a number."""

import anyio
import pytest
from trio.testing import MockClock

from router.dicom.refusals import HOSTS, LINES, LINES_OF_A_HOST, SUMMED_UP, WINDOW, Refusals
from router.journal import ConnectionRefused, Journal
from tests.dicom.peers import Diary

pytestmark = pytest.mark.unit


def told() -> tuple[Refusals, Diary]:
    """Refusals, and where they are published."""
    diary = Diary()
    return Refusals(Journal(diary)), diary


def test_each_is_said_and_a_flood_is_summed_up() -> None:
    """The first ones of a host line by line, the others as one; then it begins anew."""
    refusals, diary = told()
    for _ in range(LINES_OF_A_HOST + 7):
        refusals.publish("10.0.0.1", "why")
    refusals.publish("10.0.0.2", "another")
    assert len(diary.events) == LINES_OF_A_HOST + 1
    refusals.sum_up()
    assert diary.events[-1] == ConnectionRefused(peer="10.0.0.1", error="7 more connections were refused within 60 s")
    refusals.sum_up()
    assert len(diary.events) == LINES_OF_A_HOST + 2
    refusals.publish("10.0.0.1", "why")
    assert diary.events[-1] == ConnectionRefused(peer="10.0.0.1", error="why")


def test_flood_from_many_hosts_is_bounded() -> None:
    """In lines and in memory; nobody is left out of the sum."""
    refusals, diary = told()
    count = LINES + HOSTS + 500
    for number in range(count):
        refusals.publish(f"host {number}", "why")
    assert len(diary.events) == LINES
    assert len(refusals._more) == HOSTS + 1
    refusals.sum_up()
    sums = diary.of(ConnectionRefused)[LINES:]
    assert len(sums) == SUMMED_UP + 1
    assert sums[-1].peer == ""
    assert sum(int(event.error.split()[0]) for event in sums) == count - LINES


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["mock clock"])
async def test_sums_come_with_time() -> None:
    """At the end of each window, whether or not anybody calls."""
    refusals, diary = told()
    async with anyio.create_task_group() as running:
        running.start_soon(refusals.run)
        for _ in range(2):
            for _ in range(LINES_OF_A_HOST + 1):
                refusals.publish("10.0.0.1", "why")
            await anyio.sleep(WINDOW + 1)
        running.cancel_scope.cancel()
    assert len(diary.events) == 2 * (LINES_OF_A_HOST + 1)
