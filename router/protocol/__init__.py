"""The DICOM protocol without I/O: bytes in, events out (PS3.8 and PS3.7).

An `Acceptor` or a `Requestor` is one end of one association. It owns the buffer that a driver receives into, tells what
the peer did as events, and returns the bytes of whatever is to be sent. Who reads and writes, waits and gives up is the
driver's business: nothing here knows a socket or a clock. Data sets pass through as slices of the receive buffer and of
the caller's memory.

`connection` is the place to begin reading; `states` is the table that it asks; `association`, `assembly` and `dimse`
are what it reads and writes.
"""

from router.protocol.acceptor import Acceptor
from router.protocol.association import APPLICATION_CONTEXT, AssociationRequest, UserIdentity
from router.protocol.connection import Connection
from router.protocol.errors import AbortReason, AbortSource, LocalProtocolError, ProtocolError
from router.protocol.events import (
    Aborted,
    AssociationAccepted,
    AssociationAnnounced,
    AssociationRejected,
    Closed,
    EchoAnswered,
    EchoRequested,
    Event,
    Fragment,
    Paused,
    ReleaseConfirmed,
    ReleaseRequested,
    StoreAnswered,
    StoreRequested,
    UnsupportedCommand,
)
from router.protocol.requestor import Requestor
from router.protocol.states import Role, State

__all__ = [
    "APPLICATION_CONTEXT",
    "AbortReason",
    "AbortSource",
    "Aborted",
    "Acceptor",
    "AssociationAccepted",
    "AssociationAnnounced",
    "AssociationRejected",
    "AssociationRequest",
    "Closed",
    "Connection",
    "EchoAnswered",
    "EchoRequested",
    "Event",
    "Fragment",
    "LocalProtocolError",
    "Paused",
    "ProtocolError",
    "ReleaseConfirmed",
    "ReleaseRequested",
    "Requestor",
    "Role",
    "State",
    "StoreAnswered",
    "StoreRequested",
    "UnsupportedCommand",
    "UserIdentity",
]
