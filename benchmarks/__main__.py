"""``python -m benchmarks``: measure, and write docs/performance.md and docs/performance.json."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import backlog, conversion, history, measures, table
from benchmarks.measures import Median, Scale
from benchmarks.peers import REPOSITORY, BenchmarkError, missing
from benchmarks.table import Row

FULL = Scale(rounds=5, ct=500, mr=1500)
QUICK = Scale(rounds=1, ct=160, mr=400)

Part = Callable[[Scale, Path, Path], tuple[list[Row], Mapping[str, Median]]]


def _receive(scale: Scale, memory: Path, disk: Path) -> tuple[list[Row], Mapping[str, Median]]:
    with measures.receiving(scale, memory, disk) as turns:
        figures = measures.medians(turns, scale.rounds)
    return list(table.receive_rows(figures)), figures


def _forward(scale: Scale, memory: Path, disk: Path) -> tuple[list[Row], Mapping[str, Median]]:
    with measures.forwarding(scale, memory, disk) as turns:
        figures = measures.medians(turns, scale.rounds)
    return list(table.forward_rows(figures)), figures


def _conversion(scale: Scale, memory: Path, _: Path) -> tuple[list[Row], Mapping[str, Median]]:
    turns, megabytes = conversion.converting(memory)
    figures = measures.medians(turns, scale.rounds)
    with conversion.mixing(memory) as turns:
        mixed = measures.medians(turns, scale.rounds)
    return [*table.conversion_rows(figures, megabytes), *table.mixed_rows(mixed)], figures | mixed


def _large(_: Scale, memory: Path, disk: Path) -> tuple[list[Row], Mapping[str, Median]]:
    return list(table.large_rows(measures.large_object(memory, disk))), {}


def _idle(_: Scale, memory: Path, __: Path) -> tuple[list[Row], Mapping[str, Median]]:
    return list(table.idle_rows(measures.idle_associations(memory))), {}


def _history(scale: Scale, _: Path, disk: Path) -> tuple[list[Row], Mapping[str, Median]]:
    deliveries = 1_000_000 if scale.rounds > QUICK.rounds else 100_000
    return list(table.history_rows(history.asked(disk, deliveries))), {}


def _backlog(scale: Scale, memory: Path, _: Path) -> tuple[list[Row], Mapping[str, Median]]:
    deliveries = 200_000 if scale.rounds > QUICK.rounds else 20_000
    return list(table.backlog_rows(backlog.burdened(memory, deliveries))), {}


PARTS: Mapping[str, Part] = {
    "receive": _receive,
    "forward": _forward,
    "conversion": _conversion,
    "large": _large,
    "idle": _idle,
    "history": _history,
    "backlog": _backlog,
}


def main() -> int:
    """Returns the exit code: 0 when everything was measured, whatever came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, in a minute; writes nothing")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; writes nothing")
    parser.add_argument("--rounds", type=int, help=f"counted rounds, by default {FULL.rounds}; fewer: writes nothing")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="folder on a tmpfs, with 2 GB of room")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder on a disk, with 4 GB of room")
    arguments = parser.parse_args()
    if why := missing():
        print(why, file=sys.stderr)
        return os.EX_UNAVAILABLE
    # So that children and files go however it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))
    scale = QUICK if arguments.quick else FULL
    scale = Scale(arguments.rounds or scale.rounds, scale.ct, scale.mr)
    where = table.circumstances(scale, arguments.memory, arguments.disk)
    rows: list[Row] = []
    figures: dict[str, Median] = {}
    began = time.monotonic()
    for name in arguments.only or PARTS:
        memory = Path(tempfile.mkdtemp(prefix="benchmark-", dir=arguments.memory))
        disk = Path(tempfile.mkdtemp(prefix="benchmark-", dir=arguments.disk))
        try:
            more, measured = PARTS[name](scale, memory, disk)
        except BenchmarkError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return os.EX_SOFTWARE
        finally:
            shutil.rmtree(memory)
            shutil.rmtree(disk)
        rows += more
        figures |= measured
    measures.say(f"measured in {time.monotonic() - began:.0f} s")
    page = table.as_markdown(rows, where)
    print(page)
    if scale.rounds >= FULL.rounds and not arguments.quick and not arguments.only:
        documents = REPOSITORY / "docs"
        documents.mkdir(exist_ok=True)
        (documents / "performance.md").write_text(page, "utf-8")
        (documents / "performance.json").write_text(table.as_json(rows, figures, where), "utf-8")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
