"""Where what blocks runs: in a thread, or here and now for simulations."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")


class Runner(Protocol):
    """Where blocking work runs; both runners run the same SQL."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """The result of ``work``."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """In a worker thread, outside the number of threads that others share. The callers take turns by themselves."""
    return await to_thread.run_sync(work, limiter=CapacityLimiter(1))


async def inline(work: Callable[[], T], /) -> T:
    """Here and now: for simulations on a mock clock, which does not wait for threads."""
    return work()
