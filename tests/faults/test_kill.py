"""What was answered 0000H survives SIGKILL: at random moments, and at each step of accepting, settling and removing."""

import signal
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from random import Random
from threading import Event

import pytest

from tests.daemon.conftest import Routers, Storescps
from tests.daemon.ledger import ledger, same
from tests.daemon.load import Load
from tests.daemon.program import Program
from tests.daemon.sinks import Storescp
from tests.daemon.waiting import until
from tests.faults import sabotage
from tests.faults.matrix import rounds

pytestmark = [pytest.mark.trust, pytest.mark.timeout(900)]

OBJECTS_PER_KILL = rounds(8, 25)
STEPS = [*product(sabotage.DISK_STEPS + sabotage.QUEUE_STEPS, ("before", "after"))]
AT_MOST = 6
"""Times that a step happens before the process dies at it."""


@pytest.mark.row("F1", "SIGKILL at random moments, under load and during recovery")
def test_at_any_moment(
    *,
    routers: Routers,
    storescp: Storescps,
    dcmtk: Callable[[str], Path],
    tmp_path: Path,
    chance: Random,
    record_property: Callable[[str, object], None],
) -> None:
    """In the end both destinations have exactly what was answered 0000H."""
    kills = rounds(8, 100)
    pause = Event()
    sinks = [storescp("FIRST"), storescp("SECOND")]
    router = routers(**_to(sinks))
    with Load(router.port, dcmtk("storescu"), tmp_path) as load:
        for number in range(kills):
            if number % 3 == 0:
                router.launch()
                until(router.has_its_spool, "a router that puts in order what the last one left")
                pause.wait(chance.uniform(0, 0.1))
            else:
                router.start()
                load.wait_for(len(load.promised) + chance.randrange(2 * OBJECTS_PER_KILL))
                pause.wait(chance.uniform(0, 0.02))
            router.kill()
        router.start()
        load.wait_for(len(load.promised) + OBJECTS_PER_KILL)
    promised = _all_arrived(router, load, sinks)
    assert len(router.find("recovered")) > kills // 2
    kept = len(router.spooled())
    for sink in sinks:
        assert router.tally(sink.name) == {"delivered": kept}, "a payload without deliveries is nobody's"
    record_property("rounds", kills)
    record_property("objects", promised)


@pytest.mark.row("F1", "SIGKILL just before and just after each step of accepting, settling and removing (S1 to S7)")
def test_at_every_step(
    *,
    routers: Routers,
    storescp: Storescps,
    dcmtk: Callable[[str], Path],
    tmp_path: Path,
    chance: Random,
    record_property: Callable[[str, object], None],
) -> None:
    """The process dies at that very step; in the end both destinations have exactly what was answered 0000H."""
    points = chance.sample(STEPS * 5, rounds(12, len(STEPS) * 5))
    sinks = [storescp("FIRST"), storescp("SECOND")]
    router = routers(**_to(sinks), spool={"keep_delivered": "0s"})
    with Load(router.port, dcmtk("storescu"), tmp_path) as load:
        for step, when in points:
            router.module = ("tests.faults.sabotage", sabotage.kill(when, step, chance.randint(1, AT_MOST)))
            router.launch()
            assert router.ended() == -signal.SIGKILL, f"{when} {step}"
        router.module = ("tests.faults.sabotage", sabotage.NONE)
        router.start()
        load.wait_for(len(load.promised) + OBJECTS_PER_KILL)
    promised = _all_arrived(router, load, sinks)
    assert not [line for line in router.find("recovered") if line["outcome"]["lost"]]
    until(lambda: not router.spooled(), "an empty spool")
    record_property("rounds", len(points))
    record_property("objects", promised)


def _to(sinks: Sequence[Storescp]) -> dict[str, Sequence[object]]:
    return {
        "destinations": [sink.destination() for sink in sinks],
        "routes": [{"to": [sink.name for sink in sinks]}],
    }


def _all_arrived(router: Program, load: Load, sinks: Sequence[Storescp]) -> int:
    """How many objects were answered 0000H; all of them, and no others, have arrived."""
    assert not load.odd
    router.until_delivered(within=120)
    promised = ledger(load.promised)
    for sink in sinks:
        same(promised, sink)
    return len(promised)
