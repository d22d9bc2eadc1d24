"""Receive: by every SCP on tmpfs, by the router on the disk, and what disk and loopback alone can do."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import bare, objects, peers, scu
from benchmarks.figures import Figure, Goal, Measured, Sample, Turn, at_least, compete, cpu_at_most, rounded
from benchmarks.objects import Series
from benchmarks.peers import BenchmarkError, Server
from benchmarks.program import HOLD, Router, another
from benchmarks.scale import Scale

ON_TMPFS, ON_DISK, STORESCP, PYNETDICOM = (
    "router, spool on tmpfs",
    "router, spool on disk",
    "storescp --fork",
    "pynetdicom",
)
BARE_DISK, BARE_TCP = "bare disk", "bare TCP"

FREE = "receive, fsync free"
DURABLE = "receive, durable on disk"


def measure(scale: Scale, memory: Path, disk: Path) -> Measured:
    """Every kind of object over 1, 4 and 16 associations."""
    measured = Measured()
    with ExitStack() as ends:
        scps = {
            ON_TMPFS: ends.enter_context(Router(memory / "router", [])),
            STORESCP: ends.enter_context(peers.storescp(memory / "storescp")),
            ON_DISK: ends.enter_context(Router(disk / "router", [])),
            PYNETDICOM: ends.enter_context(peers.pynetdicom_scp(memory / "pynetdicom")),
        }
        tcp = ends.enter_context(peers.tcp_sink())
        for kind, count in scale.objects.items():
            everything = objects.series(kind, memory / "objects", max(count, 16))
            contents = bare.contents(everything)
            for associations in scale.associations:
                series = everything.first(max(count, associations))
                # What waits for the disk gets fewer objects, so that every turn takes about as long.
                fewer = everything.first(max(associations, count // 3))
                turns = {name: received_by(scps[name], series, associations) for name in (ON_TMPFS, STORESCP)}
                if kind in ("MR", "CT") and associations < 16:  # at 16 it takes half a minute a turn
                    turns[PYNETDICOM] = received_by(scps[PYNETDICOM], fewer, associations)
                turns[ON_DISK] = received_by(scps[ON_DISK], fewer, associations)
                turns[BARE_DISK] = _bare_disk(disk / "bare", contents, fewer, associations)
                turns[BARE_TCP] = _bare_tcp(tcp, contents, series, associations)
                what = f"{kind}, {associations} association{'s' if associations > 1 else ''}"
                figures = compete(what, turns, scale.rounds_of(kind))
                measured.figures += figures.values()
                measured.goals += goals(figures, kind, associations)
            everything.remove()
    measured.goals.sort(key=lambda goal: goal.subject, reverse=True)
    return measured


def goals(figures: dict[str, Figure], kind: str, associations: int) -> Iterator[Goal]:
    """Of one kind of object over so many associations."""
    ours, theirs = figures[ON_TMPFS], figures[STORESCP]
    yield at_least(FREE, ours, STORESCP, theirs.rate, 0.8 if kind == "MR" else 1.0)
    if kind == "CT":
        yield cpu_at_most(FREE, ours, theirs, 1.0)
    disk = figures[BARE_DISK].rate
    predicted = 1 / (1 / ours.rate + 1 / disk) if associations == 1 else min(ours.rate, disk)
    yield at_least(DURABLE, figures[ON_DISK], f"prediction, of bare disk {rounded(disk)}/s", predicted, 0.9)


def received_by(scp: Server, series: Series, associations: int) -> Turn:
    """Of an SCP that keeps what it is sent: from the first association request to the last release."""

    def turn() -> Sample:
        cpu = scp.cpu()
        with scp.watched() as highest:
            sent = scu.send(scp.port, another(HOLD), series.dealt(associations))
        cpu = scp.cpu() - cpu
        if scp.received() != len(series.files):
            raise BenchmarkError(f"{scp.received()} files are there of {len(series.files)} objects received")
        scp.clear()
        return Sample(
            len(series.files),
            sent.seconds,
            series.size,
            cpu=cpu,
            sender_cpu=sent.cpu,
            rss=highest.rss,
            anonymous=highest.anonymous,
            responses=sent.responses,
        )

    return turn


def _bare_disk(folder: Path, contents: list[bytes], series: Series, concurrency: int) -> Turn:
    def turn() -> Sample:
        seconds, cpu = bare.accept(folder, contents, len(series.files), concurrency)
        return Sample(len(series.files), seconds, series.size, cpu=cpu)

    return turn


def _bare_tcp(sink: Server, contents: list[bytes], series: Series, connections: int) -> Turn:
    def turn() -> Sample:
        before = sink.cpu()
        seconds, cpu = bare.copy(sink.port, contents, len(series.files), connections)
        return Sample(len(series.files), seconds, series.size, cpu=sink.cpu() - before, sender_cpu=cpu)

    return turn
