"""Disks that are full, fail, turn read-only or forget: what cannot be kept is answered A700H, and life goes on."""

import os
import resource
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from router.cli.client import RefusedError
from router.dicom import part10
from tests.daemon.conftest import Routers, Storescps
from tests.daemon.ledger import lacking, ledger, same
from tests.daemon.load import Load
from tests.daemon.modality import Modality, send
from tests.daemon.objects import Object, made
from tests.daemon.program import Program
from tests.daemon.sinks import Storescp
from tests.daemon.waiting import until
from tests.faults import sabotage
from tests.faults.conftest import MakeFileSystem
from tests.faults.filesystem import FileSystem, Kind
from tests.faults.matrix import ALL, rounds

pytestmark = [pytest.mark.trust, pytest.mark.timeout(900)]

KiB = 1 << 10
MiB = 1 << 20
SMALL = made(1)


def _router(
    routers: Routers, sink: Storescp, disk: FileSystem | None = None, *, what: str = sabotage.NONE, reserve: str = "0B"
) -> Program:
    spool = {} if disk is None else {"directory": str(disk.root / "spool")}
    router = routers(destinations=[sink.destination()], spool={**spool, "reserve": reserve}, drain="200ms")
    router.module = ("tests.faults.sabotage", what)
    return router


def _taken(objects: Sequence[Object], statuses: Sequence[int]) -> list[Object]:
    return [sent for sent, status in zip(objects, statuses, strict=True) if status == 0]


# Full


@pytest.mark.row("F4", "the disk fills up in mid-object and at the commit, 4 KiB later each time; no reserve")
def test_a_full_disk_refuses_the_object_not_the_association(
    routers: Routers, storescp: Storescps, file_system: MakeFileSystem, record_property: Callable[[str, object], None]
) -> None:
    """A700H wherever it fills up, on an association that lives; the next small object is taken once there is room."""
    disk, sink = file_system(Kind.EXT4, 16 * MiB), storescp()
    sink.stop()
    router = _router(routers, sink, disk)
    router.start()
    objects: list[Object] = []
    statuses: list[int] = []
    with Modality(router.port, [SMALL.pair]) as modality:
        assert modality.store(SMALL) == 0
        disk.fill()
        until(lambda: not (router.spool / "ballast").exists(), "the ballast to be given up")
        while statuses.count(0) < 2:
            disk.fill(leave=(948 + 4 * len(objects)) * KiB)
            objects.append(made(len(objects) + 2, pixels=960 * KiB))
            statuses.append(modality.store(objects[-1]))
        disk.empty()
        last = made(1000)
        assert modality.store(last) == 0
    assert set(statuses) == {0x0000, 0xA700}
    trouble = {line["error"].partition(":")[0] for line in router.find("spool in trouble")}
    assert trouble == {"a payload cannot be written", "the queue could not commit"}
    assert not list(router.spool.glob("**/*.part"))
    sink.start()
    router.until_delivered()
    promised = ledger([SMALL, *_taken(objects, statuses), last])
    same(promised, sink)
    record_property("rounds", len(objects))
    record_property("objects", len(promised))


@pytest.mark.row("F4", "others fill the disk to the last block: the ballast lets the queue drain")
@pytest.mark.parametrize("kind", Kind if ALL else [Kind.XFS])
def test_a_full_disk_drains(kind: Kind, routers: Routers, storescp: Storescps, file_system: MakeFileSystem) -> None:
    """What waits is delivered, settled and removed while there is no room for anything new."""
    disk, sink = file_system(kind), storescp()
    sink.stop()
    router = _router(routers, sink, disk, reserve="5%")
    router.start()
    objects = [made(number, pixels=4096) for number in range(1, 21)]
    assert send(router.port, objects) == [0] * 20
    disk.fill()
    until(lambda: not (router.spool / "ballast").exists(), "the ballast to be given up")
    assert send(router.port, [made(100)]) == [0xA700]
    sink.start()
    router.until_delivered()
    same(ledger(objects), sink)
    disk.empty()
    assert send(router.port, [SMALL]) == [0]
    until((router.spool / "ballast").exists, "the ballast to be taken again")


# Failing


@pytest.mark.row("F6", "an fsync fails with EIO: refused, not kept, not tried again on the same file")
def test_a_failed_fsync_is_not_tried_again(routers: Routers, storescp: Storescps) -> None:
    """A second fsync would succeed without having written anything; the sabotaged disk tells of one."""
    sink = storescp()
    router = _router(routers, sink, what=sabotage.FSYNC_FAILS)
    router.start()
    objects = [made(number) for number in range(1, 6)]
    assert send(router.port, objects) == [0, 0, 0xA700, 0, 0]
    router.until_delivered()
    same(ledger([*objects[:2], *objects[3:]]), sink)
    assert not list(router.spool.glob("**/*.part"))


@pytest.mark.row(
    "F3", "every 13th disk call fails, EIO, ENOSPC, EDQUOT, EROFS and EMFILE in turn; all writes are short"
)
def test_any_call_may_fail(
    *,
    routers: Routers,
    storescp: Storescps,
    dcmtk: Callable[[str], Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """0000H or A700H; what was answered 0000H arrives, also after a restart."""
    sink = storescp()
    router = _router(routers, sink, what=sabotage.BAD_DISK)
    router.start()
    with Load(router.port, dcmtk("storescu"), tmp_path) as load:
        load.wait_for(rounds(50, 2000), within=300)
    assert load.odd, "some were refused"
    assert set(load.odd) <= {"A700H", "Refused"}
    router.stop()
    router.module = ("router",)
    router.start()
    router.until_delivered(within=300)
    promised = ledger(load.promised)
    assert not lacking(promised, sink)
    assert router.tally(sink.name).keys() == {"delivered"}
    record_property("rounds", len(router.find("spool in trouble")))
    record_property("objects", len(promised))


@pytest.mark.parametrize("trouble", ["fails", "is read-only"] if ALL else ["is read-only"])
@pytest.mark.row("F5", "the whole disk fails, or turns read-only, under the daemon")
def test_a_disk_that_is_gone(trouble: str, routers: Routers, storescp: Storescps, file_system: MakeFileSystem) -> None:
    """It answers C-ECHO, is not ready, refuses objects, and ends when asked; when the disk is back all goes on."""
    disk, sink = file_system(), storescp()
    sink.stop()
    router = _router(routers, sink, disk)
    router.start()
    before, refused, after = made(1), made(2), made(3)
    with Modality(router.port, [SMALL.pair]) as modality:
        assert modality.store(before) == 0
        if trouble == "fails":
            disk.cut()
        else:
            disk.turn_read_only()
        assert modality.store(refused) == 0xA700
        assert modality.echo() == 0
        until(lambda: not _ready(router), "a router that is not ready")
        assert modality.store(refused) == 0xA700
    sink.start()
    assert router.running
    router.stop()
    disk.restart()
    router.start()
    assert send(router.port, [after]) == [0]
    router.until_delivered()
    same(ledger([before, after]), sink)


def _ready(router: Program) -> bool:
    try:
        return bool(router.client.get("/readyz")["ready"])
    except RefusedError:
        return False


@pytest.mark.row("F19", "no file descriptor is left")
def test_no_descriptors(routers: Routers, storescp: Storescps) -> None:
    """What cannot be kept is refused, who cannot be taken waits or is sent away; with descriptors all goes on."""
    sink = storescp()
    router = _router(routers, sink)
    router.start()
    objects = [made(number) for number in range(1, 21)]
    with ExitStack() as idle, Modality(router.port, [SMALL.pair]) as modality:
        assert modality.store(objects[0]) == 0
        pid = router.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len([*Path(f"/proc/{pid}/fd").iterdir()]) + 4, limits[1]))
        for _ in range(30):
            idle.enter_context(socket.create_connection(("127.0.0.1", router.port)))
        router.wait_for("connection refused", error="cannot accept connections: Too many open files")
        statuses = [0, *map(modality.store, objects[1:])]
        assert set(statuses) == {0x0000, 0xA700}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        last = made(1000)
        assert modality.store(last) == 0
    assert send(router.port, [SMALL]) == [0]
    router.until_delivered()
    same(ledger([*_taken(objects, statuses), last]), sink)


# Forgetting


def _flip(path: Path) -> None:
    """One bit in the middle of the data set."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _shorten(path: Path) -> None:
    """The last byte."""
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.row("F7", "payloads rot in the spool: a bit, the end, all of it")
def test_rot(routers: Routers, storescp: Storescps, record_property: Callable[[str, object], None]) -> None:
    """The peer is aborted before the last fragment and keeps nothing; dead letters, and the others are delivered."""
    rots: Sequence[Callable[[Path], None]] = (_flip, _shorten, Path.unlink)
    sink = storescp()
    sink.stop()
    router = _router(routers, sink)
    router.start()
    objects = [made(number, pixels=2 * MiB) for number in range(1, 6)]
    assert send(router.port, objects) == [0] * len(objects)
    payloads = {part10.read_meta(path).identity.sop_instance: path for path in router.spool.glob("objects/**/*.dcm")}
    rotten = [payloads[each.uid] for each in objects[1:4]]
    for rot, path in zip(rots, rotten, strict=True):
        rot(path)
    sink.start()
    dead = router.wait_for("dead letter", len(rots))
    router.until_delivered()
    assert {line["instance"] for line in dead} == {each.uid for each in objects[1:4]}
    assert router.tally(sink.name) == {"delivered": 2, "dead": 3}
    same(ledger([objects[0], objects[4]]), sink)
    assert [path.exists() for path in rotten] == [True, True, False]
    record_property("rounds", len(rots))
