"""Associations that do nothing: what they cost the router."""

import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import MIB, Measured, below
from benchmarks.program import HOLD, Router
from benchmarks.scale import Scale
from benchmarks.scu import Scu
from router.model.presentation_context import VERIFICATION
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN

PING = (VERIFICATION, EXPLICIT_VR_LITTLE_ENDIAN)
SECONDS = 6.0

SUBJECT = "memory, RssAnon"


def measure(scale: Scale, memory: Path, _: Path) -> Measured:
    """Open them, wait, look."""
    with ExitStack() as ends:
        router = ends.enter_context(Router(memory / "router", []))
        for _number in range(16):  # what the first ones need once is not theirs
            Scu(router.port, HOLD, [PING]).release()
        before = router.memory().anonymous
        for _number in range(scale.idle):
            ends.callback(Scu(router.port, HOLD, [PING]).close)
        grown = (router.memory().anonymous - before) / MIB
        cpu = router.cpu()
        time.sleep(SECONDS)
        core = 100 * (router.cpu() - cpu) / SECONDS
    what = f"{scale.idle:,} idle associations"
    return Measured(
        goals=[
            below(SUBJECT, f"{what}: growth", grown, 100, "MiB"),
            below(SUBJECT, f"{what}: part of one core", core, 1, "%"),
        ]
    )
