"""The commands. Results go to stdout, talk to stderr; exit codes are those of sysexits(3).

What a command needs is imported when it runs, so that help is there at once.
"""

import os
import sys
from typing import Annotated

import typer

from router import __version__
from router.cli import (
    configuration,
    conformance,
    daemon,
    destination,
    echo,
    explain,
    init,
    probe,
    queue,
    route,
    send,
    spool,
    study,
)
from router.cli.output import CommandError, say

USAGE_ERROR = 2
"""What typer ends with when a command line cannot be understood; none of our commands does."""

app = typer.Typer(
    name="dicom-router",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(daemon.run)
app.command()(configuration.check)
app.add_typer(configuration.app, name="config")
app.command()(configuration.schema)
app.command()(conformance.conformance)
app.command()(init.init)
app.command()(daemon.demo)
app.command()(send.send)
app.command()(echo.echo)
app.command()(probe.probe)
app.command()(route.route)
app.add_typer(queue.app, name="queue")
app.add_typer(study.app, name="study")
app.add_typer(destination.app, name="destination")
app.command()(explain.explain)
app.add_typer(spool.app, name="spool")
app.command()(daemon.status)
app.command()(daemon.health)
app.command()(daemon.reload)
app.command()(configuration.log_id)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the value
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _every_command(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Store-and-forward router for DICOM objects."""
    del version  # its callback has ended the program


def main() -> None:
    """Run one command; the console script's entry."""
    try:
        app()
    except SystemExit as end:
        sys.exit(os.EX_USAGE if end.code == USAGE_ERROR else end.code)
    except CommandError as error:
        say(str(error))
        sys.exit(error.code)
