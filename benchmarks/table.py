"""What the figures mean: one row per goal, as Markdown and as JSON."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks import peers
from benchmarks.backlog import Burdened
from benchmarks.history import Asked
from benchmarks.measures import IDLE_ASSOCIATIONS, Grown, Idle, Median, Scale

MIB = 1024 * 1024
MILLION = 1_000_000

METHOD = """\
Every contender has its turn in every round, on the same files, with the same sender or the same sink, all on one
machine over loopback; every other round runs backwards. A first round is not counted: on a virtual machine the first
touch of a memory page costs more than the rest of the path. What was received is removed after every turn, and that
is on the disk before the next one begins. Figures are medians over the rounds, ratios are ratios of medians. CPU is
user and system time in milliseconds per object, forks included; `dcmsend`'s includes its start and its look through
the files. DCMTK has `TCP_NODELAY=1` at both ends (without it each object waits 40 ms for a delayed acknowledgement);
pynetdicom has default settings, its SCP writes the bytes as they arrived, its SCU is given paths. What is slower gets
fewer objects, so that every turn takes about as long.

- **Receive**: parallel `dcmsend` processes with disjoint files, from the first association request to the last
  release. The router is the whole program; what it receives waits for a destination whose window opens on another day.
- **Durable**: the same with the spool on the disk. The prediction is made from the router on tmpfs (a) and a bare
  loop of write, fsync, rename, directory fsync and WAL/FULL commit in as many threads (b): 1/(1/a + 1/b) for one
  association, the smaller of the two for four.
- **Forward**: to `storescp --ignore`, over one association, all files on tmpfs. *A backlog*: the whole program accepts
  all objects while the sink stands still; measured from when the sink goes on to the last success. *SCU alone*:
  `flow.attempt` over files, as `dicom-router send` uses it, without queue, spool and log.
- **Store and forward**: the whole program with its spool on the disk, from the association request of one `dcmsend` to
  the last success of `storescp --ignore`.
- **Conversion**: megabytes of native pixels per CPU second of one thread, generated images on tmpfs. The router
  converts a file to a file as its workers do, without the process around it; beside it imagecodecs is called frame by
  frame, from memory to memory, and for recompression encodes and decodes, because the router verifies what it encodes.
  Of JPEG Lossless there is no encoder in the router. Ours includes opening, reading, rewriting the header, writing and
  removing the file. The library's RLE decoder gives colour plane by plane, and is not asked to put pixels together; it
  has no RLE encoder: its PackBits is called plane by plane.
- **A mixed queue**: a backlog as in *Forward*, to `storescp --ignore` that takes native transfer syntaxes only; the
  rate is that of the objects that need no conversion, to the last success among them. The others are converted beside
  them in worker processes of lower priority, and may go after them.
- **2 GiB object**: the highest RssAnon while it arrives, and while it is sent, over that after a first 32 objects; the
  spool is on the disk. The sink is `storescp --ignore +B`, which does not collect the object in memory.
- **Idling**: CPU of the router over six seconds, after the associations were opened.
- **Backlog**: payloads without a data set on tmpfs, all waiting for one destination; each operation fifteen times, each
  command once. The program is then started on that spool.
- **History**: a file on the disk is filled in order, a thousand happenings in a commit; each question is asked nine
  times, on the connection that only reads.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure beside what it is compared with."""

    part: str
    what: str
    figure: str
    rate: float = 0.0
    """Objects per second, where the figure is one."""
    spread: str = ""
    cpu: str = ""
    peer: str = ""
    peer_figure: str = ""
    peer_cpu: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    """None: there is no goal."""


def receive_rows(figures: Mapping[str, Median]) -> Iterator[Row]:
    """Of ``measures.receiving``."""
    for series in ("CT", "MR"):
        for associations, of_storescp in ((1, 0.8), (4, 0.4)):
            what = f"receive {series}, {associations}"
            words = f"{series}, {associations} association{'s' if associations > 1 else ''}"
            ours = _receiver("Receive, spool on tmpfs", words, figures[f"{what}: router on tmpfs"])
            for peer, goal in (("storescp --fork", of_storescp), ("pynetdicom", 4.0)):
                theirs = figures[f"{what}: {peer}"]
                yield _beside(ours, peer, theirs.rate, goal, cpu=theirs.receiver_cpu)
            bare = figures[f"{what}: bare loop"].rate
            predicted = 1 / (1 / ours.rate + 1 / bare) if associations == 1 else min(ours.rate, bare)
            durable = _receiver("Receive, durable on disk", words, figures[f"{what}: router on disk"])
            yield _beside(durable, f"prediction (bare loop {bare:,.0f}/s)", predicted, 0.8)


def forward_rows(figures: Mapping[str, Median]) -> Iterator[Row]:
    """Of ``measures.forwarding``."""
    for series, of_dcmsend, of_pynetdicom in (("CT", 0.4, 8.0), ("MR", 0.8, 20.0)):
        what = f"forward {series}"
        for way in ("a backlog", "SCU alone"):
            ours = _sender("Forward, 1 association", f"{series}, {way}", figures[f"{what}: router, {way}"])
            for peer, goal in (("dcmsend", of_dcmsend), ("pynetdicom", of_pynetdicom)):
                theirs = figures[f"{what}: {peer}"]
                yield _beside(ours, peer, theirs.rate, goal, cpu=theirs.sender_cpu)
    for series in ("CT", "MR"):
        what = f"store and forward {series}"
        ours = _receiver("Store and forward, durable on disk", series, figures[f"{what}: router"])
        alone = figures[f"{what}: receive alone"]
        yield _beside(ours, "receive alone", alone.rate, cpu=alone.receiver_cpu)


def conversion_rows(figures: Mapping[str, Median], megabytes: Mapping[str, float]) -> Iterator[Row]:
    """Of ``conversion.converting``; ``megabytes`` are those of one object of each kind."""
    for name, figure in figures.items():
        what, _, contender = name.rpartition(": ")
        if contender != "router":
            continue
        size = next(each for kind, each in megabytes.items() if f" {kind}, " in what)
        bare = figures[f"{what}: bare"]
        way, _, words = what.partition(" ")
        row = _beside(_sender(f"Conversion: {way}", words, figure), "imagecodecs", bare.rate, 0.8, cpu=bare.sender_cpu)
        yield replace(
            row,
            figure=f"{figure.rate * size:,.0f} MB/s",
            spread=f"{figure.lowest * size:,.0f}–{figure.highest * size:,.0f}",
            peer_figure=f"{bare.rate * size:,.0f} MB/s",
        )


def mixed_rows(figures: Mapping[str, Median]) -> Iterator[Row]:
    """Of ``conversion.mixing``."""
    alone = figures["mixed queue: alone"]
    ours = _sender(
        "Conversion: a mixed queue",
        "CT sent as stored, with a tenth of JPEG 2000 to convert among them",
        figures["mixed queue: mixed"],
    )
    yield _beside(ours, "without that tenth", alone.rate, 0.9, cpu=alone.sender_cpu)


def large_rows(grown: Grown) -> Iterator[Row]:
    """Of ``measures.large_object``."""
    for way, size, seconds in (
        ("received", grown.receiving, grown.seconds_receiving),
        ("sent", grown.sending, grown.seconds_sending),
    ):
        yield Row(
            part="Memory",
            what=f"a 2 GiB multi-frame object is {way}, in {seconds:.1f} s",
            figure=f"RssAnon +{size / MIB:.1f} MiB",
            goal="< 64 MiB",
            met=size < 64 * MIB,
        )


def idle_rows(idle: Idle) -> Iterator[Row]:
    """Of ``measures.idle_associations``."""
    yield Row(
        part="Idling",
        what=f"{IDLE_ASSOCIATIONS} associations that do nothing, RssAnon +{idle.bytes_each / 1024:.0f} KiB each",
        figure=f"{idle.core:.1%} of one core",
        goal="< 3 %",
        met=idle.core < 0.03,
    )


def history_rows(asked: Asked) -> Iterator[Row]:
    """Of ``history.asked``."""
    for question, seconds in asked.answers.items():
        yield Row(
            part="History",
            what=f"of {asked.deliveries:,} deliveries in {asked.file / MIB:.0f} MiB: {question}",
            figure=f"{seconds * 1000:.1f} ms",
            goal="< 100 ms",
            met=seconds < 0.1,
        )
    yield Row(part="History", what="happenings written, a thousand in a FULL commit", figure=f"{asked.written:,.0f}/s")


def backlog_rows(burdened: Burdened) -> Iterator[Row]:
    """Of ``backlog.burdened``."""
    goals = {"claim": 0.002, "accept": 0.002, "how": 1.0, "a": 1.0}
    for question, seconds in burdened.asked.items():
        goal = goals[question.split()[0]]
        yield _backlog(f"of {burdened.deliveries:,} deliveries: {question}", seconds, goal)
    for command, seconds in burdened.commands.items():
        yield _backlog(f"`dicom-router {command}`, the start of Python included", seconds, 1.0)
    yield _backlog("the program's start, to its open port", burdened.start, 30 if burdened.deliveries < MILLION else 60)
    yield Row(part="Backlog", what="memory of the program's own after that", figure=f"{burdened.memory / MIB:.0f} MiB")


def _backlog(what: str, seconds: float, goal: float) -> Row:
    figure = f"{seconds * 1000:.1f} ms" if goal < 1 else f"{seconds:.2f} s"
    limit = f"< {goal * 1000:g} ms" if goal < 1 else f"< {goal:g} s"
    return Row(part="Backlog", what=what, figure=figure, goal=limit, met=seconds < goal)


def _receiver(part: str, what: str, ours: Median) -> Row:
    return _rate(part, what, ours, ours.receiver_cpu)


def _sender(part: str, what: str, ours: Median) -> Row:
    return _rate(part, what, ours, ours.sender_cpu)


def _rate(part: str, what: str, ours: Median, cpu: float | None) -> Row:
    return Row(
        part=part,
        what=what,
        figure=f"{ours.rate:,.0f}/s",
        rate=ours.rate,
        spread=f"{ours.lowest:,.0f}–{ours.highest:,.0f}",
        cpu=_ms(cpu),
    )


def _beside(ours: Row, peer: str, rate: float, goal: float | None = None, *, cpu: float | None = None) -> Row:
    ratio = ours.rate / rate
    return replace(
        ours,
        peer=peer,
        peer_figure=f"{rate:,.0f}/s",
        peer_cpu=_ms(cpu),
        ratio=round(ratio, 2),
        goal="" if goal is None else f"≥ {goal:g} ×",
        met=None if goal is None else ratio >= goal,
    )


def _ms(cpu: float | None) -> str:
    return "" if cpu is None else f"{cpu:.2f} ms"


# Where and when


def circumstances(scale: Scale, memory: Path, disk: Path) -> dict[str, str]:
    """Of this run: machine, versions, commit, date."""
    cpus = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"^model name\s*: (.*)$", cpus, re.MULTILINE)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}, "
        f"{psutil.virtual_memory().total / 1024**3:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file systems": f"memory: {_file_system(memory)}, disk: {_file_system(disk)}",
        "Python": platform.python_version(),
        **peers.versions(),
        "rounds": f"{scale.rounds}, with {scale.ct} CT images of 512 KB and {scale.mr} MR images of 33 KB",
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=peers.REPOSITORY, stdout=subprocess.PIPE, check=False, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "router")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if changed else "")


def _file_system(folder: Path) -> str:
    """The kind of the one with the longest mount point above ``folder``."""
    mounted = {each.mountpoint: each.fstype for each in psutil.disk_partitions(all=True)}
    return next((mounted[str(each)] for each in (folder, *folder.parents) if str(each) in mounted), "unknown")


# On paper


def as_json(rows: Sequence[Row], figures: Mapping[str, Median], where: Mapping[str, str]) -> str:
    """Everything, for machines."""
    everything = {
        "circumstances": where,
        "rows": [asdict(row) for row in rows],
        "figures": {name: asdict(figure) for name, figure in figures.items()},
    }
    return json.dumps(everything, indent=2, ensure_ascii=False) + "\n"


def as_markdown(rows: Sequence[Row], where: Mapping[str, str]) -> str:
    """The page."""
    goals = [row.met for row in rows if row.met is not None]
    lines = [
        "# Performance",
        "",
        f"Written by `make bench`. {sum(goals)} of {len(goals)} goals are met.",
        "",
        *[f"- {name}: {value}" for name, value in where.items()],
        "",
        "## Method",
        "",
        METHOD,
        *_tables(rows),
    ]
    return "\n".join(lines)


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    for part in dict.fromkeys(row.part for row in rows):
        yield f"## {part}"
        yield ""
        yield "| | figure | lowest–highest | CPU per object | beside | its figure | its CPU | ratio | goal | met |"
        yield "|---|---:|---:|---:|---|---:|---:|---:|---|---|"
        for row in rows:
            if row.part == part:
                ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
                met = {True: "yes", False: "**no**", None: ""}[row.met]
                cells = (row.what, row.figure, row.spread, row.cpu, row.peer, row.peer_figure, row.peer_cpu)
                yield f"| {' | '.join((*cells, ratio, row.goal, met))} |"
        yield ""
