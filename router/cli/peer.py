"""Who a command talks DICOM with: a destination of the configuration, or ``HOST:PORT``."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from router.cli.options import configured
from router.cli.output import CommandError
from router.model.destination import Destination
from router.model.outcome import Cause

CALLED = "ANY-SCP"
CALLING = "ROUTER"
HIGHEST_PORT = 65535
AE_TITLE_LENGTH = 16

Called = Annotated[
    str | None, typer.Option("--aet", metavar="AE_TITLE", help=f"Called AE title; for HOST:PORT otherwise {CALLED}.")
]
Calling = Annotated[
    str | None, typer.Option("--calling", metavar="AE_TITLE", help=f"Calling AE title; otherwise {CALLING}.")
]


def peer(text: str, called: str | None, calling: str | None, configuration: Path) -> Destination:
    """The destination that ``text`` means: a configured one has no colon in its name.

    Raises:
        CommandError: there is none, or an AE title or a port is impossible.
    """
    for title in (called, calling):
        _check_ae_title(title)
    if ":" not in text:
        found = _by_name(text, configuration)
        return replace(
            found,
            remote_ae_title=called or found.remote_ae_title,
            local_ae_title=calling or found.local_ae_title or CALLING,
        )
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 1 <= int(port) <= HIGHEST_PORT:
        sentence = f"{text!r} is neither HOST:PORT with a port from 1 to {HIGHEST_PORT} nor a destination's name"
        raise CommandError(sentence, os.EX_USAGE)
    return Destination(text, called or CALLED, host, int(port), calling or CALLING)


def hint(text: str, called: str | None, cause: Cause) -> str:
    """What may help, where an association failed because of what was left out; empty: nothing was."""
    if ":" in text and called is None and cause is Cause.AE_TITLE_UNKNOWN:
        return f"; without --aet it is called {CALLED}: give the AE title that it goes by"
    return ""


def _by_name(name: str, configuration: Path) -> Destination:
    if not configuration.exists():
        sentence = f"there is no configuration {configuration} that could know {name!r}: name one with --config, or say"
        raise CommandError(f"{sentence} HOST:PORT in place of the name, with --aet for its AE title", os.EX_CONFIG)
    destinations = {each.name: each for each in configured(configuration).destinations}
    if name not in destinations:
        known = ", ".join(destinations)
        raise CommandError(f"{configuration} has no destination {name!r}, only {known}", os.EX_USAGE)
    return destinations[name]


def _check_ae_title(title: str | None) -> None:
    """PS3.5 6.2, VR AE."""
    if title is None:
        return
    fits = len(title.strip()) > 0 and len(title) <= AE_TITLE_LENGTH
    if not fits or not (title.isascii() and title.isprintable()) or "\\" in title:
        sentence = f"{title!r} is not an AE title: 1 to {AE_TITLE_LENGTH} ASCII characters, no backslash"
        raise CommandError(sentence, os.EX_USAGE)
