"""Receive and send buffers that are used again: fresh memory pages cost more than all of the code around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

SIZE = 1 << 20
"""Bytes of a buffer: eight of the largest P-DATA-TF PDUs that we offer to take, and most objects whole."""


class Buffers:
    """At most ``limit`` buffers exist at once; who wants one more waits. This bounds the memory of all associations."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = anyio.Semaphore(limit)
        self._free: list[bytearray] = []

    def apart(self, limit: int) -> "Buffers":
        """Others out of the same memory, with a limit of their own: who has these does not keep those waiting."""
        others = Buffers(limit)
        others._free = self._free
        return others

    def raise_to(self, limit: int) -> None:
        """Let more of them exist; fewer would have to be taken from somebody."""
        while self._limit < limit:
            self._limit += 1
            self._room.release()

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
