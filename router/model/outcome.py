"""What became of one attempt to send one instance.

As in Postfix only what can be known is concluded: ``Stored`` and ``Refused`` are definite (the peer said so, or we know
that it cannot be sent); everything else, a lost answer included, is ``Deferred``.
"""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why something was not delivered: a closed list, because operators group and filter by it."""

    CONNECT_FAILED = "connect failed"
    NAME_NOT_RESOLVED = "name not resolved"
    TLS_FAILED = "TLS failed"
    TLS_VERIFICATION = "TLS verification failed"
    ASSOCIATION_REJECTED = "association rejected"
    LOCAL_LIMIT = "peer takes no more associations"
    AE_TITLE_UNKNOWN = "AE title unknown to the peer"
    ASSOCIATION_ABORTED = "association aborted before it was accepted"
    ASSOCIATION_TIMEOUT = "no answer to the association request"
    STORE_ABORTED = "association aborted during C-STORE"
    CONNECTION_LOST = "connection lost during C-STORE"
    RESPONSE_TIMEOUT = "no answer to C-STORE"
    PROTOCOL_ERROR = "peer broke the protocol"
    NO_CONTEXT = "no usable presentation context"
    SOP_CLASS_NOT_SUPPORTED = "SOP class not supported"
    OUT_OF_RESOURCES = "peer is out of resources"
    CANNOT_UNDERSTAND = "peer cannot understand the object"
    NOT_AUTHORISED = "not authorised"
    REFUSED = "refused by the peer"
    UNKNOWN_STATUS = "unknown status"
    CANNOT_CONVERT = "cannot be converted"
    CONVERSION_DIED = "conversion died"
    PAYLOAD_DAMAGED = "payload damaged"
    PAYLOAD_MISSING = "payload missing"
    LOCAL_TROUBLE = "trouble on this machine"
    NOT_CONFIGURED = "destination not configured"
    NO_ROUTE = "no route"
    LOOP = "loop"
    DUPLICATE = "duplicate"
    OVER_QUOTA = "over quota"
    LIFETIME_ENDED = "lifetime ended"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Answered:
    """The peer answered the C-STORE-RQ."""

    status: int
    error_comment: str = ""
    """(0000,0902), for the operator alone: it may carry patient data."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There was no answer: the association was not opened or was lost, or the instance cannot be sent."""

    cause: Cause
    error: str
    """One of our own sentences."""


class Scope(StrEnum):
    """How far a failure reaches."""

    INSTANCE = "instance"
    DESTINATION = "destination"
    UNDECIDED = "undecided"
    """A failure during a C-STORE: whose fault it was, the next instance shows."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The peer has the instance."""

    status: int
    already_there: bool = False


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not delivered, or not known to be: it will be sent again."""

    scope: Scope
    cause: Cause
    error: str
    """One of our own sentences; nothing from a peer's Error Comment."""
    status: int | None = None
    hold: bool = False
    """An administrator has to change something: the destination is held and alerted, and probed slowly."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer, or we, will not have this instance as it is."""

    cause: Cause
    error: str
    status: int | None = None
    tries: int = 0
    """How often it is tried again, spaced, before it becomes a dead letter."""
    next_strategy: bool = False
    """Whether another strategy may help (PACS reject a transfer syntax this way)."""


Outcome = Stored | Deferred | Refused
