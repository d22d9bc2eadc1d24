"""Power cuts and disk errors at every single call, between S1 and S8.

A life of a few instances runs to its N-th disk call, for every N; then the daemon starts again on what is left.
"""

import errno
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from router.durable.database import Database
from router.durable.queue import QueueError
from router.model.delivery import SETTLED, Order, Settlement, State, Wanted
from router.model.outcome import Cause
from tests.durable.world import MINUTE, Log, PowerCut, ScriptedDisk, VolatileDisk, World, arrival, failing

pytestmark = pytest.mark.trust

EVERYTHING = timedelta(days=1)


@dataclass
class Ledger:
    """What the outside world knows."""

    answered: dict[str, bytes] = field(default_factory=dict)
    """0000H was sent for these, with this content."""
    settled: set[tuple[str, str]] = field(default_factory=set)
    """Peers have (or someone began to tell the queue that they have) this instance at this destination."""


async def life(world: World, ledger: Ledger) -> None:
    """Accept, deliver and remove; an error of the disk is an answer, and life goes on."""
    orders = {b"one": [Order("A")], b"two": [Order("A"), Order("B")], b"three": [Order("B")], b"": [Order("B")]}
    orders[b"held"] = [Order("", State.HELD, Cause.NO_ROUTE)]
    for content, wanted in orders.items():
        try:
            arrived = world.sealed(content)
        except OSError:
            continue
        with suppress(QueueError):
            await world.queue.accept(arrived, wanted)
            ledger.answered[arrived.ulid] = content
        world.clock.advance(30 * MINUTE)
    for destination, limit in (("A", 1), ("B", 2), ("A", 5)):
        now = world.clock.advance(MINUTE)
        with suppress(QueueError):
            claim = await world.queue.claim(destination, "forwarder", Wanted(limit), now)
            ledger.settled |= {(delivery.ulid, destination) for delivery in claim.deliveries}
            settlements = [Settlement(delivery.id, State.DELIVERED) for delivery in claim.deliveries]
            await world.queue.settle(claim, settlements, now)
        with suppress(QueueError):
            await world.queue.remove(now + EVERYTHING, 10)
    with suppress(QueueError):
        await world.queue.claim("B", "forwarder", Wanted(1), world.clock())


async def check(world: World, ledger: Ledger) -> None:
    """Recover as a daemon does at its start; then the guarantees hold."""
    async with world.running("A", "B"):
        await world.queue.recover("forwarder", world.clock())
        world.spool.sweep()
        known = set(await world.desk.paths())
        for path in world.spool.payloads():
            if str(path) not in known:  # S3, for which nothing was answered
                assert path.stem not in ledger.answered
                size = (world.directory / path).stat().st_size
                assert await world.queue.adopt(arrival(path, "", size, world.clock()), [Order("A")])
        entries = await world.entries()
        for ulid, content in ledger.answered.items():
            mine = [entry for entry in entries if entry.ulid == ulid]
            unsettled = [entry for entry in mine if entry.state not in SETTLED]
            if unsettled:  # S4, S5
                payload = world.directory / unsettled[0].path
                assert payload.is_file()
                assert payload.read_bytes().endswith(b"MORE" + content)
            for entry in mine:
                assert entry.state not in SETTLED or (ulid, entry.destination) in ledger.settled
            if not mine:  # S1
                assert any(settled == ulid for settled, _ in ledger.settled)
        assert State.IN_FLIGHT not in {entry.state for entry in entries}
        for entry in entries:  # never S8
            assert entry.state in SETTLED or (world.directory / entry.path).exists()
        assert not any(name.endswith(".part") for name in world.files())  # never S2
        # What is settled goes as if nothing had happened, and nothing else does.
        await world.queue.remove(world.clock() + EVERYTHING, 100)
        left = {PurePosixPath(entry.path).name for entry in await world.entries()}
        assert left == world.files()
        assert {entry.id for entry in entries if entry.state not in SETTLED} <= {
            entry.id for entry in await world.entries()
        }


def cut(folder: Path, stop_at: int, lies: frozenset[str] = frozenset()) -> bool:
    """Live until the ``stop_at``-th disk call, cut the power, start again, check. Returns whether life was cut."""
    folder.mkdir()
    disk = VolatileDisk(folder / "limbo", lies=lies)
    world = World(folder / "spool", disk=disk)
    ledger = Ledger()
    world.open()
    log = Log(world)
    disk.calls.clear()
    disk.stop_at = stop_at

    async def live() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(world.queue.run)
            await life(world, ledger)
            group.cancel_scope.cancel()

    try:
        anyio.run(live, backend="trio")
    except* PowerCut:
        pass
    left = folder / "left"
    left.mkdir()
    log.copy(left)
    world.close()
    disk.cut(world.directory)
    shutil.copytree(world.directory / "objects", left / "objects")
    anyio.run(check, World(left, clock=world.clock), ledger, backend="trio")
    return disk.stopped


def test_a_power_cut_at_any_call_loses_nothing(folder: Path) -> None:
    """S1 to S7: what was not fsynced is gone, of the log too; yet every answered instance is there or delivered."""
    cuts = 0
    while cut(folder / f"{cuts}", cuts + 1):
        cuts += 1
    assert cuts > 40


@pytest.mark.parametrize("lie", ["fsync", "fsync_directory"])
def test_the_oracle_sees_a_lying_disk(folder: Path, lie: str) -> None:
    """Control: without an fsync of the file, or of the directory, some cut loses an answered instance."""
    with pytest.RaisesGroup(AssertionError):
        _cut_everywhere(folder, frozenset({lie}))


def test_the_oracle_sees_an_early_unlink(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the FULL commit before the unlink, some cut leaves an open delivery without payload (S8)."""
    submit = Database.submit

    def careless(database: Database, work: Any, *, full: bool = False, first: Any = None, **others: Any) -> Any:
        return submit(database, work, full=full and first is not None, first=first, **others)

    monkeypatch.setattr(Database, "submit", careless)
    with pytest.RaisesGroup(AssertionError):
        _cut_everywhere(folder, frozenset())


def _cut_everywhere(folder: Path, lies: frozenset[str]) -> None:
    cuts = 0
    while cut(folder / f"{cuts}", cuts + 1, lies):
        cuts += 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_one_failing_call_harms_only_what_it_was_for(folder: Path, number: int) -> None:
    """S1 to S7 with EIO or ENOSPC at any one call: the daemon lives on, and the guarantees hold after a restart."""
    for stop_at in count(1):
        disk = ScriptedDisk(error=failing(number))
        world = World(folder / f"{stop_at}", disk=disk)
        ledger = Ledger()
        anyio.run(_one_failing_call, world, disk, stop_at, ledger, backend="trio")
        anyio.run(check, World(world.directory, clock=world.clock), ledger, backend="trio")
        if not disk.stopped:
            break
        assert len(ledger.answered) >= 4
    assert stop_at > 40


async def _one_failing_call(world: World, disk: ScriptedDisk, stop_at: int, ledger: Ledger) -> None:
    async with world.running():
        disk.calls.clear()
        disk.stop_at = stop_at
        await life(world, ledger)


async def test_s3_is_adopted_once(world: World) -> None:
    """S3 → S4: a payload without a row gets one; a second time it has one by now."""
    async with world.running("A"):
        arrived = await world.disk_work(world.sealed)
        await world.disk_work(lambda: world.spool.publish([arrived.path]))
        assert await world.queue.adopt(arrived, [Order("A")])
        assert not await world.queue.adopt(arrived, [Order("A")])
        assert await world.states() == [State.QUEUED]


async def test_s3_whose_folder_cannot_be_fsynced_stays(world: World) -> None:
    """S3: nothing is adopted whose name might not survive."""
    disk = ScriptedDisk(error=failing(errno.EIO))
    world = World(world.directory, world.disk_work, disk=disk)
    async with world.running("A"):
        arrived = await world.disk_work(world.sealed)
        await world.disk_work(lambda: world.spool.publish([arrived.path]))
        disk.stop_at = len(disk.calls) + 1
        with pytest.raises(QueueError, match="Input/output error"):
            await world.queue.adopt(arrived, [Order("A")])
        assert await world.states() == []


async def test_s4_in_flight_is_queued_again(world: World) -> None:
    """S4, killed: the owner's deliveries are due again, uncertain, uncharged; others' stay in flight."""
    async with world.running("A", "B"):
        await world.accepted("A", "B")
        await world.queue.claim("A", "mine", Wanted(10), world.clock())
        await world.queue.claim("B", "theirs", Wanted(10), world.clock())
    again = World(world.directory, world.disk_work)
    async with again.running():
        assert await again.queue.recover("mine", again.clock()) == 1
        assert await again.states() == [State.QUEUED, State.IN_FLIGHT]
        (delivery,) = (await again.queue.claim("A", "mine", Wanted(10), again.clock())).deliveries
        assert delivery.uncertain
        assert delivery.attempts == 0


async def test_s7_is_finished_after_a_crash(world: World) -> None:
    """S6 → S7, killed before the rows went: removing again does no harm."""
    async with world.running("A"):
        arrived = await world.accepted(Order("A", State.DROPPED))
        await world.disk_work(lambda: world.spool.remove([arrived.path]))
        (removed,) = await world.queue.remove(world.clock() + MINUTE, 10)
        assert removed.path == str(arrived.path)
        assert await world.entries() == []
