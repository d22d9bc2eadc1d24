"""The configuration, without a daemon."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, configured
from router.cli.output import CommandError, say, show, show_json, table

if TYPE_CHECKING:
    from router.cli.explanation import Explanation
    from router.rules.routing import Target
    from router.settings import Configuration

app = typer.Typer(no_args_is_help=True, help="What is configured.")

LOG_KEY = "log.key"
"""In the spool: what the hashes of UIDs in log lines are made with."""


def check(
    *,
    explain: Annotated[bool, typer.Option("--explain", help="Say in words what the configuration does.")] = False,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    json: AsJson = False,
) -> None:
    """Check the configuration, run its tests, and say what is wrong with it and where; nothing is started."""
    from router.settings import ConfigurationError

    try:
        configuration = configured(config, keywords=True)
    except CommandError as error:
        if json and isinstance(error.__cause__, ConfigurationError):
            show_json({"ok": False, "problems": [asdict(problem) for problem in error.__cause__.problems]})
        else:
            show(str(error))
        raise typer.Exit(error.code) from error
    told = [*_explained(configuration)] if explain else []
    if json:
        show_json({"ok": True, **_summary(configuration), "explanations": [asdict(each) for each in told]})
        return
    for warning in configuration.warnings:
        say(f"{config}  warning  {warning}")
    show(f"{config}: OK")
    if told:
        show("\n".join(map(str, told)))
    else:
        show(table(["", "NAME", ""], [*_rows(configuration)]))


@app.command("show")
def show_values(
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value comes from: file, environment, or default.")
    ] = False,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    json: AsJson = False,
) -> None:
    """Show every value that is in force, the defaults too; secrets are masked."""
    values = configured(config, keywords=True).values
    if json:
        show_json([asdict(each) for each in values])
    elif origin:
        show(table(["KEY", "VALUE", "FROM"], [[each.path, each.value, each.origin] for each in values]))
    else:
        show(table(["KEY", "VALUE"], [[each.path, each.value] for each in values]))


def schema(
    *, markdown: Annotated[bool, typer.Option("--markdown", help="A page of all keys, for people.")] = False
) -> None:
    """Print the JSON schema of the configuration file, for editors."""
    from router.settings import reference
    from router.settings import schema as of_settings

    if markdown:
        show(reference())
    else:
        show_json(of_settings())


def log_id(
    uid: Annotated[str, typer.Argument(metavar="UID", help="SOP Instance UID or Study Instance UID.")],
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
) -> None:
    """Print the hash that stands for a UID in log lines."""
    from router.journal import log_id as hashed

    path = configured(config).spool.directory / LOG_KEY
    try:
        key = path.read_bytes()
    except FileNotFoundError as error:
        sentence = f"{path} does not exist: no daemon has run with this spool, so there is no log to search"
        raise CommandError(sentence, os.EX_NOINPUT) from error
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", os.EX_NOPERM) from error
    show(hashed(uid, key))


def _explained(configuration: "Configuration") -> "Iterator[Explanation]":
    from router.cli.explanation import explanations

    return explanations(configuration)


def _summary(configuration: "Configuration") -> dict[str, Any]:
    return {
        "listeners": [
            {
                "name": each.name,
                "ae_titles": None if each.ae_titles is None else list(each.ae_titles),
                "host": each.host,
                "port": each.port,
            }
            for each in configuration.listeners
        ],
        "destinations": [
            {
                "name": each.name,
                "remote_ae_title": each.remote_ae_title,
                "remote_host": each.remote_host,
                "remote_port": each.remote_port,
                "transfer_syntax_strategy": each.transfer_syntax_strategy,
            }
            for each in configuration.destinations
        ],
        "routes": [
            {
                "name": each.name,
                "to": [_target(target) for target in each.to],
                "stop": each.stop,
                "priority": each.priority.name.lower(),
            }
            for each in configuration.routes
        ],
        "unrouted": configuration.unrouted,
        "tests": configuration.tests,
        "spool": str(configuration.spool.directory),
        "socket": str(configuration.socket),
        "warnings": list(configuration.warnings),
    }


def _target(target: "Target") -> str | dict[str, Any]:
    """As in the file: a name, or several to choose from."""
    if len(target.first_of) == 1:
        return target.first_of[0]
    after = target.failover_after
    return {
        "first_of": list(target.first_of),
        "failover_after_seconds": None if after is None else after.total_seconds(),
    }


def _rows(configuration: "Configuration") -> Iterator[tuple[str, str, object]]:
    for listener in configuration.listeners:
        titles = "any AE title" if listener.ae_titles is None else ", ".join(listener.ae_titles)
        yield "listen", listener.name, titles
    for destination in configuration.destinations:
        address = f"{destination.remote_ae_title} at {destination.remote_host}:{destination.remote_port}"
        yield "destination", destination.name, f"{address}, {destination.transfer_syntax_strategy}"
    for route in configuration.routes:
        yield "route", route.name, f"{', '.join(map(str, route.to))}{'; then ends the search' if route.stop else ''}"
    yield "unrouted", "", configuration.unrouted
    yield "tests", "", f"{configuration.tests} passed"
    yield "spool", "", configuration.spool.directory
    yield "socket", "", configuration.socket
