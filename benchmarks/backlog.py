"""After days of outage: what many waiting deliveries cost the queue, and how long the program's start takes."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path, PurePath
from statistics import median
from typing import Self, TypeVar

import anyio

from benchmarks.figures import MIB, Goal, Measured, Table, below, say
from benchmarks.growth import curve, goal
from benchmarks.peers import BenchmarkError, Server, free_port
from benchmarks.program import ANOTHER_DAY
from benchmarks.scale import Scale
from router.durable.queue import Query, StudyQuery
from router.durable.spool import Spool
from router.durable.sqlite import SqliteDesk, SqliteQueue
from router.durable.sqlite_history import SqliteHistory
from router.model.delivery import Claim, Order, Settlement, State, Wanted
from router.model.instance import Arrival, Envelope, Identity
from router.model.ulid import ulid

T = TypeVar("T")

HEAD = b"\0" * 128
ROUNDS = 15
COSTS = 5
TOGETHER = 200
"""Deliveries whose cost is taken together: a CPU clock has ticks."""
STUDY = 200
HOUR = 20_000
"""Payloads in one folder."""

SUBJECT = "backlog of waiting deliveries"

_CONFIGURATION = """\
listen: {{port: {port}, host: 127.0.0.1, allow_any: true}}
spool: {{directory: {spool}, reserve: 1MiB}}
destinations:
  - {{name: PACS, remote_ae_title: PACS, remote_host: 127.0.0.1, remote_port: 9, only: "{day} 03:00-03:01"}}
http: {{enabled: false}}
"""


def measure(scale: Scale, memory: Path, disk: Path) -> Measured:
    """Fill a spool with empty payloads that wait for one destination, and look how everything does on the way.

    The payloads are on tmpfs and the queue on the disk; then the program starts on both, on tmpfs.
    """
    measured = Measured()
    directory = memory / "spool"
    asked = {}
    with Filled(directory, disk) as filled:
        for deliveries in scale.backlog:
            filled.fill(deliveries)
            asked[deliveries] = filled.asked()
            say(f"a backlog of {deliveries:,} deliveries")
    measured.tables.append(_table(asked))
    by_backlog = [(deliveries, answers[COST]) for deliveries, answers in asked.items()]
    measured.tables.append(curve("Backlog, CPU of the queue per MR image accepted, claimed and settled", by_backlog))
    measured.goals += goals(scale.backlog[-1], asked[scale.backlog[-1]])
    shutil.copy(disk / "queue.db", directory / "queue.db")
    start, anonymous, commands = _start(memory, directory)
    what = f"{scale.backlog[-1]:,} deliveries: the program's start, to its open port"
    measured.goals += [below(SUBJECT, what, start, 60, "s"), goal("backlog, in the queue", by_backlog)]
    rows = [(f"`dicom-router {command}`, the start of Python included", f"{took:.2f} s") for command, took in commands]
    rows.append(("RssAnon of the program after its start", f"{anonymous / MIB:.0f} MiB"))
    measured.tables.append(Table(f"With {scale.backlog[-1]:,} deliveries waiting", ("", ""), rows))
    return measured


CLAIM = "claim of ten"
ACCEPT = "commit of one accepted instance, fsync included"
COST = "CPU per instance"


def goals(deliveries: int, answers: Mapping[str, float]) -> Iterator[Goal]:
    """Of the queue alone, in milliseconds."""
    yield below(SUBJECT, f"{deliveries:,} deliveries: {CLAIM}, median", answers[CLAIM], 1, "ms")
    yield below(SUBJECT, f"{deliveries:,} deliveries: {ACCEPT}, median", answers[ACCEPT], 2, "ms")


def _table(asked: Mapping[int, Mapping[str, float]]) -> Table:
    questions = [question for question in next(iter(asked.values())) if question != COST]
    rows = [(question, *[f"{answers[question]:.2f}" for answers in asked.values()]) for question in questions]
    return Table(
        "The queue, by how many deliveries wait; milliseconds, medians", ("", *[f"{n:,}" for n in asked]), rows
    )


def _now() -> datetime:
    return datetime.now(UTC)


class Filled:
    """A queue on the disk, beside a spool."""

    def __init__(self, directory: Path, disk: Path, together: int = TOGETHER) -> None:
        """A spool in ``directory``, a queue on the ``disk``; ``together`` deliveries are looked at for their cost."""
        self._together = together
        self._spool = Spool(directory, clock=_now)
        self._path = disk / "queue.db"
        self._filled = 0
        self._numbers = count()
        self._arrivals: list[Arrival] = []

    def __enter__(self) -> Self:
        self._spool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def fill(self, deliveries: int) -> None:
        """Up to so many. One is accepted; the others are rows and links like its own, written all at once."""
        self._arrived(1)
        self._run(self._accept_one)
        self._filled = self._filled or 1
        numbers = range(self._filled, deliveries)
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("PRAGMA synchronous=OFF")
            [payload] = connection.execute("SELECT path FROM instance ORDER BY id DESC").fetchone()
            at = connection.execute("SELECT max(id) FROM instance").fetchone()[0] + 1 - numbers.start
            _copy(connection, "series", ({"id": at + n, "study": f"S{n}"} for n in numbers[::STUDY]))
            study = {n: at + numbers[(n - numbers.start) // STUDY * STUDY] for n in numbers}
            links = self._links(payload, numbers)
            _copy(
                connection,
                "instance",
                (
                    {"id": at + n, "ulid": name, "path": path, "sop_instance": f"2.25.{n}", "series": study[n]}
                    for n, name, path in links
                ),
            )
            _copy(connection, "delivery", ({"id": None, "instance": at + n} for n in numbers))
        self._filled = deliveries

    def _links(self, payload: str, numbers: Sequence[int]) -> Iterator[tuple[int, str, str]]:
        source = self._spool.absolute(PurePath(payload))
        writer = source.parent.parent
        for number in numbers:
            hour = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number // HOUR)
            name = ulid(hour)
            folder = writer / hour.strftime("%Y%m%d%H")
            folder.mkdir(exist_ok=True)
            os.link(source, folder / f"{name}.dcm")
            yield number, name, f"objects/{writer.name}/{folder.name}/{name}.dcm"

    async def _accept_one(self, queue: SqliteQueue, _: SqliteDesk) -> None:
        await queue.standings.configured({"PACS": None}, _now())
        await queue.accept(self._arrivals.pop(), [Order("PACS")])

    def asked(self) -> Mapping[str, float]:
        """Milliseconds in the median, of each question; and the CPU of one instance's way through the queue."""
        self._arrived(ROUNDS + COSTS * self._together)
        return self._run(self._ask)

    async def _ask(self, queue: SqliteQueue, desk: SqliteDesk) -> Mapping[str, float]:
        async def claim() -> None:
            claims.append(await queue.claim("PACS", "benchmark", Wanted(10), _now()))

        async def accept() -> None:
            await queue.accept(self._arrivals.pop(), [Order("PACS")])

        claims: list[Claim] = []
        listing = Query(destination="PACS", state=State.QUEUED)
        questions: Mapping[str, Callable[[], Awaitable[object]]] = {
            CLAIM: claim,
            ACCEPT: accept,
            "how each destination stands (`status`)": desk.tallies,
            "a hundred deliveries (`queue list`)": lambda: desk.entries(listing, _now()),
            "a hundred studies (`study list`)": lambda: desk.studies(StudyQuery()),
        }
        answers = {question: await _median(ask) for question, ask in questions.items()}
        for claimed in claims:
            await queue.give_back(claimed)
        costs = sorted([await self._cost(queue) for _ in range(COSTS)])
        return answers | {COST: costs[len(costs) // 2]}

    async def _cost(self, queue: SqliteQueue) -> float:
        """CPU milliseconds of one instance that is accepted, claimed and settled, its payload aside."""
        began = time.process_time()
        for _ in range(self._together):
            await queue.accept(self._arrivals.pop(), [Order("PACS")])
        for _ in range(0, self._together, 10):
            claimed = await queue.claim("PACS", "benchmark", Wanted(10), _now())
            done = [Settlement(delivery.id, State.DELIVERED) for delivery in claimed.deliveries]
            await queue.settle(claimed, done, _now())
        return 1000 * (time.process_time() - began) / self._together

    def _run(self, function: Callable[[SqliteQueue, SqliteDesk], Awaitable[T]]) -> T:
        """With an open queue."""
        history_path = self._path.with_name("history.db")
        history = SqliteHistory(history_path, clock=_now, keep=timedelta(days=90), size=1 << 34, report=say)
        queue, desk = SqliteQueue(self._path, self._spool, history, clock=_now), SqliteDesk(self._path)

        async def run() -> T:
            async with anyio.create_task_group() as running:
                await running.start(history.run)
                await running.start(queue.run)
                result = await function(queue, desk)
                running.cancel_scope.cancel()
            return result

        with ExitStack() as opened:
            for each in (history, queue, desk):
                each.open()
                opened.callback(each.close)
            return anyio.run(run)

    def _arrived(self, number: int) -> None:
        """So many wait to be accepted."""
        self._arrivals = [self._arrival() for _ in range(number)]

    def _arrival(self) -> Arrival:
        """A sealed payload without a data set."""
        number = next(self._numbers)
        part = self._spool.begin(HEAD + b"\0" * 32, len(HEAD))
        digest = part.seal()
        return Arrival(
            ulid=part.ulid,
            path=part.path,
            envelope=Envelope("CT1", "ROUTER", "127.0.0.1", 1, "a", _now()),
            identity=Identity("1.2.840.10008.5.1.4.1.1.4", f"2.25.1.{number}", "1.2.840.10008.1.2.1"),
            size=part.size,
            header_size=part.size,
            digest=digest,
            study="2.25.2",
            series="2.25.3",
            accession_number="A1",
            patient_id="P1",
            attributes={},
        )


def _copy(connection: sqlite3.Connection, table: str, changes: Iterable[Mapping[str, object]]) -> None:
    """Rows like the newest one of a table, but for these columns."""
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY id DESC LIMIT 1")
    names = [column[0] for column in cursor.description]
    template = dict(zip(names, cursor.fetchone(), strict=True))
    values = ", ".join(f":{name}" for name in names)
    connection.executemany(f"INSERT INTO {table} VALUES ({values})", ({**template, **change} for change in changes))


async def _median(ask: Callable[[], Awaitable[object]]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds)


def _start(folder: Path, directory: Path) -> tuple[float, int, Sequence[tuple[str, float]]]:
    """Seconds to the open port, RssAnon then, and seconds of each command."""
    port = free_port()
    configuration = folder / "router.yaml"
    configuration.write_text(_CONFIGURATION.format(port=port, spool=directory, day=ANOTHER_DAY), "utf-8")
    router = [sys.executable, "-m", "router"]
    began = time.perf_counter()
    with Server([*router, "run", "--config", str(configuration)], port, folder=None, patience=300) as program:
        start = time.perf_counter() - began
        anonymous = program.memory().anonymous
        commands = [
            (name, _seconds([*router, *name.split(), "--config", str(configuration), "--json"]))
            for name in ("status", "queue list --limit 100", "study list")
        ]
    return start, anonymous, commands


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, check=False)
    if ended.returncode:
        raise BenchmarkError(f"{' '.join(command[2:])} ended with {ended.returncode}: {ended.stderr.decode()}")
    json.loads(ended.stdout)
    return time.perf_counter() - began
