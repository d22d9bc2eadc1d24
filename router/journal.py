"""What happened: events as plain values, published once; the JSON line and the demo's table subscribe.

Fields come from the closed list below, so no patient attribute can be logged by accident; ``error`` is always one of
our own sentences. Instance and study UIDs leave as keyed hashes unless the configuration says otherwise.
"""

import hmac
import logging
import queue
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import PurePath
from typing import Any, ClassVar, Literal, TextIO

import structlog

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
    code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))
}
"""Control and direction characters: none of a peer's reaches a terminal or splits a line."""

Level = Literal["debug", "info", "warning", "error"]
Uids = Literal["hash", "plain", "omit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. Each kind has a text that never varies, and a level."""

    event: ClassVar[str]
    level: ClassVar[Level] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The daemon is ready: its ports are open."""

    event = "started"
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining(Event):
    """No new associations; what is under way may finish."""

    event = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """The daemon has ended in order."""

    event = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded(Event):
    """A new configuration is in force."""

    event = "configuration reloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRefused(Event):
    """A new configuration has errors; the old one stays in force."""

    event = "configuration refused"
    level = "error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """What the last run left behind was put in order."""

    event = "recovered"
    outcome: Mapping[str, int]
    """Counts: partial files swept, payloads adopted, deliveries queued again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRefused(Event):
    """A connection ended before it became an association: too many, too slow, or not DICOM."""

    event = "connection refused"
    level = "warning"
    peer: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationAccepted(Event):
    """A peer associated with us."""

    event = "association accepted"
    association: str
    calling_ae_title: str
    called_ae_title: str
    peer: str
    accepted_contexts: int
    rejected_contexts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRefused(Event):
    """A peer was told no with an A-ASSOCIATE-RJ."""

    event = "association refused"
    level = "warning"
    association: str
    calling_ae_title: str
    called_ae_title: str
    peer: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationReleased(Event):
    """A peer ended its association in order."""

    event = "association released"
    association: str
    calling_ae_title: str
    peer: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationLost(Event):
    """An association ended by an abort, a lost connection, a deadline or a broken protocol."""

    event = "association lost"
    level = "warning"
    association: str
    calling_ae_title: str
    peer: str
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceAccepted(Event):
    """An instance and the order to deliver it are on stable storage, and 0000H was due."""

    event = "instance accepted"
    association: str
    calling_ae_title: str
    called_ae_title: str
    peer: str
    instance: str
    study: str
    sop_class: str
    stored_transfer_syntax: str
    bytes: int
    digest: str
    destination: tuple[str, ...]
    route: tuple[str, ...]
    outcome: str
    duration_ms: float
    error: str = ""
    """What was odd about it: held, skipped, or not understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRefused(Event):
    """An instance was answered with a failure; nothing was kept."""

    event = "instance refused"
    level = "warning"
    association: str
    calling_ae_title: str
    peer: str
    instance: str
    sop_class: str
    stored_transfer_syntax: str
    status: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSucceeded(Event):
    """A destination has an instance."""

    event = "C-STORE successful"
    destination: str
    instance: str
    sop_class: str
    stored_transfer_syntax: str
    transfer_syntax: str
    converted: bool
    strategy: str
    attempts: int
    """Associations tried in this attempt (the seed's ``attempts_made``)."""
    bytes: int
    status: str
    accepted_contexts: int
    rejected_contexts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback(Event):
    """A strategy did not work for some instances; the next one is tried."""

    level = "warning"
    destination: str
    strategy: str
    strategies_tried: tuple[str, ...]
    error: str

    @property
    def event(self) -> str:  # type: ignore[override]  # the one text that names the strategy, as users search for it
        """The text, with the strategy in it."""
        return f"Using {self.strategy} fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategiesFailed(Event):
    """No strategy could send an instance."""

    event = "All C-STORE strategies failed"
    level = "error"
    destination: str
    instance: str
    sop_class: str
    stored_transfer_syntax: str
    strategies_tried: tuple[str, ...]
    attempts: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDeferred(Event):
    """An attempt at one instance failed; it will be sent again."""

    event = "delivery deferred"
    level = "warning"
    destination: str
    instance: str
    study: str
    attempt: int
    status: str
    error: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Event):
    """An instance was given up for a destination; it is kept and can be retried."""

    event = "dead letter"
    level = "error"
    destination: str
    instance: str
    study: str
    attempt: int
    status: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationTrouble(Event):
    """A destination does not work; nothing is charged to what waits for it."""

    event = "destination in trouble"
    level = "warning"
    destination: str
    attempt: int
    error: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRecovered(Event):
    """A destination works again."""

    event = "destination recovered"
    destination: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed(Event):
    """Payloads that every destination has were removed."""

    event = "payloads removed"
    level = "debug"
    outcome: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolTrouble(Event):
    """The spool or the queue cannot do its work."""

    event = "spool in trouble"
    level = "error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexpected(Event):
    """A warning of a library: category and place, never its text, which may quote a data set."""

    event = "library warning"
    level = "warning"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesLost(Event):
    """Lines of the log itself found no room, or could not be written."""

    event = "log lines lost"
    level = "warning"
    error: str


Subscriber = Callable[[Event], None]

BATCH_SECONDS = 0.02
"""How long the log may be behind: a thread that wakes for each line takes the interpreter from those who answer."""


class Journal:
    """Where events are published. A subscriber must be quick, and must not raise."""

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = list(subscribers)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Also tell ``subscriber`` from now on."""
        self._subscribers.append(subscriber)

    def publish(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self._subscribers:
            subscriber(event)


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


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


class Lines:
    """The log: one line per event, written by one thread from a bounded queue.

    A blocked or closed pipe stops nothing: what finds no room is dropped and counted, and the count is written with
    the next line that finds room.
    """

    SEVERITY: ClassVar[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

    def __init__(
        self,
        stream: TextIO,
        *,
        key: bytes,
        level: Level = "info",
        json: bool = True,
        uids: Uids = "hash",
        clock: Callable[[], datetime],
        room: int = 10_000,
    ) -> None:
        self._stream = stream
        self._key = key
        self._threshold = self.SEVERITY[level]
        self._uids: Uids = uids
        self._clock = clock
        self._waiting: queue.Queue[tuple[datetime, Event] | None] = queue.Queue(room)
        # Each is counted by one thread alone.
        self._without_room = 0
        self._unwritten = 0
        self._render: Callable[[Any, str, dict[str, Any]], str | bytes] = (
            structlog.processors.JSONRenderer(default=_plain, ensure_ascii=False)
            if json
            else structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=32)
        )
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that found no room, or could not be written."""
        return self._without_room + self._unwritten

    def __call__(self, event: Event) -> None:
        """Queue the event's line. Never blocks."""
        if self.SEVERITY[event.level] < self._threshold:
            return
        try:
            self._waiting.put_nowait((self._clock(), event))
        except queue.Full:
            self._without_room += 1

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most ``seconds``."""
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _write(self) -> None:
        told = 0
        while (waiting := self._waiting.get()) is not None:
            if (lost := self.dropped) > told:
                sentence = f"{lost - told} lines found no room or were not written"
                self._print(waiting[0], LinesLost(error=sentence))
                told = lost
            self._print(*waiting)
            if self._waiting.empty():
                # While nobody waits for the next line, putting it costs no change of threads: lines come in batches.
                time.sleep(BATCH_SECONDS)

    def _print(self, instant: datetime, event: Event) -> None:
        line = record(event, now=instant, key=self._key, uids=self._uids)
        try:
            print(self._render(None, "", line), file=self._stream, flush=self._waiting.empty())
        except (OSError, ValueError):
            # The pipe is closed: routing goes on, and the loss is counted.
            self._unwritten += 1


class _Diverted(logging.Handler):
    """Log records of libraries become events: who and where, never the text."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.publish(Unexpected(error=f"{record.levelname.lower()} of {record.name}, line {record.lineno}"))


def divert_libraries(journal: Journal) -> None:
    """From now on Python's warnings and log records are events, by category and place alone.

    pydicom's warnings and pynetdicom's records print element values.
    """

    def show(  # noqa: PLR0917 -- the signature is the standard library's
        message: Warning | str,  # noqa: ARG001 -- it may quote a data set
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        journal.publish(Unexpected(error=f"{category.__name__} in {PurePath(filename).name}, line {lineno}"))

    warnings.showwarning = show
    logging.root.handlers = [_Diverted(journal)]
