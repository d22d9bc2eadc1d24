"""What operators ask about what happened, of a million deliveries, on the connection that only reads."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import anyio

from benchmarks.figures import MIB, Measured, Table, below, say
from benchmarks.scale import Scale
from router.durable.history import Happened, Happening, Search
from router.durable.sqlite_history import SqliteHistory
from router.model.outcome import Cause
from router.model.ulid import ulid

NOON = datetime(2031, 5, 7, 12, 0, tzinfo=UTC)
DESTINATIONS = ("ARCHIVE", "RESEARCH", "WORKSTATION")
STUDY = 600
"""Deliveries of one: 200 instances to each destination."""
AT_ONCE = 1000
ROUNDS = 9


SUBJECT = "history"


def measure(scale: Scale, _: Path, disk: Path) -> Measured:
    """Fill a history with so many deliveries, in order, and ask it each question several times."""
    path = disk / "history.db"
    deliveries = scale.history
    history = SqliteHistory(
        path, clock=lambda: NOON + timedelta(days=1), keep=timedelta(days=90), size=1 << 34, report=say
    )
    history.open()
    try:
        began = time.perf_counter()
        for first in range(0, deliveries, AT_ONCE):
            history.promise([_happening(number) for number in range(first, first + AT_ONCE)])
        written = deliveries / (time.perf_counter() - began)
        say(f"a history of {deliveries:,} deliveries")
        answers = anyio.run(_ask, history, deliveries)
    finally:
        history.close()
    what = f"{deliveries:,} deliveries"
    rows = [
        (f"{what} on the disk", f"{path.stat().st_size / MIB:.0f} MiB"),
        ("happenings written, a thousand in a FULL commit", f"{written:,.0f}/s"),
    ]
    return Measured(
        goals=[below(SUBJECT, f"{what}: {question}", 1000 * took, 100, "ms") for question, took in answers.items()],
        tables=[Table("History", ("", ""), rows)],
    )


async def _ask(history: SqliteHistory, deliveries: int) -> Mapping[str, float]:
    middle = _happening(deliveries // 2)
    questions = {
        "what went to one destination for one study": Search(
            destination=DESTINATIONS[0], study=middle.study, what=Happened.DELIVERED, limit=1000
        ),
        "all of one study, by its accession number": Search(accession_number=middle.accession_number, limit=1000),
        "the dead letters of one destination in an hour": Search(
            destination=DESTINATIONS[1], what=Happened.DEAD, since=middle.at - timedelta(hours=1), until=middle.at
        ),
        "the latest of one destination": Search(destination=DESTINATIONS[2]),
    }
    answers: dict[str, float] = {}
    for name, search in questions.items():
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = await history.search(search)
            seconds.append(time.perf_counter() - began)
            assert found, name
        answers[name] = median(seconds)
    seconds = []
    for instance in _spread(deliveries):
        began = time.perf_counter()
        assert await history.story(instance)
        seconds.append(time.perf_counter() - began)
    answers["the story of one instance"] = median(seconds)
    return answers


def _spread(deliveries: int) -> Iterator[str]:
    return (_happening(deliveries * each // ROUNDS).sop_instance for each in range(ROUNDS))


def _happening(number: int) -> Happening:
    """One of a hospital's day: three destinations get each instance, one in a hundred attempts fails."""
    instance, destination = divmod(number, len(DESTINATIONS))
    study = f"1.2.826.0.1.3680043.8.498.{number // STUDY * 7919:032}"
    at = NOON + timedelta(milliseconds=50 * number)
    what, cause, error = Happened.DELIVERED, None, ""
    if number % 100 == 1:
        what, cause = Happened.DEAD if number % 1000 == 1 else Happened.DEFERRED, Cause.REFUSED
        error = "The peer refused the instance (C000H)"
    return Happening(
        at=at,
        what=what,
        ulid=ulid(at, lambda _: instance),
        delivery=number + 1,
        destination=DESTINATIONS[destination],
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        sop_instance=f"{study}.{instance}",
        study=study,
        accession_number=f"A{number // STUDY:07}",
        calling_ae_title="CT1",
        size=526_000,
        stored_transfer_syntax="1.2.840.10008.1.2.1",
        transfer_syntax="1.2.840.10008.1.2.1",
        strategy="conservative",
        associations=1,
        status=0xC000 if error else 0,
        cause=cause,
        error=error,
    )
