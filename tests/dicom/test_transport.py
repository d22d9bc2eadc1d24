"""Bytes over a socket: all of them, in order, and without hanging on to anything."""

import socket
from random import Random
from typing import Any

import anyio
import pytest

from router.dicom.transport import CHECKPOINT_EVERY, SocketTransport, connect, listen
from tests.dicom.peers import PATIENCE

pytestmark = pytest.mark.unit


def pair() -> tuple[SocketTransport, SocketTransport]:
    """Two ends of a TCP connection."""
    with listen("127.0.0.1", 0) as listening:
        one = socket.create_connection(listening.getsockname())
        listening.setblocking(True)
        other, _ = listening.accept()
    return SocketTransport(one), SocketTransport(other)


async def received(transport: SocketTransport, count: int) -> bytes:
    """So many bytes."""
    content = bytearray(count)
    view, filled = memoryview(content), 0
    while filled < count:
        n = await transport.receive_into(view[filled:])
        assert n
        filled += n
    return bytes(content)


async def test_many_buffers_arrive_as_one_stream() -> None:
    """Of any sizes, empty ones too, far more than the socket takes at once."""
    random = Random(0)
    sizes = [0, 1, 6, 0, 200_000, *(random.randrange(0, 40_000) for _ in range(300)), 32 << 20, 0]
    buffers = [random.randbytes(size) for size in sizes]
    left, right = pair()
    async with anyio.create_task_group() as sending:
        sending.start_soon(left.send, [memoryview(each) if number % 2 else each for number, each in enumerate(buffers)])
        assert await received(right, sum(sizes)) == b"".join(buffers)
    await left.send([])
    await left.send([b""])
    await left.aclose()
    assert await right.receive_into(memoryview(bytearray(1))) == 0
    await right.aclose()
    await right.aclose()


async def test_others_get_their_turn() -> None:
    """A peer that is always ready does not keep the loop to itself."""
    left, right = pair()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    chunk = memoryview(bytearray(1 << 14))
    async with anyio.create_task_group() as counting:
        counting.start_soon(count)
        await anyio.lowlevel.checkpoint()
        before = turns
        for _ in range(4 * CHECKPOINT_EVERY // len(chunk)):
            await left.send([chunk])
            await received(right, len(chunk))
        assert turns - before >= 4
        counting.cancel_scope.cancel()
    await left.aclose()
    await right.aclose()


async def test_options() -> None:
    """TCP_NODELAY, or each object would wait 40 ms."""
    left, right = pair()
    for transport in (left, right):
        own = transport._socket
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not own.getblocking()
    assert left.peer == right._socket.getsockname()
    await left.aclose()
    await right.aclose()


async def test_close_wakes_who_waits() -> None:
    """A task that waits for bytes ends."""
    left, right = pair()
    ended = anyio.Event()

    async def wait() -> None:
        with pytest.raises((anyio.ClosedResourceError, OSError)):
            await left.receive_into(memoryview(bytearray(1)))
        ended.set()

    async with anyio.create_task_group() as waiting:
        waiting.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        await left.aclose()
        with anyio.fail_after(PATIENCE):
            await ended.wait()
    await right.aclose()


async def test_connect_by_name_tries_each_address() -> None:
    """A name with an address where nobody listens is reached at the other."""
    with listen("127.0.0.1", 0) as listening:
        transport = await connect("localhost", listening.getsockname()[1])
        assert transport.peer == listening.getsockname()
        await transport.aclose()


async def test_each_address_has_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is silent does not take the others' time; one that refuses at once leaves them its own."""
    with socket.socket() as deaf, listen("127.0.0.3", 0) as listening:
        port = listening.getsockname()[1]
        deaf.bind(("127.0.0.2", port))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())

        hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]

        async def resolve(*_: object, **__: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in hosts]

        monkeypatch.setattr(anyio, "getaddrinfo", resolve)
        transport = await connect("pacs.test", port, 0.4)
        assert transport.peer == ("127.0.0.3", port)
        await transport.aclose()
        hosts.pop()
        with pytest.raises(TimeoutError):
            await connect("pacs.test", port, 0.1)
        for filler in fillers:
            filler.close()


async def test_name_that_is_not_resolved_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same deadline."""

    async def resolve(*_: object, **__: object) -> list[Any]:
        await anyio.sleep_forever()
        return []

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    with pytest.raises(TimeoutError):
        await connect("pacs.test", 104, 0.05)


async def test_hang_up_ends_both_directions() -> None:
    """Who waits finds the end; so does the peer."""
    left, right = pair()
    left.hang_up()
    assert await left.receive_into(memoryview(bytearray(1))) == 0
    assert await right.receive_into(memoryview(bytearray(1))) == 0
    await right.aclose()
    await left.aclose()
    left.hang_up()


async def test_connect_over_ip_6() -> None:
    """Both families."""
    with listen("::1", 0) as listening:
        transport = await connect("::1", listening.getsockname()[1])
        assert transport.peer[0] == "::1"
        await transport.aclose()


async def test_connect_refused() -> None:
    """Nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await connect("127.0.0.1", taken.getsockname()[1])


async def test_connect_cancelled() -> None:
    """Nothing stays open (an open socket would be a ResourceWarning)."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        with anyio.move_on_after(0.1) as scope:
            await connect("127.0.0.1", deaf.getsockname()[1])
        assert scope.cancelled_caught
        for filler in fillers:
            filler.close()


def test_address_that_cannot_be_bound() -> None:
    """The socket is closed, the error the system's."""
    with listen("127.0.0.1", 0) as listening, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", listening.getsockname()[1])
