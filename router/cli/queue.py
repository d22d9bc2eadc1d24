"""The queue of the running daemon."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from router.cli.choice import Choice, chosen
from router.cli.client import Client, RefusedError
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import CommandError, moment, say, show, show_json, table, volume
from router.model.destination import Strategy

app = typer.Typer(no_args_is_help=True, help="Ask about what is owed to whom, and have it sent, held, or dropped.")

Deliveries = Annotated[list[int] | None, typer.Argument(metavar="DELIVERY…", help="Their numbers in the list.")]
AtMost = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")]
To = Annotated[str | None, typer.Option("--to", metavar="DESTINATION", help="To this one, in place of its own.")]

MANY = 1000
"""Deliveries that one order is for, unless it says otherwise."""


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


@app.command("list")
@chosen
def list_deliveries(
    choice: Choice,
    *,
    after: Annotated[int, typer.Option("--after", metavar="DELIVERY", min=0, help="The next page after this one.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The oldest so many.")] = 100,
) -> None:
    """List deliveries, oldest first, and what each waits for."""
    answer = choice.client().get("/api/queue", **choice.filters, after=after, limit=limit)
    if choice.json:
        show_json(answer)
        return
    titles = ("DELIVERY", "DESTINATION", "STATE", "WHY", "UNTIL", "ATTEMPTS", "RECEIVED", "FROM", "SIZE")
    show(table(titles, [_row(each) for each in answer["deliveries"]]))
    if answer["more"]:
        last = answer["deliveries"][-1]["delivery"]
        say(f"there are more than these {limit}: go on with --after {last}, narrow the search, or raise --limit")


@app.command()
def causes(
    *, config: ConfigurationPath = DEFAULT_CONFIGURATION, socket: SocketPath = None, json: AsJson = False
) -> None:
    """Count what is dead or held by cause, with an example of each, and what to do."""
    answer = Client(socket, config).get("/api/queue/causes")
    if json:
        show_json(answer)
        return
    for each in answer["causes"]:
        show(
            table(
                (str(each["deliveries"]), f"{each['state']} for {each['destination'] or '(no route)'}"),
                [
                    ("cause", each["cause"]),
                    ("example", each["error"]),
                    ("oldest", moment(each["oldest"])),
                    ("size", volume(each["bytes"])),
                    ("meaning", each["meaning"]),
                    ("what to do", each["remedy"]),
                ],
            )
        )
        show("")
    if not answer["causes"]:
        say("nothing is dead or held")


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
@chosen
def retry(
    choice: Choice,
    deliveries: Deliveries = None,
    *,
    to: To = None,
    strategy: Annotated[
        Strategy | None, typer.Option("--strategy", help="With this one, in place of the destination's.")
    ] = None,
    limit: AtMost = MANY,
) -> None:
    """Have deliveries tried again now: those named, or those that match; dead, held or waiting."""
    more = {"to": to, "strategy": strategy}
    _order(choice, "retry", deliveries, limit, "are due now", **more)


@app.command()
@chosen
def hold(choice: Choice, deliveries: Deliveries = None, *, limit: AtMost = MANY) -> None:
    """Keep waiting deliveries back until they are resumed."""
    _order(choice, "hold", deliveries, limit, "are held")


@app.command()
@chosen
def resume(choice: Choice, deliveries: Deliveries = None, *, limit: AtMost = MANY) -> None:
    """Have held deliveries sent now."""
    _order(choice, "resume", deliveries, limit, "are due now")


@app.command()
@chosen
def drop(
    choice: Choice,
    deliveries: Deliveries = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    limit: AtMost = MANY,
) -> None:
    """Give deliveries up for good: those named, or those that match; dead, held or waiting."""
    body = choice.body(deliveries, limit)
    if not yes:
        if not on_terminal():
            raise CommandError("what is dropped is never sent: say --yes to drop it", os.EX_USAGE)
        matched = choice.client().post("/api/queue/drop", {**body, "dry_run": True})["matched"]
        typer.confirm(f"Give up {matched} deliveries for good?", abort=True, err=True)
    _order(choice, "drop", deliveries, limit, "are given up for good")


@app.command()
@chosen
def resend(choice: Choice, deliveries: Deliveries = None, *, to: To = None, limit: AtMost = MANY) -> None:
    """Send once more what was delivered or dropped, as long as the payload is there (`keep_delivered`)."""
    _order(choice, "resend", deliveries, limit, "are sent once more", to=to)


@app.command()
@chosen
def export(
    choice: Choice,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; made if it is not there.")],
    deliveries: Deliveries = None,
) -> None:
    """Write the objects of deliveries as DICOM files, named by ULID; no file is ever overwritten."""
    choice.body(deliveries, MANY)
    client = choice.client()
    chosen_ones = [client.get(f"/api/queue/{number}") for number in deliveries or ()] or choice.matching(client)
    written: dict[Path, int] = {}
    there, failed = 0, 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in chosen_ones:
            path = folder / f"{each['ulid']}.dcm"
            if path in written:
                continue
            try:
                if path.exists() and path.stat().st_size == each["bytes"]:
                    there += 1
                else:
                    _write(client, each, path)
                    written[path] = each["bytes"]
            except RefusedError as error:
                failed += 1
                say(str(error))
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}", os.EX_CANTCREAT) from error
    if choice.json:
        show_json({"written": [*map(str, written)], "there_already": there, "failed": failed})
    else:
        show(f"{len(written)} files written to {folder}, {volume(sum(written.values()))}; {there} were there already")
    if failed:
        raise typer.Exit(os.EX_DATAERR)


def _write(client: Client, delivery: Mapping[str, Any], path: Path) -> None:
    """Whole or not at all."""
    size = 0
    with path.open("xb") as file:
        try:
            for chunk in client.chunks(f"/api/queue/{delivery['delivery']}/payload"):
                size += file.write(chunk)
        finally:
            if size != delivery["bytes"]:
                path.unlink()
    if size != delivery["bytes"]:
        raise CommandError(f"the payload of delivery {delivery['delivery']} came in part", os.EX_TEMPFAIL)


def _order(
    choice: Choice, verb: str, deliveries: Sequence[int] | None, limit: int, done: str, **more: str | None
) -> None:
    """Give an order, and tell what became of it."""
    body = choice.body(deliveries, limit) | {name: value for name, value in more.items() if value is not None}
    answer = choice.client().post(f"/api/queue/{verb}", body)
    if choice.json:
        show_json(answer)
    else:
        show(f"{answer['changed']} of {answer['matched']} deliveries {done}")
        if answer["more"]:
            say(f"others match too: at most {limit} at a time, so ask again")
    for sentence in answer["unfit"]:
        say(sentence)
    if answer["changed"] + len(answer["unfit"]) < answer["matched"]:
        say("the others changed meanwhile, their payload is gone, or their destination is not configured")
    if deliveries and answer["changed"] < answer["matched"]:
        raise typer.Exit(os.EX_DATAERR)


def _row(delivery: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        delivery["delivery"],
        delivery["destination"] or "(no route)",
        delivery["state"],
        delivery["waits_for"] or delivery["cause"],
        moment(delivery["waits_until"]),
        delivery["attempts"],
        moment(delivery["received_at"]),
        delivery["calling_ae_title"],
        volume(delivery["bytes"]),
    )
