"""What was answered 0000H survives SIGKILL."""

from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom
from threading import Event

import pytest

from tests.daemon.conftest import Both, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.load import Load
from tests.daemon.waiting import until

pytestmark = pytest.mark.trust

OBJECTS = 500
KILLS = 20


@pytest.mark.timeout(180)
def test_nothing_that_was_answered_for_is_lost(
    routers: Routers, both: Both, dcmtk: Callable[[str], Path], tmp_path: Path
) -> None:
    """SIGKILL at random moments, under load and during recovery: in the end both destinations have everything."""
    seed = SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 -- pytest shows it when the test fails
    chance = Random(seed)
    pause = Event()
    destinations, names = [sink.destination() for sink in both], [sink.name for sink in both]
    router = routers(destinations=destinations, routes=[{"to": names}])
    load = Load(router.port, dcmtk("storescu"), tmp_path)
    load.start()
    try:
        for number in range(KILLS):
            if number % 3 == 0:
                router.launch()
                until(router.has_its_spool, "a router that puts in order what the last one left")
                pause.wait(chance.uniform(0, 0.1))
            else:
                router.start()
                load.wait_for(len(load.promised) + chance.randrange(2 * OBJECTS // KILLS))
                pause.wait(chance.uniform(0, 0.02))
            router.kill()
        router.start()
        load.wait_for(OBJECTS)
    finally:
        load.finish()
    assert not load.odd
    router.until_delivered(within=60)
    promised = ledger(load.promised)
    for sink in both:
        same(promised, sink)
    assert len(router.find("recovered")) > KILLS // 2
    kept = len(router.spooled())
    for sink in both:
        assert router.tally(sink.name) == {"delivered": kept}, "a payload without deliveries is nobody's"
