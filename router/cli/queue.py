"""The queue of the running daemon."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from router.cli.client import Client
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import CommandError, say, show, show_json, table
from router.model.delivery import State
from router.model.outcome import Cause

app = typer.Typer(no_args_is_help=True, help="Ask about what is owed to whom, and have it sent again.")

Destination = Annotated[str | None, typer.Option("--destination", metavar="NAME", help="Owed to this one.")]
InState = Annotated[State | None, typer.Option("--state", help="In this state.")]
WithCause = Annotated[Cause | None, typer.Option("--cause", help="Not delivered because of this.", metavar="CAUSE")]
From = Annotated[str | None, typer.Option("--from", metavar="AE_TITLE", help="Received from this calling AE title.")]
OlderThan = Annotated[
    str | None, typer.Option("--older-than", metavar="DURATION", help="Received longer ago, such as 30m or 7d.")
]


@app.command("list")
def list_deliveries(
    *,
    destination: Destination = None,
    state: InState = None,
    cause: WithCause = None,
    calling_ae_title: From = None,
    older_than: OlderThan = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The oldest so many.")] = 100,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """List deliveries, oldest first."""
    filters = _filters(destination, state, cause, calling_ae_title, older_than)
    answer = Client(socket, config).get("/api/queue", **filters, limit=limit)
    if json:
        show_json(answer)
        return
    titles = ("DELIVERY", "DESTINATION", "STATE", "CAUSE", "ATTEMPTS", "NEXT ATTEMPT", "RECEIVED", "FROM", "BYTES")
    show(table(titles, [_row(each) for each in answer["deliveries"]]))
    if answer["more"]:
        say(f"there are more than these {limit}: narrow the search, or raise --limit")


@app.command("show")
def show_delivery(
    delivery: Annotated[int, typer.Argument(metavar="DELIVERY", help="Its number in the list.")],
    *,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Show everything that is known of one delivery. The peer's own comment may carry patient data."""
    answer = Client(socket, config).get(f"/api/queue/{delivery}")
    if json:
        show_json(answer)
    else:
        show(table(("FIELD", "VALUE"), [*answer.items()]))


@app.command()
def retry(
    deliveries: Annotated[
        list[int] | None, typer.Argument(metavar="DELIVERY…", help="Their numbers in the list.")
    ] = None,
    *,
    destination: Destination = None,
    state: InState = None,
    cause: WithCause = None,
    calling_ae_title: From = None,
    older_than: OlderThan = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 1000,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Have deliveries tried again now: those named, or those that match; dead, held or waiting."""
    filters = _filters(destination, state, cause, calling_ae_title, older_than)
    body: dict[str, object] = {name: value for name, value in filters.items() if value is not None}
    if bool(deliveries) == bool(body):
        raise CommandError("name deliveries by their numbers, or filter them: one of the two", os.EX_USAGE)
    body |= {"deliveries": deliveries} if deliveries else {"limit": limit}
    answer = Client(socket, config).post("/api/queue/retry", body)
    if json:
        show_json(answer)
    else:
        show(f"{answer['retried']} of {answer['matched']} deliveries are due now")
        if answer["more"]:
            say(f"others match too: at most {limit} at a time, so ask again")
    if deliveries and answer["retried"] < answer["matched"]:
        say("the others do not exist, are settled or in flight, or have no configured destination")
        raise typer.Exit(os.EX_DATAERR)


def _filters(
    destination: str | None, state: State | None, cause: Cause | None, calling_ae_title: str | None, age: str | None
) -> dict[str, str | float | None]:
    return {
        "destination": destination,
        "state": state,
        "cause": cause,
        "calling_ae_title": calling_ae_title,
        "older_than": None if age is None else _seconds(age),
    }


def _seconds(age: str) -> float:
    from router.settings.units import duration

    try:
        return duration(age).total_seconds()
    except ValueError as error:
        raise CommandError(f"--older-than: {error}", os.EX_USAGE) from error


def _row(delivery: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        delivery["delivery"],
        delivery["destination"] or "(no route)",
        delivery["state"],
        delivery["cause"],
        delivery["attempts"],
        delivery["next_attempt_at"],
        delivery["received_at"],
        delivery["calling_ae_title"],
        delivery["bytes"],
    )
