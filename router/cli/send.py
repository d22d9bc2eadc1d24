"""C-STORE of files, by the same code that forwards what the router received."""

import os
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import anyio
import typer

from router.cli.files import Found, find
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath
from router.cli.output import CommandError, say, show, show_json, table
from router.cli.peer import Called, Calling, hint, peer
from router.model.destination import Destination, Strategy
from router.model.outcome import Deferred, Outcome, Refused, Scope, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.dicom.content import Outgoing
    from router.flow.pending import Result
    from router.journal import Event

BATCH = 1000
"""Instances of one attempt."""
NAMES_SHOWN = 10
"""Files that are named with one reason; ``--json`` names all."""


def send(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR…", help="Files, and folders with files.")],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="DESTINATION|HOST:PORT", help="A configured destination, or any address.")
    ],
    called: Called = None,
    calling: Calling = None,
    strategy: Annotated[
        Strategy | None, typer.Option("--strategy", help="Which transfer syntaxes are proposed first.")
    ] = None,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    json: AsJson = False,
) -> None:
    """Send DICOM files to a PACS (C-STORE), with fallback as the router does it.

    Ends with 0 only if all were stored.
    """
    destination = peer(to, called, calling, config)
    destination = replace(destination, transfer_syntax_strategy=strategy or destination.transfer_syntax_strategy)
    found = find(paths)
    if not found.instances and not found.unusable:
        raise CommandError(f"no DICOM object among {found.skipped} files", os.EX_NOINPUT)
    started = time.monotonic()
    results = _send(destination, found.instances)
    seconds = time.monotonic() - started
    address = f"{destination.remote_ae_title} at {destination.remote_host}:{destination.remote_port}"
    if json:
        show_json(_in_full(address, found, results, seconds))
    else:
        _tell(to, called, address, found, results, seconds)
    raise typer.Exit(_code(found, results))


# Sending


def _send(destination: Destination, instances: "Sequence[Outgoing]") -> "list[Result]":
    """The results by the instances' numbers, as far as the destination let us come; a terminal shows a bar."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    results: list[Result] = []
    talk = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        TemporaryDirectory(prefix="dicom-router-") as directory,
        Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress,
    ):
        bar = progress.add_task("", total=sum(instance.size for instance in instances))

        def tell(result: "Result") -> None:
            results.append(result)
            progress.advance(bar, result.instance.size)

        anyio.run(_outcomes, destination, instances, Path(directory), tell)
    return sorted(results, key=lambda result: result.instance.number)


async def _outcomes(
    destination: Destination, instances: "Sequence[Outgoing]", directory: Path, tell: "Callable[[Result], None]"
) -> None:
    from router.dicom.buffers import Buffers
    from router.dicom.transcode.pool import Transcoder
    from router.flow.attempt import Attempt
    from router.journal import Journal

    async with Attempt(
        destination, transcoder=Transcoder(directory), buffers=Buffers(2), journal=Journal(_say_fallback)
    ) as attempt:
        for start in range(0, len(instances), BATCH):
            batch = instances[start : start + BATCH]
            told = 0
            trouble = False
            async with aclosing(attempt.outcomes(batch)) as results:
                async for result in results:
                    tell(result)
                    told += 1
                    trouble = trouble or _is_trouble(result.outcome)
            if trouble or told < len(batch):
                break
        await attempt.release()


def _is_trouble(outcome: Outcome) -> bool:
    """Whether it concerns the destination, not one instance."""
    return isinstance(outcome, Deferred) and outcome.scope is Scope.DESTINATION


def _say_fallback(event: "Event") -> None:
    from router.journal import Fallback

    if isinstance(event, Fallback):
        say(f"{event.event}: {event.error}" if event.error else event.event)


# Telling what became of them


def _tell(  # noqa: PLR0917 -- private, called once
    to: str, called: str | None, address: str, found: Found, results: "Sequence[Result]", seconds: float
) -> None:
    reasons: dict[str, list[Path]] = {}
    hints: dict[str, str] = {}
    for sentence in found.unusable.values():
        say(sentence)
    for result in results:
        if not isinstance(result.outcome, Stored):
            reasons.setdefault(result.outcome.error, []).append(found.names[result.instance.number])
            hints[result.outcome.error] = hint(to, called, result.outcome.cause)
    for sentence, paths in reasons.items():
        say(sentence + hints.get(sentence, ""))
        for path in paths[:NAMES_SHOWN]:
            say(f"    {path}")
        if len(paths) > NAMES_SHOWN:
            say(f"    and {len(paths) - NAMES_SHOWN} others")
    counts = _counts(found, results)
    size = sum(result.instance.size for result in results if isinstance(result.outcome, Stored))
    show(table(["OUTCOME", "FILES"], [[name.replace("_", " "), count] for name, count in counts.items() if count]))
    stored = counts["stored"]
    show(f"{stored} of {len(found.instances)} stored by {address}: {size / 1e6:.1f} MB in {seconds:.1f} s")


def _in_full(address: str, found: Found, results: "Sequence[Result]", seconds: float) -> dict[str, Any]:
    tried = {result.instance.number: result for result in results}
    files: list[dict[str, Any]] = [
        {"file": str(path), "outcome": "unusable", "error": why} for path, why in found.unusable.items()
    ]
    for number, path in enumerate(found.names):
        result = tried.get(number)
        files.append({"file": str(path), **({"outcome": "not_tried"} if result is None else _of_one(result))})
    return {"peer": address, **_counts(found, results), "seconds": round(seconds, 3), "files": files}


def _of_one(result: "Result") -> dict[str, Any]:
    outcome = result.outcome
    failure = {} if isinstance(outcome, Stored) else {"cause": outcome.cause, "error": outcome.error}
    return {
        "outcome": _name(outcome),
        "status": None if outcome.status is None else f"{outcome.status:04X}H",
        **failure,
        "stored_transfer_syntax": result.instance.identity.transfer_syntax,
        "transfer_syntax": result.transfer_syntax,
        "strategy": result.strategy,
        "attempts": result.associations,
    }


def _counts(found: Found, results: "Sequence[Result]") -> dict[str, int]:
    outcomes = Counter(_name(result.outcome) for result in results)
    return {
        "stored": outcomes["stored"],
        "refused": outcomes["refused"],
        "deferred": outcomes["deferred"],
        "not_tried": len(found.instances) - len(results),
        "unusable": len(found.unusable),
        "skipped": found.skipped,
    }


def _name(outcome: Outcome) -> str:
    match outcome:
        case Stored():
            return "stored"
        case Refused():
            return "refused"
        case Deferred():
            return "deferred"
        case _:
            assert_never(outcome)


def _code(found: Found, results: "Sequence[Result]") -> int:
    if len(results) < len(found.instances) or any(_is_trouble(result.outcome) for result in results):
        return os.EX_UNAVAILABLE
    if any(isinstance(result.outcome, Deferred) for result in results):
        return os.EX_TEMPFAIL
    if found.unusable or any(isinstance(result.outcome, Refused) for result in results):
        return os.EX_DATAERR
    return os.EX_OK
