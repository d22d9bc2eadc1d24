"""Store and forward: from a modality's first association request to the last object at a PACS, by every router."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import objects, orthanc, peers, scu
from benchmarks.figures import Figure, Goal, Measured, Sample, Turn, at_least, compete
from benchmarks.forward import drained
from benchmarks.objects import Series
from benchmarks.orthanc import Orthanc
from benchmarks.peers import CountingSink, Server
from benchmarks.program import BROADCAST, FORWARD, Router, another
from benchmarks.receive import received_by
from benchmarks.scale import Scale

OURS, RECEIVE, FORWARD_ALONE = "router", "router, receive alone", "router, forward alone"
PER_INSTANCE, BY_SERIES, PYNETDICOM = "Orthanc per instance", "Orthanc by series", "pynetdicom router"
PACKAGED = ", without TCP_NODELAY"
"""Orthanc as its package starts it: 40 ms for each object."""
THREE = "router, three destinations"

SUBJECT = "store and forward, one destination"
BROADCASTING = "three destinations"


def measure(scale: Scale, memory: Path, disk: Path) -> Measured:
    """The spools of all of them on the disk."""
    measured = Measured()
    with ExitStack() as ends:
        sinks = [ends.enter_context(CountingSink(memory / f"sink{number}")) for number in range(5)]
        others, sinks = sinks[3:], sinks[:3]
        router = ends.enter_context(Router(disk / "router", sinks))
        pynetdicom = ends.enter_context(peers.pynetdicom_router(disk / "pynetdicom", others[0]))
        orthancs = _orthancs(ends, disk, others[1])
        if not orthancs:
            measured.left_out.append(orthanc.MISSING)
        for kind, count in scale.objects.items():
            everything = objects.series(kind, memory / "objects", count)
            series, fewer, few = (everything.first(max(1, count // share)) for share in (3, 6, 40))
            turns = {
                OURS: routed(router, sinks[:1], series, FORWARD),
                THREE: routed(router, sinks, series, BROADCAST),
                RECEIVE: received_by(router, series, 1),
                FORWARD_ALONE: drained(router, sinks[0], series),
                PYNETDICOM: routed(pynetdicom, others[:1], fewer, FORWARD),
            }
            for name, each in orthancs.items():
                part = few if name.endswith(PACKAGED) else series
                turns[name] = routed(each, others[1:], part, FORWARD, each.send_on)
            figures = compete(kind, turns, scale.rounds_of(kind))
            measured.figures += figures.values()
            measured.goals += goals(figures)
            everything.remove()
    measured.goals.sort(key=lambda goal: goal.subject)
    return measured


def _orthancs(ends: ExitStack, disk: Path, sink: Server) -> dict[str, Orthanc]:
    """Both ways of routing in both environments; none if it is not installed."""
    if orthanc.PROGRAM is None:
        return {}
    return {
        way + suffix: ends.enter_context(
            Orthanc(disk / f"{way}{suffix}", sink, per_instance=way == PER_INSTANCE, environment=environment)
        )
        for way in (PER_INSTANCE, BY_SERIES)
        for suffix, environment in (("", peers.DCMTK_ENVIRONMENT), (PACKAGED, dict(os.environ)))
    }


def goals(figures: dict[str, Figure]) -> Iterator[Goal]:
    """Of one kind of object."""
    ours = figures[OURS]
    for peer, times in (
        (PER_INSTANCE, 20),
        (PER_INSTANCE + PACKAGED, 20),
        (BY_SERIES, 5),
        (BY_SERIES + PACKAGED, 5),
        (PYNETDICOM, 5),
    ):
        if peer in figures:
            yield at_least(SUBJECT, ours, peer, figures[peer].rate, times)
    slower = min(figures[RECEIVE], figures[FORWARD_ALONE], key=lambda each: each.rate)
    yield at_least(SUBJECT, ours, slower.who, slower.rate, 0.5)
    yield at_least(BROADCASTING, figures[THREE], "one destination", ours.rate, 0.7)


def routed(
    router: Server,
    sinks: Sequence[CountingSink],
    series: Series,
    title: str,
    send_on: Callable[[], object] = lambda: None,
) -> Turn:
    """One association sends; ``send_on`` is what has to be asked of a router afterwards."""

    def turn() -> Sample:
        for sink in sinks:
            sink.skip_log()
        before = router.cpu()
        with router.watched() as highest:
            sent = scu.send(router.port, another(title), [series.files])
            send_on()
            ended = max(sink.wait_requests(len(series.files)) for sink in sinks)
        cpu = router.cpu() - before
        router.clear()
        return Sample(
            len(series.files),
            ended - sent.began,
            series.size,
            cpu=cpu,
            sender_cpu=sent.cpu,
            rss=highest.rss,
            anonymous=highest.anonymous,
            responses=sent.responses,
        )

    return turn
