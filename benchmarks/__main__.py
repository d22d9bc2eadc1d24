"""``python -m benchmarks``: measure, and write docs/performance.md and docs/performance.json."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    backlog,
    conversion,
    forward,
    growth,
    history,
    idle,
    large,
    latency,
    page,
    receive,
    through,
)
from benchmarks.figures import Measured, say
from benchmarks.peers import missing
from benchmarks.scale import FULL, QUICK, Scale

PARTS: Mapping[str, Callable[[Scale, Path, Path], Measured]] = {
    "receive": receive.measure,
    "forward": forward.measure,
    "store and forward": through.measure,
    "2 GiB": large.measure,
    "idle associations": idle.measure,
    "added latency": latency.measure,
    "backlog": backlog.measure,
    "growth": growth.measure,
    "conversion": conversion.measure,
    "history": history.measure,
}


def measure(name: str, scale: Scale, memory_root: Path, disk_root: Path) -> page.Part:
    """One part, in folders of its own."""
    memory = Path(tempfile.mkdtemp(prefix="benchmark-", dir=memory_root))
    disk = Path(tempfile.mkdtemp(prefix="benchmark-", dir=disk_root))
    began = time.monotonic()
    try:
        measured = page.part(PARTS[name](scale, memory, disk), time.monotonic() - began)
    finally:
        shutil.rmtree(memory)
        shutil.rmtree(disk)
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 when everything was measured, whatever came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each, in four minutes; writes nothing")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part again; the others stay as they are")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page again, with missed.md")
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="folder on a tmpfs, with 8 GB of room")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder on a disk, with 8 GB of room")
    given = parser.parse_args(arguments)
    if why := missing():
        print(why, file=sys.stderr)
        return os.EX_UNAVAILABLE
    # So that children and files go however it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))
    where = page.circumstances(given.memory, given.disk)
    stored = page.DOCUMENTS / "performance.json"
    parts = {} if given.quick else page.earlier(stored)
    began, failed = time.monotonic(), []
    for name in () if given.page else given.only or PARTS:
        try:
            parts[name] = measure(name, QUICK if given.quick else FULL, given.memory, given.disk)
        except Exception:  # noqa: BLE001 -- whatever it was: the other parts are worth their minutes
            traceback.print_exc()
            failed.append(name)
            continue
        say(f"{name}: measured in {parts[name]['seconds']} s, {time.monotonic() - began:.0f} s in all")
        parts = {known: parts[known] for known in PARTS if known in parts}
        if not given.quick:
            # After every part: what was measured is kept, whatever becomes of the next one.
            stored.write_text(page.as_json(where, parts), "utf-8")
    written = page.as_markdown(where, parts)
    if not given.quick:
        (page.DOCUMENTS / "performance.md").write_text(written, "utf-8")
    print(written)
    if failed:
        say(f"not measured, so what an earlier run said is left: {', '.join(failed)}")
        return os.EX_SOFTWARE
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
