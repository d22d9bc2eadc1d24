"""How destinations, listeners and the spool stand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from router.admin.activity import Incoming
from router.admin.bodies import Body
from router.admin.queue_bodies import Uid
from router.durable.queue import Seen
from router.model.delivery import State
from router.model.outcome import Cause
from router.rules.pacing import Pace, Reason, Wait


class DestinationState(StrEnum):
    """How a destination stands, in a word or two."""

    WORKS = "works"
    IN_TROUBLE = "in trouble"
    HELD = "held"
    """Until an administrator changes something."""
    PAUSED = "paused"
    OUTSIDE_WINDOW = "outside its window"
    BANDWIDTH = "bandwidth used up"
    NOT_CONFIGURED = "not configured"
    """Something is kept for a destination of this name."""
    NO_ROUTE = "no route"
    """Stands for what no route took."""


STATES: Mapping[Reason, DestinationState] = {
    Reason.PAUSED: DestinationState.PAUSED,
    Reason.HELD: DestinationState.HELD,
    Reason.IN_TROUBLE: DestinationState.IN_TROUBLE,
    Reason.OUTSIDE_WINDOW: DestinationState.OUTSIDE_WINDOW,
    Reason.BANDWIDTH: DestinationState.BANDWIDTH,
    # One association does not go on; others do.
    Reason.FEWER_ASSOCIATIONS: DestinationState.WORKS,
}


def state_of(pace: Pace) -> DestinationState:
    """What the pace of a destination says."""
    return STATES[pace.reason] if isinstance(pace, Wait) else DestinationState.WORKS


class Amount(Body):
    """What is in one state."""

    deliveries: int
    bytes: int
    oldest: datetime | None
    """When it was received."""


class DestinationStatus(Body):
    """How one destination stands, and what there is for it."""

    name: str
    """Empty: what no route took."""
    state: DestinationState
    until: datetime | None
    """None: it works, or until something else happens."""
    failures: int
    """In a row; 0: it works."""
    held: bool
    retry_at: datetime | None
    since: datetime | None
    cause: Cause | None
    error: str
    deliveries: Mapping[State, Amount]
    waiting: Amount
    """Queued or in flight."""
    associations_open: int
    associations_allowed: int
    """As the configuration says, less what the peer refused lately."""
    per_minute: float
    """Instances, lately."""
    last_success_at: datetime | None
    """Since the daemon started, as are those that follow."""
    last_error: str
    last_error_at: datetime | None


class IncomingAssociation(Body):
    """An association that a modality has open."""

    association: str
    calling_ae_title: str
    called_ae_title: str
    peer: str
    since: datetime
    instances: int
    bytes: int

    @classmethod
    def of(cls, incoming: Incoming) -> Self:
        """What is told of ``incoming``."""
        return cls(
            association=incoming.association,
            calling_ae_title=incoming.calling_ae_title,
            called_ae_title=incoming.called_ae_title,
            peer=incoming.peer,
            since=incoming.since,
            instances=incoming.instances,
            bytes=incoming.bytes,
        )


class SpoolStatus(Body):
    """The disk of the spool."""

    free_bytes: int
    disk_bytes: int
    reserve_bytes: int
    """Below so much free space instances are refused."""


class Status(Body):
    """Answer to ``GET /api/status``."""

    version: str
    destinations: Sequence[DestinationStatus]
    associations: Sequence[IncomingAssociation]
    """Of our listeners, the oldest first."""
    spool: SpoolStatus


class LearnedPair(Body):
    """What a destination made of one SOP class in one transfer syntax."""

    sop_class: str
    transfer_syntax: str
    seen: str
    """accepted, refused, or disliked: its context is accepted, and instances in it were refused."""
    learned_at: datetime


SEEN = {Seen.ACCEPTED: "accepted", Seen.REFUSED: "refused", Seen.DISLIKED: "disliked"}


class DestinationInFull(DestinationStatus):
    """Answer to ``GET /api/destinations/{name}``."""

    remote_ae_title: str
    remote_host: str
    remote_port: int
    local_ae_title: str | None
    transfer_syntax_strategy: str
    tls: bool
    learned: Sequence[LearnedPair]
    minutes: Sequence[int]
    """Instances that it took in each of the last minutes, the latest last."""


class Ordered(Body):
    """What became of an order for a destination."""

    destination: str
    state: DestinationState
    """From now on."""


class Answer(Body):
    """What a peer answered to the presentation context of a pair."""

    sop_class: Uid
    transfer_syntax: Uid
    accepted: bool


class LearnRequest(Body):
    """``POST /api/destinations/{name}/learned``: what a probe found out."""

    remote_ae_title: str
    remote_host: str
    remote_port: int
    """Who was probed: it has to be the destination that the daemon knows by this name."""
    answers: Annotated[tuple[Answer, ...], Field(max_length=5000)]


class Learned(Body):
    """How much was learned."""

    destination: str
    learned: int
