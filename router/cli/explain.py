"""Everything that happened to one instance, why it was routed where, and what will happen next."""

from pathlib import Path
from typing import Annotated, Any

import typer

from router.cli.client import Client
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath, configured
from router.cli.output import CommandError, moment, say, show, show_json, table
from router.cli.study import happenings


def explain(
    instance: Annotated[
        str, typer.Argument(metavar="INSTANCE", help="Its ULID, its SOP Instance UID, or the number of a delivery.")
    ],
    *,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Tell everything that happened to one instance, and what will happen next.

    May print patient data: comments of peers, and values that routes look at.
    """
    answer = Client(socket, config).get(f"/api/instances/{instance}")
    paths = list(dict.fromkeys(each["delivery"]["path"] for each in answer["deliveries"]))
    answer["routes"] = [found for path in paths if (found := _routed(path, config)) is not None]
    if json:
        show_json(answer)
    else:
        _tell(answer)


def _routed(path: str, config: Path) -> dict[str, Any] | None:
    """Which routes would take the payload now, as far as we may read the configuration and the spool."""
    from router.cli.route import decided

    try:
        configuration = configured(config, keywords=True)
        return decided(configuration.spool.directory / path, configuration)
    except CommandError as error:
        say(f"which routes match is not told: {error}")
        return None


def _tell(answer: dict[str, Any]) -> None:
    for each in answer["deliveries"]:
        delivery = each["delivery"]
        show(
            table(
                ("DELIVERY", str(delivery["delivery"])),
                [
                    ("instance", f"{delivery['instance']} ({delivery['ulid']})"),
                    ("received", f"{moment(delivery['received_at'])} from {delivery['calling_ae_title']}"),
                    ("destination", delivery["destination"] or "(no route)"),
                    ("state", delivery["state"]),
                    ("why", delivery["error"]),
                    ("attempts", delivery["attempts"]),
                    ("next", each["next"]),
                ],
            )
        )
        show("")
    if answer["happenings"]:
        show(happenings(answer["happenings"]))
    else:
        show("Nothing has happened to it yet.")
    for found in answer["routes"]:
        show("\nThe routes, as they are configured now:")
        rows = [(each["name"], "matches" if each["matched"] else "no", each["why"]) for each in found["routes"]]
        show(table(("ROUTE", "", "WHY"), rows))
