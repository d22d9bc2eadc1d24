"""The daemon: run it, ask how it is, have it read its configuration again, see it at work."""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from router.cli.client import Client, RefusedError
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import moment, say, show, show_json, table, volume


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
    stay: Annotated[bool, typer.Option("--stay", help="Keep the router and its page running until Ctrl-C.")] = False,
) -> None:
    """See the router at work: a modality, the router and PACS of every temper on this machine."""
    from router import demo

    raise typer.Exit(demo.main(json=json, keep=keep, stay=stay))


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


def health(*, config: ConfigurationPath = DEFAULT_CONFIGURATION, socket: SocketPath = None) -> None:
    """Ask the running daemon whether it can receive now; for health checks. Exit code 75: not now, 69: none runs."""
    try:
        Client(socket, config).get("/readyz")
    except RefusedError as error:
        say("\n".join(error.answer.get("reasons", [str(error)])))
        raise typer.Exit(os.EX_TEMPFAIL) from error
    show("ready")


def status(
    *, config: ConfigurationPath = DEFAULT_CONFIGURATION, socket: SocketPath = None, json: AsJson = False
) -> None:
    """Show how each destination stands and why, what waits for it, who is sending to us, and the room in the spool."""
    answer = Client(socket, config).get("/api/status")
    if json:
        show_json(answer)
        return
    titles = ("DESTINATION", "STATE", "UNTIL", "WAITING", "SIZE", "OLDEST", "HELD", "DEAD", "ASSOCIATIONS")
    rows = [_standing(each) for each in answer["destinations"]]
    show(table((*titles, "PER MINUTE", "LAST SUCCESS"), rows))
    for each in answer["destinations"]:
        for line in _trouble(each):
            show(line)
    show("")
    receiving = answer["associations"]
    instances = sum(each["instances"] for each in receiving)
    show(f"listeners: {len(receiving)} associations open, {instances} instances received over them")
    spool = answer["spool"]
    free, disk, reserve = (volume(spool[f"{name}_bytes"]) for name in ("free", "disk", "reserve"))
    show(f"spool: {free} free of {disk}; below {reserve} nothing is accepted")


def _standing(destination: Mapping[str, Any]) -> tuple[object, ...]:
    waiting, counts = destination["waiting"], destination["deliveries"]
    return (
        destination["name"] or "(no route)",
        destination["state"],
        moment(destination["until"]),
        waiting["deliveries"],
        volume(waiting["bytes"]),
        moment(waiting["oldest"]),
        *(counts.get(state, {"deliveries": 0})["deliveries"] for state in ("held", "dead")),
        f"{destination['associations_open']} of {allowed}"
        if (allowed := destination["associations_allowed"])
        else None,
        f"{destination['per_minute']:g}",
        moment(destination["last_success_at"]),
    )


def _trouble(destination: Mapping[str, Any]) -> Iterator[str]:
    """Why it does not work; and what went wrong last, if that is something else."""
    name, error, last = destination["name"], destination["error"], destination["last_error"]
    if error:
        yield f"{name}: {error}; {destination['failures']} failures since {moment(destination['since'])}"
    if last and last != error:
        yield f"{name}: last error {moment(destination['last_error_at'])}: {last}"
