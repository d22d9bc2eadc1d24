"""The power fails under the real program, on ext4 and XFS: what was answered 0000H is there, byte for byte.

The file system is shut down without a flush of its journal, the program killed, the file system mounted again, the
program started again. Reordering inside a drive's own cache, and drives that lie about a flush, are not shown.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from threading import Event
from typing import NamedTuple

import pytest

from tests.daemon.conftest import Routers, Storescps
from tests.daemon.ledger import lacking, ledger
from tests.daemon.load import Load
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.program import Program
from tests.daemon.sinks import Storescp
from tests.daemon.waiting import until
from tests.faults import sabotage
from tests.faults.conftest import MakeFileSystem
from tests.faults.filesystem import FileSystem, Kind
from tests.faults.matrix import ALL, rounds

pytestmark = pytest.mark.trust

OBJECTS_PER_CUT = 20
QUIET = [made(number, pixels=4096) for number in range(1, 21)]


@pytest.mark.timeout(600)
@pytest.mark.row("F2", "the power fails under load, while receiving, sending and removing")
@pytest.mark.parametrize("kind", Kind)
def test_nothing_that_was_answered_for_is_lost_or_torn(
    *,
    kind: Kind,
    file_system: MakeFileSystem,
    routers: Routers,
    storescp: Storescps,
    dcmtk: Callable[[str], Path],
    tmp_path: Path,
    chance: Random,
    record_property: Callable[[str, object], None],
) -> None:
    """Cuts at random moments, a destination down during half of them: in the end both destinations have everything."""
    cuts = rounds(3, 25)
    disk = file_system(kind)
    sinks = [storescp("ALWAYS"), storescp("SOMETIMES")]
    router = _router(routers, disk, sinks)
    router.module = ("tests.faults.sabotage", sabotage.NONE)
    with Load(router.port, dcmtk("storescu"), tmp_path) as load:
        for number in range(cuts):
            router.start()
            if number % 2:
                sinks[1].stop()
            load.wait_for(len(load.promised) + chance.randrange(1, 2 * OBJECTS_PER_CUT))
            Event().wait(chance.uniform(0, 0.02))
            disk.cut()
            router.kill()
            disk.restart()
            if number % 2:
                sinks[1].start()
        router.start()
        load.wait_for(len(load.promised) + OBJECTS_PER_CUT)
    assert set(load.odd) <= {"A700H", "Refused"}, "without power it may say that it cannot"
    router.until_delivered(within=60)
    promised = ledger(load.promised)
    for sink in sinks:
        assert not lacking(promised, sink)
        assert not router.tally(sink.name).get("dead")
    assert not [line for line in router.find("recovered") if line["outcome"]["lost"]]
    record_property("rounds", cuts)
    record_property("objects", len(promised))


# Cuts when everything is at rest, each sensitive to one step of the protocol


class Aftermath(NamedTuple):
    """What a cut left, when the program had started again and sent what it had."""

    missing: int
    """Objects that were answered 0000H and are not at the destination as they were sent."""
    adopted: int
    """Payloads whose row was lost: routed again, by the routes of today."""
    lost: int
    """Rows whose payload was lost."""


UNHARMED = Aftermath(0, 0, 0)

Scenario = Callable[[Program, Storescp, FileSystem], None]


def _waiting(router: Program, sink: Storescp, disk: FileSystem) -> None:
    """Everything is answered for, nothing is delivered."""
    sink.stop()
    router.start()
    assert send(router.port, QUIET) == [0] * len(QUIET)


def _removed(router: Program, sink: Storescp, disk: FileSystem) -> None:
    """Everything is delivered and has just been removed; nothing was committed since that was answered for."""
    _waiting(router, sink, disk)
    sink.start()
    until(lambda: removed(router) == len(QUIET), "a spool that is empty again")


def _queue_elsewhere(router: Program, sink: Storescp, disk: FileSystem) -> None:
    """Nothing is delivered, and no commit on the same file system makes names durable by the way.

    Under load this loses one object in thousands: whatever is fsynced next takes the names before it along.
    """
    (disk.root / "objects").mkdir()
    router.spool.mkdir()
    (router.spool / "objects").symlink_to(disk.root / "objects")
    _waiting(router, sink, disk)


CONTROLS = [
    (sabotage.NO_FILE_FSYNC, _waiting),
    (sabotage.NO_DIRECTORY_FSYNC, _queue_elsewhere),
    (sabotage.NORMAL, _waiting),
    (sabotage.EARLY_UNLINK, _removed),
]


@pytest.mark.row("F2", "the power fails when all is quiet, at the worst moment for each step of the protocol")
@pytest.mark.parametrize("kind", Kind if ALL else [Kind.XFS])
@pytest.mark.parametrize("scenario", [_waiting, _removed, _queue_elsewhere] if ALL else [_removed])
def test_what_is_at_rest_is_unharmed(
    *, kind: Kind, scenario: Scenario, file_system: MakeFileSystem, routers: Routers, storescp: Storescps
) -> None:
    """Every row has its payload, every payload its row, and the destination gets all of them."""
    assert _aftermath(file_system(kind), routers, storescp(), scenario, sabotage.NONE) == UNHARMED


@pytest.mark.row("F2", "control: the same with one step left out is seen to do harm")
@pytest.mark.parametrize("kind", Kind if ALL else [Kind.EXT4])
@pytest.mark.parametrize(("omission", "scenario"), CONTROLS, ids=[omission for omission, _ in CONTROLS])
def test_a_step_that_is_left_out_is_seen(
    *,
    kind: Kind,
    omission: str,
    scenario: Scenario,
    file_system: MakeFileSystem,
    routers: Routers,
    storescp: Storescps,
) -> None:
    """Control: the tests above would fail."""
    after = _aftermath(file_system(kind), routers, storescp(), scenario, omission)
    match omission:
        case sabotage.NO_FILE_FSYNC:
            assert after.missing
        case sabotage.NO_DIRECTORY_FSYNC:
            assert after.missing
            assert after.lost
        case sabotage.NORMAL:
            assert after.adopted
        case sabotage.EARLY_UNLINK:
            assert after.lost


def _aftermath(disk: FileSystem, routers: Routers, sink: Storescp, scenario: Scenario, omission: str) -> Aftermath:
    router = _router(routers, disk, [sink], elsewhere=scenario is _queue_elsewhere)
    router.module = ("tests.faults.sabotage", omission)
    scenario(router, sink, disk)
    disk.cut()
    router.kill()
    disk.restart()
    router.module = ("tests.faults.sabotage", sabotage.NONE)
    sink.stop()
    sink.start()
    router.start()
    router.until_delivered()
    (recovered,) = router.find("recovered")[-1:]
    outcome = recovered["outcome"]
    return Aftermath(len(lacking(ledger(QUIET), sink)), outcome["adopted"], outcome["lost"])


def removed(router: Program) -> int:
    """Payloads."""
    return sum(line["outcome"] for line in router.find("payloads removed"))


def _router(routers: Routers, disk: FileSystem, sinks: Sequence[Storescp], *, elsewhere: bool = False) -> Program:
    spool: dict[str, str] = {} if elsewhere else {"directory": str(disk.root / "spool")}
    names = [sink.name for sink in sinks]
    return routers(
        spool={**spool, "keep_delivered": "0s"},
        destinations=[sink.destination() for sink in sinks],
        routes=[{"to": names}],
    )
