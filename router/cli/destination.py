"""Destinations: how they stand, paused, resumed, and tried step by step."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import anyio
import typer

from router.cli.client import Client
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import moment, say, show, show_json, table, volume
from router.cli.peer import CALLING, Called, Calling, peer
from router.cli.probe import Classes, sop_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.flow.trial import Step
    from router.model.destination import Destination

app = typer.Typer(no_args_is_help=True, help="Ask how destinations stand, pause and resume them, and try them.")

Name = Annotated[str, typer.Argument(metavar="DESTINATION", help="Its name in the configuration.")]


@app.command("list")
def list_destinations(
    *, config: ConfigurationPath = DEFAULT_CONFIGURATION, socket: SocketPath = None, json: AsJson = False
) -> None:
    """List the destinations, how each stands, and what went wrong last."""
    answer = Client(socket, config).get("/api/status")["destinations"]
    if json:
        show_json(answer)
        return
    titles = ("DESTINATION", "STATE", "UNTIL", "WAITING", "LAST SUCCESS", "LAST ERROR", "AT")
    show(table(titles, [_row(each) for each in answer]))


@app.command("show")
def show_destination(
    name: Name,
    *,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Show everything that is known of one destination, also what it was seen to accept."""
    answer = Client(socket, config).get(_path(name))
    if json:
        show_json(answer)
    else:
        _tell(answer)


@app.command()
def pause(
    name: Name,
    *,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Keep back what waits for a destination, over restarts too; what is being sent is finished."""
    _order(Client(socket, config), name, "pause", json=json)


@app.command()
def resume(
    name: Name,
    *,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Go on with a destination that is paused, and try one in trouble, or held, at once."""
    _order(Client(socket, config), name, "resume", json=json)


@app.command("test")
def try_out(
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION|HOST:PORT", help="A configured destination, or any address.")
    ],
    *,
    sop_class: Classes = None,
    called: Called = None,
    calling: Calling = None,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    json: AsJson = False,
) -> None:
    """Try a destination step by step: DNS, TCP, TLS, association, C-ECHO, contexts; no daemon is needed.

    Ends with 0 only if every step passed.
    """
    tried = peer(destination, called, calling, config)
    address = f"{tried.remote_ae_title} at {tried.remote_host}:{tried.remote_port}"
    if not json:
        say(f"{address}, called as {tried.local_ae_title or CALLING}")
    steps = anyio.run(_trial, tried, sop_classes(sop_class), not json)
    passed = all(step.passed for step in steps)
    if json:
        told = [
            {
                "step": step.name,
                "ok": step.passed,
                "told": step.words,
                "advice": step.advice,
                "ms": round(step.seconds * 1000, 1),
            }
            for step in steps
        ]
        show_json({"ok": passed, "peer": address, "steps": told})
    if not passed:
        raise typer.Exit(os.EX_UNAVAILABLE)


async def _trial(tried: "Destination", classes: "Sequence[str]", tell: bool) -> "list[Step]":  # noqa: FBT001 - anyio.run
    from router.flow.trial import trial

    steps = []
    async for step in trial(tried, tried.local_ae_title or CALLING, classes):
        steps.append(step)
        if tell:
            show(f"{step.name:<12} {'ok' if step.passed else 'FAILED':<7} {step.seconds * 1000:>8.1f} ms  {step.words}")
            if step.advice:
                show(f"{'':<34}{step.advice}")
    return steps


def _order(client: Client, name: str, verb: str, *, json: bool) -> None:
    answer = client.post(f"{_path(name)}/{verb}")
    if json:
        show_json(answer)
    else:
        show(f"{answer['destination']}: {answer['state']}")


def _path(name: str) -> str:
    return f"/api/destinations/{quote(name, safe='')}"


def _row(destination: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        destination["name"] or "(no route)",
        destination["state"],
        moment(destination["until"]),
        destination["waiting"]["deliveries"],
        moment(destination["last_success_at"]),
        destination["error"] or destination["last_error"],
        moment(destination["since"] or destination["last_error_at"]),
    )


def _tell(destination: Mapping[str, Any]) -> None:
    waiting = destination["waiting"]
    rows: list[tuple[str, object]] = [
        ("address", f"{destination['remote_host']}:{destination['remote_port']}"),
        ("called as", destination["remote_ae_title"]),
        ("calling as", destination["local_ae_title"] or "the modality's own AE title"),
        ("TLS", "yes" if destination["tls"] else "no"),
        ("strategy", destination["transfer_syntax_strategy"]),
        ("state", destination["state"]),
        ("until", moment(destination["until"])),
        ("why", destination["error"]),
        ("since", moment(destination["since"])),
        ("associations", f"{destination['associations_open']} of {destination['associations_allowed']}"),
        ("waiting", f"{waiting['deliveries']}, {volume(waiting['bytes'])}"),
        ("oldest", moment(waiting["oldest"])),
        *((state, amount["deliveries"]) for state, amount in sorted(destination["deliveries"].items())),
        ("per minute", f"{destination['per_minute']:g}"),
        ("last success", moment(destination["last_success_at"])),
        ("last error", destination["last_error"]),
        ("at", moment(destination["last_error_at"])),
    ]
    show(table(("DESTINATION", destination["name"]), rows))
    if destination["learned"]:
        show("")
        titles = ("SOP CLASS", "TRANSFER SYNTAX", "SEEN", "AT")
        learned = [
            (each["sop_class"], each["transfer_syntax"], each["seen"], moment(each["learned_at"]))
            for each in destination["learned"]
        ]
        show(table(titles, learned))
