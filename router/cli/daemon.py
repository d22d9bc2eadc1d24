"""The daemon: run it, ask how it is, have it read its configuration again, see it at work."""

import os
from typing import Annotated

import typer

from router.cli.client import Client, RefusedError
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import say, show, show_json, table


def run(config: ConfigurationPath = DEFAULT_CONFIGURATION) -> None:
    """Run the router until it is told to stop.

    SIGTERM ends it in order, a second one at once; SIGHUP reads routes and destinations again.
    """
    from router import daemon

    raise typer.Exit(daemon.run(config, os.environ))


def demo(
    *,
    json: AsJson = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the spool and what the PACS received.")] = False,
) -> None:
    """See the router at work: a modality, the router and PACS of every temper on this machine."""
    from router import demo

    raise typer.Exit(demo.main(json=json, keep=keep))


def reload(
    *, config: ConfigurationPath = DEFAULT_CONFIGURATION, socket: SocketPath = None, json: AsJson = False
) -> None:
    """Have the running daemon read its configuration again; a bad one changes nothing."""
    try:
        answer = Client(socket, config).post("/api/reload")
    except RefusedError as error:
        problems = error.answer.get("problems")
        if problems is None:
            raise
        if json:
            show_json(error.answer)
        else:
            say("\n".join([*problems, str(error)]))
        raise typer.Exit(os.EX_CONFIG) from error
    if json:
        show_json(answer)
    else:
        show("the new configuration is in force")


def status(
    *, config: ConfigurationPath = DEFAULT_CONFIGURATION, socket: SocketPath = None, json: AsJson = False
) -> None:
    """Show how each destination stands, and what there is for it."""
    answer = Client(socket, config).get("/api/status")
    if json:
        show_json(answer)
        return
    states = ("queued", "in flight", "held", "dead", "delivered", "dropped")
    rows = [
        [
            each["name"] or "(no route)",
            *[each["deliveries"].get(state, {"deliveries": 0})["deliveries"] for state in states],
            min((amount["oldest"] for amount in each["deliveries"].values() if amount["oldest"]), default=None),
            "held" if each["held"] else f"{each['failures']} failures" if each["failures"] else "works",
            each["error"],
        ]
        for each in answer["destinations"]
    ]
    show(table(["DESTINATION", *map(str.upper, states), "OLDEST", "STANDING", "ERROR"], rows))
