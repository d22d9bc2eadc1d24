"""Loads and faults mixed, for as long as one likes: ``make soak MINUTES=n``; a few faults in ``make test``."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic

import pytest

from router.model.instance import Identity
from tests.daemon.conftest import Pacses, Routers, Storescps
from tests.daemon.ledger import lacking, ledger
from tests.daemon.load import Load
from tests.daemon.program import Program
from tests.daemon.sinks import Pacs, Storescp
from tests.faults.conftest import MakeFileSystem, MiB
from tests.faults.filesystem import FileSystem
from tests.faults.matrix import ALL

MINUTES = float(os.environ.get("DICOM_ROUTER_SOAK", "2" if ALL else "0"))
FAULTS_PER_ROUND = 20 if MINUTES else 2

pytestmark = [pytest.mark.trust, pytest.mark.timeout(60 * MINUTES + 600)]


class World:
    """A router on a disk of its own, two destinations, and what can happen to them."""

    def __init__(self, router: Program, disk: FileSystem, archive: Storescp, pacs: Pacs, chance: Random) -> None:
        self.router = router
        self.disk = disk
        self.archive = archive
        self.pacs = pacs
        self.chance = chance
        self._pause = Event()
        self.faults = (
            self.kill,
            self.cut,
            self.restart,
            self.reload,
            self.archive_dies,
            self.archive_returns,
            self.pacs_dies,
            self.pacs_returns,
            self.pacs_is_moody,
            self.pacs_is_slow,
            self.disk_fills_up,
        )

    def kill(self) -> None:
        """SIGKILL."""
        self.router.kill()
        self.router.start()

    def cut(self) -> None:
        """The power fails."""
        self.disk.cut()
        self.router.kill()
        self.disk.restart()
        self.router.start()

    def restart(self) -> None:
        """In order."""
        assert self.router.stop() == 0
        self.router.start()

    def reload(self) -> None:
        """The configuration is read again."""
        self.router.signal(signal.SIGHUP)

    def archive_dies(self) -> None:
        """In the middle of whatever it does."""
        self.archive.stop()

    def archive_returns(self) -> None:
        """If it was down."""
        self.archive.stop()
        self.archive.start()

    def pacs_dies(self) -> None:
        """In the middle of whatever it does."""
        self.pacs.stop()

    def pacs_returns(self) -> None:
        """If it was down."""
        self.pacs.stop()
        self.pacs.start()

    def pacs_is_moody(self) -> None:
        """It refuses one object in five for the moment."""
        self.pacs.answer = self._moody

    def pacs_is_slow(self) -> None:
        """Five objects in a second."""
        self.pacs.answer = self._slow

    def disk_fills_up(self) -> None:
        """To the last block, for a moment."""
        self.disk.fill()
        self._pause.wait(self.chance.uniform(0, 1))
        self.disk.empty()

    def heal(self) -> None:
        """Everybody is well again."""
        self.pacs.answer = lambda _: 0
        self.archive_returns()
        self.pacs_returns()

    def suffer(self, faults: int) -> None:
        """One after the other."""
        for _ in range(faults):
            self._pause.wait(self.chance.uniform(0, 1))
            fault = self.chance.choice(self.faults)
            print(fault.__name__)  # noqa: T201 -- pytest shows it when the test fails
            fault()

    def _moody(self, _: Identity) -> int:
        # It never aborts: that may be answered with another transfer syntax, and three times with a minute's patience.
        return self.chance.choice([0xA700, 0x0110, *[0] * 8])

    def _slow(self, _: Identity) -> int:
        self._pause.wait(0.2)
        return 0


@pytest.mark.row(
    "L11", "loads and faults mixed: kills, power cuts, full disks, restarts, reloads, destinations that die"
)
def test_soak(
    *,
    routers: Routers,
    file_system: MakeFileSystem,
    storescp: Storescps,
    pacs: Pacses,
    chance: Random,
    dcmtk: Callable[[str], Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """P1 to P4: what was answered 0000H arrives, unchanged, and is called delivered only where it is."""
    disk, archive, second = file_system(size=256 * MiB), storescp("ARCHIVE"), pacs("SECOND")
    spool = {"directory": str(disk.root / "spool"), "keep_delivered": "0s"}
    destinations = [archive.destination(), second.destination()]
    router = routers(destinations=destinations, routes=[{"to": ["ARCHIVE", "SECOND"]}], spool=spool, drain="1s")
    router.module = ("tests.faults.sabotage", "nothing")
    router.start()
    world = World(router, disk, archive, second, chance)
    until, faults, objects, first = monotonic() + 60 * MINUTES, 0, 0, 1
    while not faults or monotonic() < until:
        with Load(router.port, dcmtk("storescu"), tmp_path, first=first) as load:
            world.suffer(FAULTS_PER_ROUND)
        world.heal()
        router.until_delivered(within=120)
        promised = ledger(load.promised)
        for sink in (archive, second):
            absent = lacking(promised, sink)
            assert not absent, [line for line in router.lines if line.get("instance") in absent]  # P1, P2
            there = ledger(sink.received())  # P4: it may come twice, but not with two contents
            said = {line["instance"] for line in router.find("C-STORE successful", destination=sink.name)}
            assert said <= there.keys(), "P3"
            assert router.tally(sink.name).keys() <= {"delivered"}
            sink.forget()
        assert set(load.odd) <= {"A700H", "Refused"}
        router.lines.clear()
        faults, objects, first = faults + FAULTS_PER_ROUND, objects + len(promised), load.next
    record_property("rounds", faults)
    record_property("objects", objects)
