"""Receive and send buffers that are used again: fresh memory pages cost more than all of the code around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

SIZE = 1 << 20
"""Bytes of a buffer: eight of the largest P-DATA-TF PDUs that we offer to take, and most objects whole."""


class Buffers:
    """At most ``limit`` buffers exist at once; who wants one more waits. This bounds the memory of all associations."""

    def __init__(self, limit: int) -> None:
        self._room = anyio.Semaphore(limit)
        self._free: list[bytearray] = []

    async def take(self) -> bytearray:
        """A buffer of ``SIZE`` bytes, with whatever its last user left in it."""
        await self._room.acquire()
        return self._free.pop() if self._free else bytearray(SIZE)

    def give(self, buffer: bytearray) -> None:
        """Back to the others."""
        self._free.append(buffer)
        self._room.release()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[bytearray]:
        """One buffer for the time of a block."""
        buffer = await self.take()
        try:
            yield buffer
        finally:
            self.give(buffer)
