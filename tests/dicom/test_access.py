"""Abuse of a listener costs whoever does it, and nobody else."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Any

import anyio
import pytest

from router.dicom.buffers import Buffers
from router.dicom.door import UNASSOCIATED
from router.dicom.incoming import Answer
from router.dicom.link import Link
from router.dicom.scp import Scp
from router.dicom.transport import SocketTransport
from router.journal import AssociationReleased, ConnectionRefused, Defect, Journal
from router.protocol import AssociationAccepted, ReleaseConfirmed, Requestor, StoreAnswered
from router.rules.acceptance import Allowed
from router.rules.offences import FREE
from tests.dicom.peers import (
    NOW,
    PATIENCE,
    Collector,
    Diary,
    Serving,
    all_given_back,
    associated,
    listener,
    send_object,
    serving,
    until_ended,
)
from tests.protocol.pair import associate

pytestmark = pytest.mark.unit

FRIEND = "127.0.0.2"
STRANGER = "127.0.0.99"


@contextmanager
def connections(server: Serving, host: str, count: int) -> Iterator[list[socket.socket]]:
    """So many idle connections from an address of the loopback network."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), PATIENCE, source_address=(host, 0))
            )
            for _ in range(count)
        ]


async def served(server: Serving, host: str) -> None:
    """An association from that address works, at once."""
    with connections(server, host, 1) as (own,):
        link = Link(Requestor(), SocketTransport(own), PATIENCE)
        with anyio.fail_after(PATIENCE):
            await link.transport.send([associate(link.connection)])
            assert isinstance(await link.event(PATIENCE), AssociationAccepted)
            await link.transport.send([link.connection.release()])
            assert isinstance(await link.event(PATIENCE), ReleaseConfirmed)
        await link.transport.aclose()


async def test_strangers_take_nobodys_place() -> None:
    """Idle connections from outside `allow` are closed at once, and a modality is served meanwhile."""
    rules = listener(allow_any=False, allow=(Allowed("CT1", (ip_network(f"{FRIEND}/32"),)),))
    async with serving(rules) as server:
        with connections(server, STRANGER, 200) as flood:
            await served(server, FRIEND)
            closed = await anyio.to_thread.run_sync(lambda: [own.recv(1) for own in flood])
        assert closed == [b""] * 200
    lines = server.diary.of(ConnectionRefused)
    assert len(lines) == 21
    assert {line.peer for line in lines} == {STRANGER}
    assert lines[0].error == "no row of `allow` admits this address"
    assert lines[-1].error == "180 more connections were refused within 60 s"


async def test_mute_connections_of_allowed_hosts_take_nobodys_place() -> None:
    """However many hosts there are: the fullest makes room for one that has none."""
    async with serving() as server:
        with ExitStack() as stack:
            for number in range(10, 16):
                stack.enter_context(connections(server, f"127.0.0.{number}", 16))
                await settle_accepts(server)
            assert len(server.scp._open) <= UNASSOCIATED
            await served(server, FRIEND)
            await served(server, "127.0.0.10")
    assert "another one has its place" in {
        line.error.rpartition(": ")[2] for line in server.diary.of(ConnectionRefused)
    }


async def settle_accepts(server: Serving) -> None:
    """Let the listener take what is waiting."""
    for _ in range(100):
        await anyio.lowlevel.checkpoint()


async def test_offender_is_refused_and_others_are_not() -> None:
    """Who talks nonsense again and again is closed at once; an association of the same host goes on."""
    async with serving() as server:
        for _ in range(FREE + 1):
            with connections(server, STRANGER, 1) as (own,):
                own.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert await anyio.to_thread.run_sync(own.recv, 1) == b"\x07"
        with connections(server, STRANGER, 1) as (own,):
            assert await anyio.to_thread.run_sync(own.recv, 1) == b""
        await served(server, FRIEND)
    assert "shut out" in server.diary.of(ConnectionRefused)[-1].error


async def test_associated_host_is_no_offender() -> None:
    """A workstation that is scanned while it sends goes on sending."""
    async with serving() as server, associated(server.port) as link:
        for _ in range(FREE + 3):
            with connections(server, "127.0.0.1", 1) as (own,):
                own.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert await anyio.to_thread.run_sync(own.recv, 1) == b"\x07"
        async with associated(server.port) as other:
            await other.transport.send([other.connection.release()])
            assert isinstance(await other.event(PATIENCE), ReleaseConfirmed)
        await send_object(link, b"ab")
        assert isinstance(await link.event(PATIENCE), StoreAnswered)


class Broken(Collector):
    """A receiver with a defect."""

    async def __call__(self, offer: Any, pieces: Any) -> Answer:  # noqa: ARG002 -- the port's
        """Fail with something of the data set in the text."""
        async for _ in pieces:
            raise KeyError("DOE^JANE")
        return Answer(0)


async def test_defect_ends_one_association() -> None:
    """An error that nobody thought of is told by type and place; the listener and its other associations go on."""
    receiver, diary, buffers = Broken(), Diary(), Buffers(2)
    scp = Scp(listener(), receiver, journal=Journal(diary), buffers=buffers, clock=lambda: NOW)
    async with anyio.create_task_group() as running:
        await running.start(scp.serve)
        async with associated(scp.port) as other:
            for _ in range(3):
                async with associated(scp.port) as link:
                    await send_object(link, b"ab")
                    await until_ended(link)
            await other.transport.send([other.connection.release()])
            assert isinstance(await other.event(PATIENCE), ReleaseConfirmed)
        await diary.saw(AssociationReleased)
        scp.stop()
    assert len(diary.of(Defect)) == 3
    (first, *_) = diary.of(Defect)
    assert first.peer == "127.0.0.1"
    assert first.error.startswith("KeyError at router.dicom.incoming:")
    assert "DOE" not in str(diary.events)
    assert not scp._open
    assert not scp._door._associations
    await all_given_back(buffers, 2)
