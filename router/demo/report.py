"""The end of the demonstration, for people and for programs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from router.demo.comparison import Likeness
from router.demo.verdict import Reason, Verdict
from router.model.delivery import State

ERRORS_SHOWN = 2
WIDTH = 120
"""Columns when the output is not a terminal."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found."""

    sent: int
    accepted: int
    refused: Mapping[str, Sequence[str]]
    """The router's reason → files."""
    seconds_to_accept: float
    seconds: float
    destinations: Sequence[Verdict]
    problems: Sequence[str]
    """What must not be, beside the destinations' own."""
    folder: Path | None
    """Where everything lies; None: it is removed."""

    @property
    def all_problems(self) -> list[str]:
        """What must not be, whoever it concerns; empty: all is well."""
        return [*self.problems, *(f"{each.name}: {line}" for each in self.destinations for line in each.problems)]


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as plain values."""
    return {
        "complete": not report.all_problems,
        "problems": report.all_problems,
        "seconds": round(report.seconds, 2),
        "modality": {
            "sent": report.sent,
            "accepted": report.accepted,
            "refused": [
                {"count": len(names), "error": error, "files": list(names)} for error, names in report.refused.items()
            ],
            "seconds": round(report.seconds_to_accept, 3),
            "objects_per_second": _rate(report.accepted, report.seconds_to_accept),
        },
        "destinations": [_destination(each) for each in report.destinations],
        "folder": None if report.folder is None else str(report.folder),
    }


def _destination(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "character": verdict.character,
        "owed": verdict.owed,
        "deliverable": verdict.deliverable,
        "delivered": verdict.delivered,
        "converted": verdict.converted,
        "compared": {each.value: count for each, count in verdict.likeness.items()},
        "strategies": dict(verdict.strategies),
        "fallbacks": dict(verdict.fallbacks),
        "attempts": verdict.attempts,
        "answers": dict(verdict.answers),
        "troubles": verdict.troubles,
        "outcome": _outcome(verdict),
        "seconds": round(verdict.seconds, 3),
        "bytes": verdict.bytes,
        "objects_per_second": _rate(verdict.delivered, verdict.seconds),
        "megabytes_per_second": _rate(verdict.bytes / 1e6, verdict.seconds),
        "not_delivered": [
            {
                "count": reason.count,
                "cause": reason.cause,
                "can_have": reason.can_have,
                "state": reason.state.value,
                "next_attempt_at": _instant(reason.next_attempt_at),
                "stored_transfer_syntaxes": dict(reason.stored),
                "errors": dict(reason.errors),
            }
            for reason in verdict.reasons
        ],
    }


def show(report: Report) -> None:
    """The report for people, on standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(_table(report))
    console.print(
        "Objects and megabytes per second from a PACS's first association to its last object, pauses included."
    )
    console.print()
    for error, names in report.refused.items():
        console.print(f"The router refused {len(names)}, and told the modality: {error}.", style="bold", markup=False)
        console.print(f"  {', '.join(names)}", markup=False)
    for names, reason in _reasons(report.destinations):
        _explain(console, names, reason)
    console.print()
    if report.all_problems:
        console.print("Not as it should be:", style="bold red")
        for problem in report.all_problems:
            console.print(f"  {problem}", markup=False)
    else:
        console.print("Every object that can be delivered was.", style="bold green")
        likeness: Counter[Likeness] = Counter()
        for verdict in report.destinations:
            likeness.update(verdict.likeness)
        found = ", ".join(f"{likeness[each]} {each}" for each in Likeness if likeness[each])
        console.print(f"What the PACS have, compared with what the modality sent: {found}.")
        if likeness[Likeness.UNKNOWN]:
            console.print("Not compared: decompressed from lossy, or from what pydicom has no decoder for here.")
    console.print(f"{report.seconds:.0f} seconds in all.")
    console.print()
    _what_next(console, report.folder)


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("DESTINATION", "DELIVERED", "CONVERTED"):
        table.add_column(title, justify="left" if title == "DESTINATION" else "right", no_wrap=True)
    table.add_column("STRATEGY")
    table.add_column("ATTEMPTS", justify="right", no_wrap=True)
    table.add_column("OUTCOME")
    for title in ("OBJECTS/S", "MB/S"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in report.destinations:
        table.add_row(
            each.name,
            f"{each.delivered} of {each.owed}",
            str(each.converted),
            ", ".join(
                f"{name} {count}" if len(each.strategies) > 1 else name for name, count in each.strategies.items()
            ),
            str(each.attempts),
            f"[red]{_outcome(each)}[/]" if each.problems else _outcome(each),
            f"{_rate(each.delivered, each.seconds):.0f}",
            f"{_rate(each.bytes / 1e6, each.seconds):.1f}",
        )
    return table


def _outcome(verdict: Verdict) -> str:
    missing = verdict.owed - verdict.delivered
    if not missing:
        parts = ["all delivered"]
    elif verdict.delivered == verdict.deliverable:
        parts = [f"all that it can take; {missing} not"]
    else:
        parts = [f"{missing} not delivered"]
    parts += [f"{status} {count} times" for status, count in verdict.answers.items() if status != "0000H"]
    if verdict.troubles:
        parts.append(f"backed off {verdict.troubles} times")
    return "; ".join(parts)


def _reasons(verdicts: Sequence[Verdict]) -> list[tuple[list[str], Reason]]:
    """Each reason once, with the names of all destinations that it holds for."""
    found: list[tuple[list[str], Reason]] = []
    for verdict in verdicts:
        for reason in verdict.reasons:
            names = next((names for names, known in found if known == reason), None)
            if names is None:
                found.append(([verdict.name], reason))
            else:
                names.append(verdict.name)
    return found


def _explain(console: Console, names: Sequence[str], reason: Reason) -> None:
    """Why so many were not delivered."""
    *others, last = names
    who = (
        f"{', '.join(others)} and {last} lack {reason.count} each" if others else f"{last} does not have {reason.count}"
    )
    match reason.state:
        case State.DEAD:
            now = "They are dead letters: kept, and tried again only if an operator says so."
        case State.HELD:
            now = "They are held for an operator."
        case _ if reason.next_attempt_at is not None:
            now = f"They are kept, and would be tried again at {reason.next_attempt_at:%H:%M:%S} UTC."
        case _:
            now = "They are kept, and would be tried again."
    console.print(f"{who}: {reason.cause}.", style="bold", markup=False)
    stored: Counter[str] = Counter()
    for syntax, count in reason.stored.items():
        stored[syntax.split(" (")[0].split(",")[0]] += count
    console.print("  Stored as " + ", ".join(f"{syntax} ({count})" for syntax, count in stored.most_common()) + ".")
    if not reason.can_have:
        console.print(f"  {last} takes none of these, and no lossless conversion leads to what it takes.")
    console.print(f"  {now}")
    for error, count in [*reason.errors.items()][:ERRORS_SHOWN]:
        console.print(f"  The router says about {count}: {error}", markup=False)
    if (more := len(reason.errors) - ERRORS_SHOWN) > 0:
        alike = "one more sentence" if more == 1 else f"{more} more sentences"
        console.print(f"  and {alike} of this kind about the others; --json has them all.")


def _what_next(console: Console, folder: Path | None) -> None:
    lines = (
        [
            "Next: `dicom-router demo --stay` keeps the router running and names its page, which shows all of this;",
            "`dicom-router demo --keep` leaves the configuration, the spool, and what the PACS received;",
            "`dicom-router echo HOST:PORT --aet TITLE` asks a PACS of yours whether it listens.",
        ]
        if folder is None
        else [
            f"Kept in {folder}. Next: `dicom-router run --config {folder}/router.yaml` goes on with what is left, and",
            f"`dicom-router queue list --state queued --config {folder}/router.yaml`, in another terminal, shows it.",
        ]
    )
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _rate(amount: float, seconds: float) -> float:
    return round(amount / seconds, 1) if seconds else 0.0


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")
