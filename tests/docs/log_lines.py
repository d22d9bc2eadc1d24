"""``docs/logs.md`` from the classes of the journal: ``python -m tests.docs.log_lines`` writes its table anew."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from inspect import getdoc

from router import __version__
from router.journal import events
from router.journal.events import Event
from router.journal.record import FIELDS, plain, record
from router.model.outcome import Cause
from tests.docs.pages import DOCS

PAGE = DOCS / "logs.md"
BEGIN = "<!-- What follows is generated from router/journal/events.py. -->\n"
NOW = datetime(2026, 3, 2, 9, 15, 7, 250_000, UTC)
KEY = b"a key that every installation makes for itself"

ALWAYS = ("timestamp", "level", "event")
REFUSED = "Cannot connect to MAIN_PACS at 192.168.1.100:11112: Connection refused"
FULL = "The peer is out of resources (A700H)"
ACCEPTED: Mapping[str, object] = {
    "accepted_contexts": 2,
    "association": "a17",
    "attempt": 2,
    "attempts": 1,
    "bytes": 526_336,
    "called_ae_title": "ROUTER",
    "calling_ae_title": "CT1",
    "cause": Cause.OUT_OF_RESOURCES,
    "converted": False,
    "destination": "MAIN_PACS",
    "digest": "6f1ed002ab5595859014ebf0951522d9",
    "duration_ms": 41.7,
    "error": FULL,
    "instance": "1.2.840.99999.1.17.1",
    "next_attempt_at": datetime(2026, 3, 2, 9, 15, 37, tzinfo=UTC),
    "outcome": 3,
    "peer": "10.1.0.7:40123",
    "rejected_contexts": 0,
    "route": ("CT to the archive",),
    "sop_class": "1.2.840.10008.5.1.4.1.1.2",
    "status": "A700H",
    "stored_transfer_syntax": "1.2.840.10008.1.2.1",
    "strategies_tried": ("conservative",),
    "strategy": "standard",
    "study": "1.2.840.99999.1.17",
    "transfer_syntax": "1.2.840.10008.1.2.1",
    "version": __version__,
}
"""What a field says where an event has nothing of its own to say."""

OWN: Mapping[type[Event], Mapping[str, object]] = {
    events.ReloadRefused: {"error": "/etc/dicom-router/router.yaml:14:11  error  listen.port: 0 is not a TCP port"},
    events.Recovered: {"outcome": {"swept": 1, "adopted": 2, "queued again": 4}},
    events.ConnectionRefused: {"error": "the host has as many connections as it may have"},
    events.AssociationRefused: {"status": "RJ 1/1/3", "error": "the calling AE title CT9 is not in `allow`"},
    events.AssociationLost: {"error": "the peer aborted the association"},
    events.InstanceAccepted: {"destination": ("MAIN_PACS",), "outcome": "queued", "error": ""},
    events.InstanceRefused: {"status": "C000H", "error": "an element runs past the end of the data set"},
    events.StoreSucceeded: {"status": "0000H", "strategy": "conservative"},
    events.DestinationTrouble: {"cause": Cause.CONNECT_FAILED, "error": REFUSED},
    events.FailedOver: {"destination": ("MAIN_PACS", "STANDBY")},
    events.QuotaExceeded: {"destination": "RESEARCH", "error": "more waits for RESEARCH than its quota of 50 GB"},
    events.QueueRebuilt: {"outcome": {"adopted": 12, "queued": 9, "held": 3}, "error": ""},
    events.HistoryTrouble: {"error": "the history cannot be written: database or disk is full"},
    events.SpoolTrouble: {"error": "the queue cannot be written: database or disk is full"},
    events.AlertFailed: {"error": "the webhook at chat.example did not take an alert: it answered HTTP status 500"},
    events.Unexpected: {"error": "UserWarning at pydicom/valuerep.py:440"},
    events.Defect: {"peer": "", "error": "ValueError at router/dicom/scp.py:210"},
    events.LinesLost: {"error": "3 lines found no room or could not be written"},
}


def kinds() -> Iterator[type[Event]]:
    """Every kind of event, in the order of their module."""
    for kind in vars(events).values():
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event:
            yield kind


def example(kind: type[Event]) -> Event:
    """One that could have happened."""
    own = OWN.get(kind, {})
    return kind(**{each.name: own.get(each.name, ACCEPTED[each.name]) for each in fields(kind)})


def text(kind: type[Event]) -> str:
    """What its lines say under ``event``."""
    return "Using <strategy> fallback" if kind is events.Fallback else kind.event


def tables() -> str:
    """A table of all events, and a line of each."""
    rows, lines = [], []
    for kind in kinds():
        named = {each.name for each in fields(kind)}
        listed = ", ".join(f"`{name}`" for name in FIELDS if name in named) or "–"
        rows.append(f"| `{text(kind)}` | {kind.level} | {(getdoc(kind) or '').replace('``', '`')} | {listed} |\n")
        line = record(example(kind), now=NOW, key=KEY, uids="hash")
        lines.append(json.dumps(line, default=plain, ensure_ascii=False) + "\n")
    return (
        "| event | level | what it tells | fields beside `timestamp`, `level` and `event` |\n|---|---|---|---|\n"
        + "".join(rows)
        + "\nA field that has nothing to say is left out. One line of each, in the same order:\n\n```json\n"
        + "".join(lines)
        + "```\n"
    )


def written(page: str) -> str:
    """The page with the tables as they are now."""
    return re.sub(re.escape(BEGIN) + r".*\Z", lambda _: f"{BEGIN}\n{tables()}", page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.stderr.write(f"{PAGE} is written\n")
