"""Options that several commands share, and what they lead to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import CommandError

if TYPE_CHECKING:
    from router.settings import Configuration

DEFAULT_CONFIGURATION = Path("/etc/dicom-router/router.yaml")

ConfigurationPath = Annotated[
    Path, typer.Option("--config", "-c", envvar="ROUTER_CONFIG", metavar="PATH", help="Configuration file.")
]
SocketPath = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", help="The daemon's socket; otherwise the configuration says where it is."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def configured(path: Path, *, keywords: bool = False) -> "Configuration":
    """The configuration at ``path``, or a ``CommandError`` that tells every problem.

    Args:
        path: of the file.
        keywords: whether the DICOM keywords of routes are checked too; it takes loading the data dictionary.
    """
    from router.settings import ConfigurationError, load

    known = None
    if keywords:
        from router.dicom.survey import known_keywords

        known = known_keywords()
    try:
        return load(path, environment=os.environ, known_keywords=known)
    except ConfigurationError as error:
        raise CommandError(str(error), os.EX_CONFIG) from error
