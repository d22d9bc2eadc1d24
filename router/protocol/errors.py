"""What can go wrong on an association: the peer broke the protocol, or we were about to."""

from enum import IntEnum


class AbortSource(IntEnum):
    """Who aborts (PS3.8 Table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Why the service provider aborts (PS3.8 Table 9-26); not significant when the service user does."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


class ProtocolError(Exception):
    """The peer sent what PS3.8 or PS3.7 forbids; the association can only be aborted.

    The sentence is our own: numbers from the peer may be part of it, its texts never are.

    Attributes:
        source: the source for the A-ABORT that answers it.
        reason: the reason for the A-ABORT that answers it.
    """

    def __init__(self, sentence: str, reason: AbortReason, source: AbortSource = AbortSource.SERVICE_PROVIDER) -> None:
        super().__init__(sentence)
        self.source = source
        self.reason = reason


class LocalProtocolError(Exception):
    """Our own side asked for what the state or the Standard does not allow; nothing was changed."""
