"""Studies: what of them waits, was delivered, or is dead, and where they went."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from router.cli.client import Client
from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, SocketPath
from router.cli.output import CommandError, moment, say, show, show_json, table, volume

app = typer.Typer(no_args_is_help=True, help="Ask about studies, by UID, accession number or patient ID.")

Uid = Annotated[str | None, typer.Option("--study", metavar="UID", help="Study Instance UID.")]
Accession = Annotated[str | None, typer.Option("--accession", metavar="NUMBER", help="Accession Number (0008,0050).")]
Patient = Annotated[str | None, typer.Option("--patient-id", metavar="ID", help="Patient ID (0010,0020).")]

WAITING = ("queued", "in flight")


@app.command("list")
def list_studies(
    *,
    study: Uid = None,
    accession: Accession = None,
    patient_id: Patient = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="The latest so many.")] = 100,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """List studies of which something is in the spool, the latest first: per destination waiting, delivered, dead."""
    answer = _search(Client(socket, config), study, accession, patient_id, limit)
    if json:
        show_json(answer)
    else:
        titles = ("STUDY", "INSTANCES", "SIZE", "RECEIVED", "DESTINATION", "WAITING", "DELIVERED", "HELD", "DEAD")
        show(table(titles, [row for each in answer["studies"] for row in _rows(each)]))


@app.command("show")
def show_study(
    *,
    study: Uid = None,
    accession: Accession = None,
    patient_id: Patient = None,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    socket: SocketPath = None,
    json: AsJson = False,
) -> None:
    """Show where studies went: when, to whom, in which transfer syntax, and with which answer."""
    if study is None and accession is None and patient_id is None:
        raise CommandError("say which: --study, --accession or --patient-id", os.EX_USAGE)
    client = Client(socket, config)
    # Of a study that has left the spool only the history knows, and that by its UID.
    alone = study is not None and accession is None and patient_id is None
    found = [study] if alone else [each["study"] for each in _search(client, study, accession, patient_id)["studies"]]
    if not found:
        raise CommandError("there is no such study in the spool", os.EX_DATAERR)
    answers = {uid: client.get(f"/api/studies/{uid}") for uid in found}
    if json:
        show_json(answers)
        return
    for uid, answer in answers.items():
        _tell(str(uid), answer)


def _search(
    client: Client, study: str | None, accession: str | None, patient_id: str | None, limit: int = 100
) -> dict[str, Any]:
    asked = {"study": study, "accession_number": accession, "patient_id": patient_id}
    body = {name: value for name, value in asked.items() if value is not None}
    found: dict[str, Any] = client.post("/api/studies", {**body, "limit": limit})
    return found


def _rows(study: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    about = (study["study"], study["instances"], volume(study["bytes"]), moment(study["last_received_at"]))
    for destination, counts in study["deliveries"].items():
        waiting = sum(counts.get(state, 0) for state in WAITING)
        others = (counts.get(state, 0) for state in ("delivered", "held", "dead"))
        yield (*about, destination or "(no route)", waiting, *others)


def _tell(uid: str, answer: Mapping[str, Any]) -> None:
    if answer["summary"] is None:
        say(f"{uid} is not in the spool any more; this is what happened to it")
    else:
        titles = ("STUDY", "INSTANCES", "SIZE", "RECEIVED", "DESTINATION", "WAITING", "DELIVERED", "HELD", "DEAD")
        show(table(titles, [*_rows(answer["summary"])]))
        show("")
    show(happenings(answer["happenings"]))


def happenings(happened: Sequence[Mapping[str, Any]]) -> str:
    """A table of what happened."""
    titles = ("AT", "WHAT", "DESTINATION", "INSTANCE", "TRANSFER SYNTAX", "STATUS", "WHY")
    return table(titles, [_happening(each) for each in happened])


def _happening(each: Mapping[str, Any]) -> tuple[object, ...]:
    why = each["error"] or each["cause"]
    destination = each["destination"] or "(no route)"
    syntax = each["transfer_syntax"]
    return moment(each["at"]), each["what"], destination, each["instance"], syntax, each["status"], why
