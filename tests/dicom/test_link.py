"""What one peer sends, however it is cut, does not keep the others waiting."""

import math
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from router.dicom.link import Link
from router.dicom.transport import Buffer
from router.protocol import StoreRequested
from router.protocol.connection import VALUES_AT_A_STRETCH
from tests.protocol.pair import STORE_RQ, ConnectionPair, command_set, p_data, pdv

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PDUS = 5
VALUES = 18_000
"""Of a PDU: as many as there is room for."""
TURNS = PDUS * (VALUES // VALUES_AT_A_STRETCH)


class Flood:
    """A transport that always has the next bytes."""

    peer = ("127.0.0.1", 1)
    certificate_names: frozenset[str] = frozenset()

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    async def handshake(self) -> None:
        """There is none."""

    async def receive_into(self, buffer: memoryview, deadline: float = math.inf) -> int:  # noqa: ARG002
        """As much as there is room for, at once."""
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    async def send(self, buffers: Sequence[Buffer], stall: float = math.inf) -> None:
        """Nobody reads it."""

    def hang_up(self) -> None:
        """Nobody notices."""

    async def aclose(self) -> None:
        """Nobody notices."""


def flood(value: bytes, last: bytes) -> bytes:
    """PDUs full of one value, and the last one."""
    return p_data(*[value] * VALUES) * PDUS + p_data(last)


@pytest.mark.parametrize("value", [pdv(1, 0, b""), pdv(1, 0, b"a")], ids=["empty", "of one byte"])
async def test_others_have_their_turn_while_fragments_come(value: bytes) -> None:
    """A data set in fragments of next to nothing, which nobody writes down in the meantime."""
    start = p_data(pdv(1, 3, command_set(STORE_RQ)))
    link = Link(ConnectionPair().establish().acceptor, Flood(start + flood(value, pdv(1, 2, b""))), math.inf)
    assert isinstance(await link.event(math.inf), StoreRequested)
    async with anyio.create_task_group() as other:
        turns = Turns()
        other.start_soon(turns.take)
        async for piece in link.pieces(math.inf):
            last = piece.last
        other.cancel_scope.cancel()
    assert last
    assert turns.taken >= TURNS


async def test_others_have_their_turn_while_a_command_comes() -> None:
    """In fragments of nothing, before the last one."""
    content = flood(pdv(1, 1, b""), pdv(1, 3, command_set(STORE_RQ)))
    link = Link(ConnectionPair().establish().acceptor, Flood(content), math.inf)
    async with anyio.create_task_group() as other:
        turns = Turns()
        other.start_soon(turns.take)
        assert isinstance(await link.event(math.inf), StoreRequested)
        other.cancel_scope.cancel()
    assert turns.taken >= TURNS


class Turns:
    """Counts how often it has one."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self) -> None:
        """For ever."""
        while True:
            self.taken += 1
            await anyio.lowlevel.checkpoint()
