"""Which deliveries a command is for: the filters that all commands of the queue share, and the daemon that is asked."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from router.cli.client import Client
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import CommandError
from router.model.delivery import State
from router.model.outcome import Cause

PAGE = 1000
"""Deliveries that are asked for at once."""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Each field is an option of every command that is ``chosen``."""

    destination: Annotated[
        str | None, typer.Option("--destination", metavar="NAME", help="Owed to this one; '' for no route.")
    ] = None
    state: Annotated[State | None, typer.Option("--state", help="In this state.")] = None
    status: Annotated[
        str | None, typer.Option("--status", metavar="HEX", help="Answered so by the destination, such as C000.")
    ] = None
    cause: Annotated[Cause | None, typer.Option("--cause", help="Not delivered because of this.", metavar="CAUSE")] = (
        None
    )
    study: Annotated[str | None, typer.Option("--study", metavar="UID", help="Of this Study Instance UID.")] = None
    instance: Annotated[str | None, typer.Option("--instance", metavar="UID", help="Of this SOP Instance UID.")] = None
    calling_ae_title: Annotated[
        str | None, typer.Option("--from", metavar="AE_TITLE", help="Received from this calling AE title.")
    ] = None
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="DURATION", help="Received longer ago, such as 30m or 7d.")
    ] = None
    config: ConfigurationPath = DEFAULT_CONFIGURATION
    socket: SocketPath = None
    json: AsJson = False

    @property
    def filters(self) -> dict[str, str | float]:
        """Those that were given, as the API names them."""
        found: Mapping[str, str | float | None] = {
            "destination": self.destination,
            "state": self.state,
            "status": self.status,
            "cause": self.cause,
            "study": self.study,
            "instance": self.instance,
            "calling_ae_title": self.calling_ae_title,
            "older_than": None if self.older_than is None else _seconds(self.older_than),
        }
        return {name: value for name, value in found.items() if value is not None}

    def body(self, deliveries: Sequence[int] | None, limit: int) -> dict[str, object]:
        """Of an order: for deliveries by number, or for what the filters match.

        Raises:
            CommandError: neither was given, or both: a slip must not change everything.
        """
        filters = self.filters
        if bool(deliveries) == bool(filters):
            raise CommandError("name deliveries by their numbers, or filter them: one of the two", os.EX_USAGE)
        return {"deliveries": deliveries} if deliveries else {**filters, "limit": limit}

    def client(self) -> Client:
        """Of the daemon."""
        return Client(self.socket, self.config)

    def matching(self, client: Client) -> Iterator[Mapping[str, Any]]:
        """Everything that the filters match, page by page."""
        after, more = 0, True
        while more:
            page = client.get("/api/queue", **self.filters, after=after, limit=PAGE)
            yield from page["deliveries"]
            more = page["more"]
            after = page["deliveries"][-1]["delivery"] if more else after


def chosen(command: Callable[Concatenate[Choice, P], None]) -> Callable[P, None]:
    """``command`` with the options of a ``Choice`` in place of its first parameter."""
    names = [field.name for field in fields(Choice)]
    hints = get_type_hints(Choice, include_extras=True)
    own = [*inspect.signature(command).parameters.values()][1:]
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(Choice)
    ]

    @wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        given: dict[str, Any] = {name: options.pop(name) for name in names}
        command(Choice(**given), *args, **options)

    del run.__wrapped__
    parameters = [*own, *options]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for first
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _seconds(age: str) -> float:
    from router.settings.units import duration

    try:
        return duration(age).total_seconds()
    except ValueError as error:
        raise CommandError(f"--older-than: {error}", os.EX_USAGE) from error
