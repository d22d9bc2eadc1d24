"""Forward over one association: the router from its queue, its SCU alone, and every other SCU, to the same sink."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import objects, peers, scu, senders
from benchmarks.figures import Figure, Goal, Measured, Sample, Turn, at_least, compete, cpu_at_most
from benchmarks.objects import Series
from benchmarks.peers import Server
from benchmarks.program import FORWARD, Router, another
from benchmarks.scale import Scale
from benchmarks.senders import DCMSEND, STORESCU, Dcmtk, Sent

BACKLOG, ALONE, PYNETDICOM = "router, a backlog", "router, SCU alone", "pynetdicom"

SUBJECT = "forward, one association"


def measure(scale: Scale, memory: Path, _: Path) -> Measured:
    """Every kind of object, all files on tmpfs."""
    measured = Measured()
    with ExitStack() as ends:
        # An association of the router lingers for a moment, and this storescp serves one at a time: each has its own.
        sink, router_sink = ends.enter_context(peers.sink()), ends.enter_context(peers.sink())
        router = ends.enter_context(Router(memory / "router", [router_sink]))
        for kind, count in scale.objects.items():
            series = objects.series(kind, memory / "objects", count)
            turns = {
                BACKLOG: drained(router, router_sink, series),
                ALONE: _sent_by("router-scu", sink, series),
                DCMSEND: sent_by_dcmtk(DCMSEND, sink, series, memory),
                STORESCU: sent_by_dcmtk(STORESCU, sink, series, memory),
            }
            if kind in ("MR", "CT"):
                turns[PYNETDICOM] = _sent_by("pynetdicom-scu", sink, series.first(max(2, count // 30)))
            figures = compete(f"{kind}, 1 association", turns, scale.rounds_of(kind))
            measured.figures += figures.values()
            measured.goals += goals(figures)
            series.remove()
    return measured


def goals(figures: dict[str, Figure]) -> Iterator[Goal]:
    """Of one kind of object. All are of one size, so CPU per object is CPU per MB."""
    ours, theirs = figures[BACKLOG], figures[DCMSEND]
    yield at_least(SUBJECT, ours, DCMSEND, theirs.rate, 1.0)
    yield cpu_at_most(SUBJECT, ours, theirs, 1.0)


def drained(router: Router, sink: Server, series: Series) -> Turn:
    """The objects are accepted while the sink stands still; from when it goes on to the last success."""

    def turn() -> Sample:
        sink.wait_idle()
        sink.pause()
        scu.send(router.port, another(FORWARD), [series.files])
        router.skip_log()
        before, sink_before = router.cpu(), sink.cpu()
        with router.watched() as highest:
            began = time.time()
            sink.proceed()
            ended = router.wait_delivered(len(series.files))
        sample = Sample(
            len(series.files),
            ended - began,
            series.size,
            cpu=router.cpu() - before,
            sink_cpu=sink.cpu() - sink_before,
            rss=highest.rss,
            anonymous=highest.anonymous,
        )
        router.clear()
        return sample

    return turn


def sent_by_dcmtk(which: str, sink: Server, series: Series, scratch: Path) -> Turn:
    """By one of DCMTK's senders."""

    def turn() -> Sample:
        before = sink.cpu()
        return _sample(series, Dcmtk(which, sink.port, series.files, FORWARD, scratch).finish(), sink, before)

    return turn


def _sent_by(child: str, sink: Server, series: Series) -> Turn:
    def turn() -> Sample:
        before = sink.cpu()
        return _sample(series, senders.send_by(child, sink.port, series.files), sink, before)

    return turn


def _sample(series: Series, sent: Sent, sink: Server, before: float) -> Sample:
    return Sample(
        len(series.files), sent.seconds, series.size, cpu=sent.cpu, sink_cpu=sink.cpu() - before, rss=sent.rss
    )
