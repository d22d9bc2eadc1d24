"""Buffers are bounded, and those of one do not keep another waiting."""

import anyio
import pytest

from router.dicom.buffers import SIZE, Buffers
from tests.dicom.peers import PATIENCE, all_given_back

pytestmark = pytest.mark.unit


async def exhausted(buffers: Buffers) -> bool:
    """Whether who wants one has to wait."""
    with anyio.move_on_after(0.01) as scope:
        buffers.give(await buffers.take())
    return scope.cancelled_caught


async def test_apart_from_others() -> None:
    """Who has all of its own keeps nobody else waiting; memory that is given back serves everybody."""
    memory = Buffers(0)
    receiving, sending = memory.apart(2), memory.apart(1)
    taken = [await receiving.take() for _ in range(2)]
    assert await exhausted(receiving)
    assert not await exhausted(sending)
    receiving.give(taken[0])
    with anyio.fail_after(PATIENCE):
        own = await sending.take()
    assert any(own is one for one in (*taken, own))
    assert len(own) == SIZE
    sending.give(own)
    receiving.give(taken[1])
    assert len(memory._free) == 3
    await all_given_back(receiving, 2)


async def test_raised() -> None:
    """Whoever waits gets one; it is never lowered."""
    buffers = Buffers(1)
    first = await buffers.take()
    assert await exhausted(buffers)
    buffers.raise_to(3)
    buffers.raise_to(2)
    buffers.give(first)
    await all_given_back(buffers, 3)
    taken = [await buffers.take() for _ in range(3)]
    assert await exhausted(buffers)
    for buffer in taken:
        buffers.give(buffer)
