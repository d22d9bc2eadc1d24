"""After days of outage: what many waiting deliveries cost, and how long the program takes to start on them."""

import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import anyio
import psutil

from benchmarks.measures import say
from benchmarks.peers import BenchmarkError, free_port, wait_until
from router.durable.queue import Query, StudyQuery
from router.durable.spool import Spool
from router.durable.sqlite import SqliteDesk, SqliteQueue
from router.durable.sqlite_history import SqliteHistory
from router.model.delivery import Order, State, Wanted
from router.model.instance import Arrival, Envelope, Identity

HEAD = b"\0" * 128
AT_ONCE = 500
ROUNDS = 15
STUDY = 200
ANOTHER_DAY = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")

CONFIGURATION = """\
listen: {{port: {port}, host: 127.0.0.1, allow_any: true}}
spool: {{directory: {spool}, reserve: 1MiB}}
destinations:
  - {{name: PACS, remote_ae_title: PACS, remote_host: 127.0.0.1, remote_port: 9, only: "{day} 03:00-03:01"}}
http: {{enabled: false}}
"""


@dataclass(frozen=True, slots=True)
class Burdened:
    """What was measured on a backlog."""

    deliveries: int
    asked: Mapping[str, float]
    """Operation → seconds in the median."""
    start: float
    """Seconds from the program's start to its open port."""
    memory: int
    """The program's own then, in bytes."""
    commands: Mapping[str, float]
    """Command → seconds, the start of Python included."""


def burdened(folder: Path, deliveries: int) -> Burdened:
    """Fill a spool with so many empty payloads that wait for one destination, and look how everything does."""
    say(f"a backlog of {deliveries} deliveries")
    directory = folder / "spool"
    asked = anyio.run(_fill_and_ask, directory, deliveries)
    start, memory, commands = _start(folder, directory)
    return Burdened(deliveries, asked, start, memory, commands)


def _now() -> datetime:
    return datetime.now(UTC)


async def _fill_and_ask(directory: Path, deliveries: int) -> Mapping[str, float]:
    spool = Spool(directory, clock=_now)
    history = SqliteHistory(directory / "history.db", clock=_now, keep=timedelta(days=90), size=1 << 34, report=say)
    queue = SqliteQueue(directory / "queue.db", spool, history, clock=_now)
    desk = SqliteDesk(directory / "queue.db")
    for each in (spool, history, queue, desk):
        each.open()
    try:
        async with anyio.create_task_group() as running:
            await running.start(history.run)
            await running.start(queue.run)
            await queue.standings.configured({"PACS": None}, _now())
            for first in range(0, deliveries, AT_ONCE):
                async with anyio.create_task_group() as accepting:
                    for number in range(first, min(first + AT_ONCE, deliveries)):
                        accepting.start_soon(queue.accept, _arrival(spool, number), [Order("PACS")])
            asked = await _ask(queue, desk, spool, deliveries)
            running.cancel_scope.cancel()
    finally:
        for closing in (desk, queue, history, spool):
            closing.close()
    return asked


async def _ask(queue: SqliteQueue, desk: SqliteDesk, spool: Spool, deliveries: int) -> Mapping[str, float]:
    async def claim() -> None:
        await queue.give_back(await queue.claim("PACS", "benchmark", Wanted(10), _now()))

    async def accept() -> None:
        nonlocal deliveries
        deliveries += 1
        await queue.accept(_arrival(spool, deliveries), [Order("PACS")])

    questions: Mapping[str, Callable[[], Awaitable[object]]] = {
        "claim ten, and give them back": claim,
        "accept one instance, fsync included": accept,
        "how each destination stands (`status`)": desk.tallies,
        "a hundred deliveries (`queue list`)": lambda: desk.entries(
            Query(destination="PACS", state=State.QUEUED), _now()
        ),
        "a hundred studies (`study list`)": lambda: desk.studies(StudyQuery()),
    }
    asked: dict[str, float] = {}
    for name, question in questions.items():
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await question()
            seconds.append(time.perf_counter() - began)
        asked[name] = median(seconds)
    return asked


def _arrival(spool: Spool, number: int) -> Arrival:
    """A sealed payload without a data set, as one of a study."""
    now = _now()
    part = spool.begin(HEAD + b"\0" * 32, len(HEAD))
    digest = part.seal()
    study = f"1.2.826.0.1.3680043.8.498.{number // STUDY:012}"
    return Arrival(
        ulid=part.ulid,
        path=part.path,
        envelope=Envelope("CT1", "ROUTER", "127.0.0.1", 1, "a", now),
        identity=Identity("1.2.840.10008.5.1.4.1.1.2", f"{study}.{number}", "1.2.840.10008.1.2.1"),
        size=part.size,
        header_size=part.size,
        digest=digest,
        study=study,
        series=f"{study}.1",
        accession_number=f"A{number // STUDY}",
        patient_id=f"P{number // STUDY}",
        attributes={},
    )


def _start(folder: Path, directory: Path) -> tuple[float, int, Mapping[str, float]]:
    port = free_port()
    configuration = folder / "router.yaml"
    configuration.write_text(CONFIGURATION.format(port=port, spool=directory, day=ANOTHER_DAY), "utf-8")
    log = folder / "log"
    router = [sys.executable, "-m", "router"]
    began = time.perf_counter()
    with (
        log.open("wb") as lines,
        subprocess.Popen([*router, "run", "--config", configuration], stderr=lines) as program,
    ):
        try:
            wait_until(lambda: b'"started"' in log.read_bytes(), "the router has started", 300)
            start = time.perf_counter() - began
            memory = int(psutil.Process(program.pid).memory_full_info().uss)
            commands = {
                name: _seconds([*router, *name.split(), "--config", str(configuration), "--json"])
                for name in ("status", "queue list --limit 100", "study list")
            }
        finally:
            program.terminate()
    return start, memory, commands


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, check=False)
    if ended.returncode:
        raise BenchmarkError(f"{' '.join(command[2:])} ended with {ended.returncode}: {ended.stderr.decode()}")
    json.loads(ended.stdout)
    return time.perf_counter() - began
