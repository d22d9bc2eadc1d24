"""Everything that can happen, as plain values: each kind has a text that never varies, and a level."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from router.model.outcome import Cause

Level = Literal["debug", "info", "warning", "error"]


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
    status: str
    """Result, source and reason of the A-ASSOCIATE-RJ (PS3.8 Table 9-21): ``RJ 1/1/3``."""
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
class Delivered(Event):
    """The queue has it that a destination has an instance."""

    event = "delivered"
    level = "debug"
    destination: str
    instance: str
    study: str
    duration_ms: float
    """Since the instance was received."""


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
    cause: Cause | None = None
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
    cause: Cause | None = None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationTrouble(Event):
    """A destination does not work; nothing is charged to what waits for it."""

    event = "destination in trouble"
    level = "warning"
    destination: str
    attempt: int
    cause: Cause | None = None
    error: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRecovered(Event):
    """A destination works again."""

    event = "destination recovered"
    destination: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOver(Event):
    """What waited for a destination in trouble is owed to another one, as its route says."""

    event = "failed over"
    level = "warning"
    destination: tuple[str, str]
    """From which to which."""
    outcome: int
    """Deliveries that moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaExceeded(Event):
    """More waits for a destination than its quota; a ``best_effort`` one gave up what waited longest."""

    event = "quota exceeded"
    level = "warning"
    destination: str
    outcome: int
    """Deliveries that were given up: dead letters, which can be retried while their payload is there."""
    bytes: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed(Event):
    """Payloads that every destination has were removed."""

    event = "payloads removed"
    level = "debug"
    outcome: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRebuilt(Event):
    """The queue was lost, and made again from the payloads in the spool, less what the history says."""

    event = "queue rebuilt"
    level = "warning"
    outcome: Mapping[str, int]
    """How many instances were adopted, and how many deliveries are in which state."""
    error: str = ""
    """What else is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTrouble(Event):
    """The history of deliveries cannot be kept; they go on."""

    event = "history in trouble"
    level = "warning"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolTrouble(Event):
    """The spool or the queue cannot do its work."""

    event = "spool in trouble"
    level = "error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFailed(Event):
    """An alert was not taken by those who should be told; it is tried again, and told here once."""

    event = "alert not taken"
    level = "warning"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexpected(Event):
    """A warning of a library: category and place, never its text, which may quote a data set."""

    event = "library warning"
    level = "warning"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect(Event):
    """An error in the router itself ended one association; its type and place, never its text. Please report it."""

    event = "unexpected error"
    level = "error"
    peer: str = ""
    destination: str = ""
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesLost(Event):
    """Lines of the log itself found no room, or could not be written."""

    event = "log lines lost"
    level = "warning"
    error: str
