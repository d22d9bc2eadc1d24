"""Whether one object costs more when many destinations are configured, and after many objects."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import objects, scu
from benchmarks.figures import MIB, Goal, Measured, Table
from benchmarks.objects import Series
from benchmarks.peers import CountingSink
from benchmarks.program import FORWARD, Router, another
from benchmarks.scale import Scale

SUBJECT = "growth"
SLACK = 1.1
"""How much more the last point of a curve may cost than the first: two runs of the same differ by as much."""
AT_ONCE = 250


def measure(scale: Scale, memory: Path, _: Path) -> Measured:
    """MR images through the whole program, spool on tmpfs."""
    measured = Measured()
    series = objects.series("MR", memory / "objects", min(AT_ONCE, scale.uptime[0]))
    with ExitStack() as ends:
        sink = ends.enter_context(CountingSink(memory / "sink"))
        routers = {
            idle: ends.enter_context(Router(memory / f"router{idle}", [sink], idle=idle)) for idle in scale.destinations
        }
        costs: dict[int, list[float]] = {idle: [] for idle in routers}
        for number in range(scale.rounds + 1):
            for idle, router in routers.items():
                cost = _through(router, sink, series)
                if number:
                    costs[idle].append(cost)
    by_destinations = [(idle, sorted(each)[len(each) // 2]) for idle, each in costs.items()]
    measured.tables.append(curve("Idle destinations, CPU per MR image received and sent on", by_destinations))
    measured.goals.append(goal("idle destinations", by_destinations))
    with ExitStack() as ends:
        sink = ends.enter_context(CountingSink(memory / "sink of uptime"))
        router = ends.enter_context(Router(memory / "router of uptime", [sink]))
        by_uptime, sizes = _uptime(router, sink, series, scale.uptime)
    measured.tables.append(curve("Objects handled, CPU per MR image received and sent on", by_uptime, sizes))
    measured.goals.append(goal("uptime, as objects handled", by_uptime))
    return measured


def _uptime(
    router: Router, sink: CountingSink, series: Series, points: Sequence[int]
) -> tuple[list[tuple[int, float]], list[str]]:
    """The cost of the last thousand before each point (the first thousand warms up), and RssAnon then."""
    by_uptime, sizes, handled = [], [], 0
    for point in points:
        costs = []
        while handled < point:
            costs.append(_through(router, sink, series))
            handled += len(series.files)
        last = sorted(costs[-max(1, 1000 // len(series.files)) :])
        by_uptime.append((point, last[len(last) // 2]))
        sizes.append(f"{router.memory().anonymous / MIB:.0f}")
    return by_uptime, sizes


def _through(router: Router, sink: CountingSink, series: Series) -> float:
    """CPU of the router, in milliseconds per object."""
    sink.skip_log()
    router.skip_log()
    before = router.cpu()
    scu.send(router.port, another(FORWARD), [series.files])
    router.wait_delivered(len(series.files))
    time.sleep(0.2)  # what it does after the last answer is a part of the cost
    cost = 1000 * (router.cpu() - before) / len(series.files)
    router.clear()
    return cost


def curve(title: str, points: Sequence[tuple[int, float]], sizes: Sequence[str] = ()) -> Table:
    """A small table, the points across."""
    rows = [("CPU per object, ms", *[f"{cost:.3f}" for _, cost in points])]
    if sizes:
        rows.append(("RssAnon, MiB", *sizes))
    return Table(title, ("", *[f"{point:,}" for point, _ in points]), rows)


def goal(what: str, points: Sequence[tuple[int, float]]) -> Goal:
    """The last point beside the first."""
    (first, low), (last, high) = points[0], points[-1]
    return Goal(
        subject=SUBJECT,
        what=f"cost per object against {what}",
        figure=f"{high:.3f} ms at {last:,}",
        peer=f"{low:.3f} ms at {first:,}",
        ratio=high / low,
        goal=f"≤ {SLACK:g} ×",
        met=high / low <= SLACK,
    )
