"""The spool on the disk: looked at beside a running daemon, and its queue made again without one."""

import os
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, configured
from router.cli.output import CommandError, say, show, show_json, table

if TYPE_CHECKING:
    from router.flow.inspection import Inspection
    from router.journal import Event

app = typer.Typer(no_args_is_help=True, help="Look after what is on the disk.")

SETTLED_AFTER = 2.0
"""Seconds in which a running daemon has brought payload and row together."""


@app.command()
def check(*, config: ConfigurationPath = DEFAULT_CONFIGURATION, json: AsJson = False) -> None:
    """Read every payload and compare it with its digest and the queue; changes nothing. Exit code 1: flaws were found.

    A daemon may be at work on the spool.
    """
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn

    from router.durable.census import Census
    from router.durable.spool import Spool
    from router.flow.inspection import Inspector

    directory = configured(config).spool.directory
    talk = Console(stderr=True)
    columns = (TextColumn("read"), DownloadColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        inspector = Inspector(
            Spool(directory, clock=lambda: datetime.now(UTC)),
            Census(directory / "queue.db"),
            pause=lambda: time.sleep(SETTLED_AFTER),
            seen=lambda size: progress.advance(bar, size),
        )
        try:
            inspection = inspector.inspect()
        except OSError as error:
            sentence = f"the spool {directory} cannot be read: {error.strerror}: {error.filename}"
            raise CommandError(sentence, os.EX_NOINPUT) from error
    if json:
        show_json(asdict(inspection))
    else:
        _show(inspection)
    raise typer.Exit(1 if inspection.findings else 0)


@app.command()
def rebuild(*, config: ConfigurationPath = DEFAULT_CONFIGURATION, json: AsJson = False) -> None:
    """Make the queue again from the payloads, less what the history says; the old one is kept under another name.

    A daemon does so by itself when its queue is lost. None may be at work on the spool now.
    """
    from router import daemon
    from router.journal import QueueRebuilt

    counted: Counter[str] = Counter({"adopted": 0})

    def count(event: "Event") -> None:
        if isinstance(event, QueueRebuilt):
            counted.update(event.outcome)

    if code := daemon.rebuild(config, os.environ, count):
        raise typer.Exit(code)
    if json:
        show_json(counted)
    else:
        show(table(("INSTANCES AND DELIVERIES", "NUMBER"), [*counted.items()]))


def _show(inspection: "Inspection") -> None:
    if inspection.findings:
        rows = [(finding.flaw.value, finding.path, finding.error) for finding in inspection.findings]
        show(table(("FLAW", "PATH", "ERROR"), rows))
    say(f"{inspection.payloads} payloads, {inspection.size} bytes, {len(inspection.findings)} flaws")
