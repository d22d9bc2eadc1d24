"""docs/performance.json and docs/performance.md: what was measured, part by part, and which goals are met."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs

from benchmarks import orthanc, peers
from benchmarks.figures import MIB, Figure, Goal, Measured, Table, rounded

DOCUMENTS = peers.REPOSITORY / "docs"
HERE = Path(__file__).parent

SUBJECTS = (
    "receive, fsync free",
    "receive, durable on disk",
    "forward, one association",
    "store and forward, one destination",
    "three destinations",
    "memory, RssAnon",
    "backlog of waiting deliveries",
    "added latency",
    "growth",
    "conversion",
    "history",
)
"""In the order of the table of goals."""

Part = Mapping[str, Any]
"""What JSON has of one part."""


def part(measured: Measured, seconds: float) -> Part:
    """Of a part that was measured just now."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "seconds": round(seconds),
        **asdict(measured),
    }


def circumstances(memory: Path, disk: Path) -> Mapping[str, str]:
    """Of this machine."""
    cpus = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"^model name\s*: (.*)$", cpus, re.MULTILINE)
    return {
        "machine": f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}, "
        f"{psutil.virtual_memory().total / 1024**3:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file systems": f"memory: {_file_system(memory)}, disk: {_file_system(disk)}",
        "Python": platform.python_version(),
        **peers.versions(),
        "Orthanc": orthanc.version(),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=peers.REPOSITORY, stdout=subprocess.PIPE, check=False, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "router", "benchmarks")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if changed else "")


def _file_system(folder: Path) -> str:
    """The kind of the one with the longest mount point above ``folder``."""
    mounted = {each.mountpoint: each.fstype for each in psutil.disk_partitions(all=True)}
    return next((mounted[str(each)] for each in (folder, *folder.parents) if str(each) in mounted), "unknown")


def as_json(where: Mapping[str, str], parts: Mapping[str, Part]) -> str:
    """Everything, for machines."""
    return json.dumps({"circumstances": where, "parts": parts}, indent=1, ensure_ascii=False) + "\n"


def earlier(path: Path) -> dict[str, Part]:
    """The parts that were measured before."""
    if not path.exists():
        return {}
    parts: dict[str, Part] = json.loads(path.read_text("utf-8")).get("parts", {})
    return parts


def as_markdown(where: Mapping[str, str], parts: Mapping[str, Part]) -> str:
    """The page: goals on top, then what a hand wrote about those that are missed, then everything."""
    goals = [Goal(**goal) for each in parts.values() for goal in each["goals"]]
    lines = [
        "# Performance",
        "",
        f"Written by `make bench`. {sum(goal.met for goal in goals)} of {len(goals)} goals are met.",
        "",
        *[f"- {name}: {value}" for name, value in where.items()],
        *dict.fromkeys(f"- left out: {sentence}" for each in parts.values() for sentence in each["left_out"]),
        "",
        "## Goals",
        "",
        *_goals(goals),
        (HERE / "missed.md").read_text("utf-8"),
        (HERE / "method.md").read_text("utf-8"),
    ]
    for name, each in parts.items():
        lines += _part(name, each)
    return "\n".join(lines).rstrip("\n") + "\n"


def _goals(goals: Sequence[Goal]) -> Iterator[str]:
    yield from _header("goal", "of", "figure", "beside", "ratio", "limit", "met")
    for subject in SUBJECTS:
        name = subject
        for goal in goals:
            if goal.subject == subject:
                ratio = "" if goal.ratio is None else f"{goal.ratio:.2f}"
                met = "yes" if goal.met else "**no**"
                yield _row(name, goal.what, goal.figure, goal.peer, ratio, goal.goal, met)
                name = ""
    yield ""


def _part(name: str, each: Part) -> Iterator[str]:
    yield f"## {name.capitalize()}"
    yield ""
    yield f"Measured {each['date']} at {each['commit']}, in {each['seconds']} s."
    yield ""
    figures = [Figure(**figure) for figure in each["figures"]]
    if figures:
        yield from _figures(figures)
    for table in (Table(**table) for table in each["tables"]):
        yield f"{table.title}:"
        yield ""
        yield from _header(*table.columns)
        yield from (_row(*row) for row in table.rows)
        yield ""


def _figures(figures: Iterable[Figure]) -> Iterator[str]:
    yield from _header(
        "",
        "",
        "objects/s",
        "lowest–highest",
        "rounds",
        "MB/s",
        "C-STORE p50, p99 in ms",
        "CPU per object, ms",
        "per MB",
        "CPU of the sender",
        "of the sink",
        "peak RSS, MiB",
        "RssAnon, MiB",
    )
    what = ""
    for each in figures:
        yield _row(
            each.what if each.what != what else "",
            each.who,
            rounded(each.rate),
            f"{rounded(each.lowest)}–{rounded(each.highest)}",
            str(each.rounds),
            rounded(each.bandwidth) if each.size else "",
            "" if each.p50 is None else f"{each.p50:.2f}, {each.p99:.2f}",
            _ms(each.cpu),
            "" if each.cpu is None or not each.size else f"{each.cpu * 1e6 / each.size:.2f}",
            _ms(each.sender_cpu),
            _ms(each.sink_cpu),
            "" if each.rss is None else f"{each.rss / MIB:.0f}",
            "" if each.anonymous is None else f"{each.anonymous / MIB:.0f}",
        )
        what = each.what
    yield ""


def _header(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*["---"] * len(cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _ms(cpu: float | None) -> str:
    return "" if cpu is None else f"{cpu:.2f}"
