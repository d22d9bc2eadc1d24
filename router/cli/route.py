"""Where a file would go and how, if a modality sent it: which routes match and why; nothing is sent."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import DEFAULT_CONFIGURATION, AsJson, ConfigurationPath, configured
from router.cli.output import CommandError, say, show, show_json, table
from router.cli.peer import CALLING
from router.model.transfer_syntax import transfer_syntax

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.dicom.part10 import FileMeta
    from router.dicom.survey import Survey
    from router.model.destination import Destination, Strategy
    from router.model.instance import Envelope, Identity
    from router.rules.conditions import Subject
    from router.rules.routing import Decision, Routes
    from router.settings import Configuration


def route(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A DICOM file.")],
    *,
    calling: Annotated[
        str | None, typer.Option("--calling", metavar="AE_TITLE", help="As if this AE title had sent it.")
    ] = None,
    called: Annotated[
        str | None, typer.Option("--called", metavar="AE_TITLE", help="As if it had been sent to this one.")
    ] = None,
    host: Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="As if it came from there.")] = None,
    config: ConfigurationPath = DEFAULT_CONFIGURATION,
    json: AsJson = False,
) -> None:
    """Say which routes a file matches and why, and in which transfer syntaxes it would go out; nothing is sent.

    A file of the spool knows who sent it. May print patient data: the values that routes look at.
    """
    found = decided(file, configured(config, keywords=True), calling, called, host)
    if json:
        show_json(found)
    else:
        if found["remark"]:
            say(f"{file.name}: {found['remark']}")
        _tell(found)


def decided(
    file: Path,
    configuration: "Configuration",
    calling: str | None = None,
    called: str | None = None,
    host: str | None = None,
) -> dict[str, Any]:
    """What the routes make of a file, in words.

    Args:
        file: a DICOM file; one of the spool knows who sent it.
        configuration: has the routes.
        calling: as if this AE title had sent it; so are the others.
        called: AE title.
        host: address.

    Raises:
        CommandError: the file cannot be read.
    """
    from router.dicom.part10 import Part10Error, read_meta
    from router.rules.conditions import Subject
    from router.rules.routing import route as decide

    try:
        meta = read_meta(file)
        surveyed = _survey(file, meta, configuration.routes)
    except Part10Error as error:
        raise CommandError(str(error), os.EX_DATAERR) from error
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}", os.EX_NOINPUT) from error
    subject = Subject(_envelope(meta, configuration, calling, called, host), meta.identity, surveyed.attributes)
    found = _in_full(file, configuration, subject, decide(subject, configuration.routes))
    found["remark"] = "the data set is truncated" if surveyed.truncated else surveyed.error
    return found


def _survey(file: Path, meta: "FileMeta", routes: "Routes") -> "Survey":
    from router.dicom.survey import survey, tags

    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END) - meta.header_size

        def read(offset: int, count: int) -> bytes:
            opened.seek(meta.header_size + offset)
            return opened.read(count)

        return survey(read, size, transfer_syntax(meta.identity.transfer_syntax), tags(routes.keywords))


def _envelope(
    meta: "FileMeta", configuration: "Configuration", calling: str | None, called: str | None, host: str | None
) -> "Envelope":
    from dataclasses import replace

    from router.model.instance import Envelope

    titles = configuration.listeners[0].ae_titles or (CALLING,)
    known = meta.envelope or Envelope(CALLING, titles[0], "127.0.0.1", 0, "", datetime.now(UTC))
    return replace(
        known,
        calling_ae_title=calling or known.calling_ae_title,
        called_ae_title=called or known.called_ae_title,
        peer_host=host or known.peer_host,
    )


def _in_full(file: Path, configuration: "Configuration", subject: "Subject", decision: "Decision") -> dict[str, Any]:
    from router.dicom.sop_classes import name_of
    from router.rules.routing import Refusal, orders

    destinations = {each.name: each for each in configuration.destinations}
    ordered = orders(decision, destinations=destinations, unrouted=configuration.unrouted, envelope=subject.envelope)
    identity, envelope = subject.identity, subject.envelope
    return {
        "file": str(file),
        "sop_class": identity.sop_class,
        "sop_class_name": name_of(identity.sop_class),
        "stored_transfer_syntax": identity.transfer_syntax,
        "stored_transfer_syntax_name": transfer_syntax(identity.transfer_syntax).name,
        "calling_ae_title": envelope.calling_ae_title,
        "called_ae_title": envelope.called_ae_title,
        "peer": envelope.peer_host,
        "routes": [{"name": each.route, "matched": each.matched, "why": each.detail} for each in decision.findings],
        "refused": ordered.sentence if isinstance(ordered, Refusal) else None,
        "deliveries": []
        if isinstance(ordered, Refusal)
        else [
            {
                "destination": order.destination,
                "state": order.state,
                "priority": order.terms.priority.name.lower(),
                "why": order.error,
                "strategies": _strategies(identity, destinations[order.destination])
                if order.destination in destinations
                else [],
            }
            for order in ordered
        ],
    }


def _strategies(identity: "Identity", destination: "Destination") -> list[dict[str, Any]]:
    """The chain, with what each strategy may propose for this instance."""
    from router.rules.negotiation import chain

    return [
        {
            "strategy": strategy,
            "transfer_syntaxes": [
                {"uid": syntax, "name": transfer_syntax(syntax).name, "converted": syntax != identity.transfer_syntax}
                for syntax in _best_first(identity, strategy, destination)
            ],
        }
        for strategy in chain(destination.transfer_syntax_strategy, destination.max_association_retries)
    ]


def _best_first(identity: "Identity", strategy: "Strategy", destination: "Destination") -> "Iterator[str]":
    """What would be sent if the peer accepted all of it, then what if it did not accept that, and so on."""
    from router.dicom.transcode import converts
    from router.model.presentation_context import AnsweredContext, ContextResult
    from router.rules.negotiation import Unsupported, candidates, plan

    answers = [
        AnsweredContext(2 * number + 1, identity.sop_class, ContextResult.ACCEPTANCE, syntax)
        for number, syntax in enumerate(candidates(identity, strategy, destination, converts))
    ]
    failed: frozenset[str] = frozenset()
    while not isinstance(best := plan(identity, answers, strategy, destination, converts, failed=failed), Unsupported):
        yield best.transfer_syntax
        failed |= {best.transfer_syntax}


def _tell(found: dict[str, Any]) -> None:
    show(
        table(
            ["FILE", found["file"]],
            [
                ["SOP class", f"{found['sop_class_name']} ({found['sop_class']})"],
                ["stored in", f"{found['stored_transfer_syntax_name']} ({found['stored_transfer_syntax']})"],
                ["sent", f"by {found['calling_ae_title']} at {found['peer']} to {found['called_ae_title']}"],
            ],
        )
    )
    show("")
    rows = [[each["name"], "matches" if each["matched"] else "no", each["why"]] for each in found["routes"]]
    show(table(["ROUTE", "", "WHY"], rows))
    if found["refused"]:
        show(f"\nIt is refused: {found['refused']}")
    for delivery in found["deliveries"]:
        name = delivery["destination"] or "no destination"
        show(f"\n{name}: {delivery['state']}{': ' + delivery['why'] if delivery['why'] else ''}")
        rows = [
            [each["strategy"], syntax["name"], syntax["uid"], "converted" if syntax["converted"] else "as stored"]
            for each in delivery["strategies"]
            for syntax in each["transfer_syntaxes"]
        ]
        if rows:
            show(table(["STRATEGY", "MAY BE PROPOSED", "UID", ""], rows))
