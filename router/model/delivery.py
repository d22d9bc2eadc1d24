"""A delivery: one instance owed to one destination."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from router.model.destination import AssociationPer, Strategy
from router.model.instance import Envelope, Identity
from router.model.outcome import Cause


class State(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    """Owed; due now or at its next attempt."""
    IN_FLIGHT = "in flight"
    """Claimed by a forwarder."""
    HELD = "held"
    """Waits for an operator or a configuration: no route took it, or its destination is not configured."""
    DEAD = "dead"
    """A dead letter: given up, kept, replayable."""
    DELIVERED = "delivered"
    DROPPED = "dropped"
    """Given up for good by an operator or a `discard` rule; recorded."""


OPEN = frozenset({State.QUEUED, State.IN_FLIGHT})
"""A forwarder still has to do with these."""
KEPT = frozenset({State.HELD, State.DEAD})
"""An operator still has to do with these."""
SETTLED = frozenset({State.DELIVERED, State.DROPPED})
"""Nobody needs the payload for these any more."""

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.IN_FLIGHT, State.HELD, State.DROPPED, State.DEAD}),
    State.IN_FLIGHT: frozenset({State.QUEUED, State.DELIVERED, State.DEAD, State.HELD}),
    State.HELD: frozenset({State.QUEUED, State.DROPPED}),
    State.DEAD: frozenset({State.QUEUED, State.DROPPED}),
    State.DELIVERED: frozenset({State.QUEUED}),
    State.DROPPED: frozenset(),
}
"""From where to where; anything else is an error and changes nothing. A delivered instance may be resent."""


class Priority(IntEnum):
    """How urgent a delivery is. Each has its share of a destination, so that none starves another."""

    URGENT = 0
    NORMAL = 1
    BULK = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms an instance is owed: what its route and its destination say."""

    priority: Priority = Priority.NORMAL
    wait_for_quiet: timedelta | None = None
    """It is due when nothing more of its study has arrived for so long."""
    once_within: timedelta | None = None
    """It is dropped if the same bytes under the same SOP Instance UID were accepted for the destination so lately."""
    quota: int | None = None
    """Bytes that may wait for the destination."""
    best_effort: bool = False
    """Over its quota the destination gives up what waits longest; otherwise there is only a warning."""
    first_of: tuple[str, ...] = ()
    """The destinations that it may be owed to in turn, by preference, the one of its order among them."""
    failover_after: timedelta | None = None
    """When what waits for a destination in trouble moves on to another of ``first_of``; None: never."""


@dataclass(frozen=True, slots=True)
class Order:
    """What ``admit`` decided: the instance is owed to ``destination``, or kept for an operator with a cause."""

    destination: str
    """Empty for an instance that no route took."""
    state: State = State.QUEUED
    cause: Cause | None = None
    error: str = ""
    terms: Terms = Terms()


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What a ``best_effort`` destination over its quota gave up: dead letters without a claim on their payloads."""

    destination: str
    deliveries: int
    size: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was committed for an instance."""

    orders: tuple[Order, ...]
    """As ordered, but for duplicates: those became dropped, with the cause."""
    given_up: tuple[GivenUp, ...] = ()
    over_quota: tuple[str, ...] = ()
    """Destinations without ``best_effort`` that wait with more than their quota now."""
    changed_content: bool = False
    """An instance with the same SOP Instance UID and other bytes is in the spool: both are kept and sent."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One instance owed to one destination, as claimed by a forwarder."""

    id: int
    ulid: str
    destination: str
    path: str
    """Of the payload, relative to the spool."""
    envelope: Envelope
    identity: Identity
    size: int
    header_size: int
    digest: str
    study: str
    series: str
    priority: Priority
    strategy: Strategy | None
    """An operator's choice for this delivery, in place of the destination's."""
    attempts: int
    """Attempts that were charged to this delivery so far."""
    tries: int
    """Attempts that a definite refusal used up (section 7: 1 min, 10 min, 1 h, then a dead letter)."""
    uncertain: bool
    """The last attempt ended without an answer: the peer may have the instance (a duplicate answer means delivered)."""
    worked: timedelta
    """How long the destination has worked while this delivery waited: what ``give_up_after`` counts."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one claim may take of what is due."""

    limit: int
    first: Priority = Priority.URGENT
    """Whose turn it is; the others fill what it leaves, the more urgent first."""
    newest: bool = False
    """Begin with what came last, not with what has been due longest."""
    per: AssociationPer = AssociationPer.ANY
    """Only one study or series at once, and none that is in flight for another claim of the destination."""
    only: str | None = None
    """Of this study or series, which an open association is for."""
    without: frozenset[str] = frozenset()
    """Of none of these studies or series: open associations are for them, even if nothing of them is in flight."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that one forwarder may try now; a settlement with a stale token changes nothing."""

    token: int
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one claimed delivery goes on."""

    delivery: int
    state: State
    next_attempt_at: datetime | None = None
    charged: bool = False
    tried: bool = False
    uncertain: bool = False
    cause: Cause | None = None
    error: str = ""
    status: int | None = None
    strategy: str = ""
    transfer_syntax: str = ""
    associations: int = 0
    """Associations tried in this attempt (the record's ``attempts_made``)."""
    error_comment: str = ""
    """The peer's Error Comment (0000,0902), for the operator alone: it may carry patient data."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a destination stands, stored so that a restart changes nothing."""

    failures: int = 0
    """Failures of the destination in a row; 0: it works."""
    retry_at: datetime | None = None
    """Not tried again before; None: at once."""
    held: bool = False
    """An administrator has to change something (AE title unknown, TLS verification): probed slowly, alerted."""
    cause: Cause | None = None
    error: str = ""
    since: datetime | None = None
    """When the trouble began."""
