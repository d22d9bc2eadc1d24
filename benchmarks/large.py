"""One object of 2 GiB: what memory it takes on its way in and out, and how long others take for it."""

import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import objects, peers, scu
from benchmarks.figures import MIB, Measured, Sample, Turn, below, compete
from benchmarks.forward import sent_by_dcmtk
from benchmarks.objects import Series
from benchmarks.peers import Server
from benchmarks.program import FORWARD, Router, another
from benchmarks.receive import received_by
from benchmarks.scale import Scale
from benchmarks.senders import DCMSEND

SUBJECT = "memory, RssAnon"


def measure(scale: Scale, memory: Path, disk: Path) -> Measured:
    """Receive it and forward it, one after the other, with the spool on the disk; and DCMTK, which streams likewise."""
    measured = Measured()
    kind = "2 GiB" if scale.large else "MR"
    # It does not collect the object in memory.
    streaming = "--bit-preserving"
    with ExitStack() as ends:
        sink = ends.enter_context(peers.sink(streaming))
        router = ends.enter_context(Router(disk / "router", [sink]))
        storescp = ends.enter_context(peers.storescp(disk / "storescp", streaming))
        # What the first objects need once is not this one's.
        first = objects.series("CT", memory / "objects", 32)
        scu.send(router.port, another(FORWARD), [first.files])
        router.wait_delivered(len(first.files))
        large = objects.series(kind, memory / "objects", 1)
        before = router.memory().anonymous
        received, sent = _received_and_sent(router, sink, large)
        plain = ends.enter_context(peers.sink(streaming))
        contenders = {
            "router, received": received,
            "router, sent on": sent,
            "storescp --fork --bit-preserving": received_by(storescp, large, 1)(),
            "dcmsend": sent_by_dcmtk(DCMSEND, plain, large, memory)(),
        }
        turns = {who: _once(sample) for who, sample in contenders.items()}
        measured.figures += compete(f"one of {kind}", turns, 1).values()
    for way, sample in (("received", received), ("sent", sent)):
        assert sample.anonymous is not None
        grown = (sample.anonymous - before) / MIB
        measured.goals.append(below(SUBJECT, f"a {kind} object is {way}: growth", grown, 64, "MiB"))
    return measured


def _once(sample: Sample) -> Turn:
    return lambda: sample


def _received_and_sent(router: Router, sink: Server, large: Series) -> tuple[Sample, Sample]:
    sink.wait_idle()
    sink.pause()
    cpu = router.cpu()
    with router.watched() as receiving:
        sent = scu.send(router.port, another(FORWARD), [large.files])
    between = router.cpu()
    router.skip_log()
    began = time.time()
    with router.watched() as sending:
        sink.proceed()
        ended = router.wait_delivered(1)
    size, rss = large.size, receiving.rss
    return (
        Sample(1, sent.seconds, size, between - cpu, sent.cpu, None, rss, receiving.anonymous, sent.responses),
        Sample(1, ended - began, size, router.cpu() - between, None, None, sending.rss, sending.anonymous),
    )
