"""One event as the fields of a log line.

Fields come from the closed list below, so no patient attribute can be logged by accident; ``error`` is always one of
our own sentences. Instance and study UIDs leave as keyed hashes unless the configuration says otherwise.
"""

import hmac
from dataclasses import fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

from router.journal.events import Event

FIELDS = (
    "timestamp",
    "level",
    "event",
    "association",
    "calling_ae_title",
    "called_ae_title",
    "peer",
    "instance",
    "study",
    "sop_class",
    "modality",
    "stored_transfer_syntax",
    "transfer_syntax",
    "bytes",
    "digest",
    "route",
    "destination",
    "strategy",
    "strategies_tried",
    "attempt",
    "attempts",
    "outcome",
    "status",
    "cause",
    "error",
    "recommendation",
    "accepted_contexts",
    "rejected_contexts",
    "converted",
    "duration_ms",
    "next_attempt_at",
    "version",
)
"""Everything that a log line can say (design: log lines). ``docs/logs.md`` lists each event with its fields."""

HASHED = frozenset({"instance", "study"})
_CONTROLS = {
    code: f"\\u{code:04x}"
    for codes in (
        range(0x20),
        range(0x7F, 0xA0),
        (0x061C, 0x200E, 0x200F),
        range(0x2028, 0x202F),
        range(0x2066, 0x206A),
    )
    for code in codes
}
"""Control and direction characters: none of a peer's reaches a terminal or splits a line."""

Uids = Literal["hash", "plain", "omit"]


def log_id(uid: str, key: bytes) -> str:
    """The keyed hash that stands for a UID in log lines: 12 hexadecimal digits of HMAC-SHA256."""
    return hmac.new(key, uid.encode(), sha256).hexdigest()[:12]


def record(event: Event, *, now: datetime, key: bytes, uids: Uids) -> dict[str, Any]:
    """The fields of one event's line, in the order of the list; empty ones are left out."""
    known: dict[str, Any] = {
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event.level,
        "event": event.event,
        **{each.name: getattr(event, each.name) for each in fields(event)},
    }
    for name in HASHED & known.keys():
        if uids == "omit" or not known[name]:
            known[name] = None
        elif uids == "hash":
            known[name] = log_id(known[name], key)
    return {
        name: value.translate(_CONTROLS) if isinstance(value, str) else value
        for name in FIELDS
        if (value := known.get(name)) is not None and value not in ("", ())
    }


def plain(value: object) -> object:
    """A value that JSON does not know, as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)
