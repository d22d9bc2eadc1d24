"""A delivery: one instance owed to one destination."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Order:
    """What ``admit`` decided: the instance is owed to ``destination``, or kept for an operator with a cause."""

    destination: str
    """Empty for an instance that no route took."""
    state: State = State.QUEUED
    cause: Cause | None = None
    error: str = ""


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
    attempts: int
    """Attempts that were charged to this delivery so far."""
    tries: int
    """Attempts that a definite refusal used up (section 7: 1 min, 10 min, 1 h, then a dead letter)."""
    uncertain: bool
    """The last attempt ended without an answer: the peer may have the instance (a duplicate answer means delivered)."""
    worked: timedelta
    """How long the destination has worked while this delivery waited: what ``give_up_after`` counts."""


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
