"""What the peer did, as plain values."""

from dataclasses import dataclass
from typing import TypeAlias

from router.model.presentation_context import AnsweredContext


@dataclass(frozen=True, slots=True)
class AssociationAnnounced:
    r"""A complete A-ASSOCIATE-RQ arrived; only its fixed fields have been looked at.

    The AE titles are free of padding; characters that are not printable ASCII are escaped (`\x1b`).
    """

    calling_ae_title: str
    called_ae_title: str
    size: int
    """Bytes of the whole PDU: what `Acceptor.request` will have to decode."""


@dataclass(frozen=True, slots=True)
class AssociationAccepted:
    """An A-ASSOCIATE-AC arrived: one answer for each presentation context that was proposed, in that order."""

    contexts: tuple[AnsweredContext, ...]
    maximum_length: int
    implementation_class_uid: str
    implementation_version_name: str


@dataclass(frozen=True, slots=True)
class AssociationRejected:
    """An A-ASSOCIATE-RJ arrived, with the numbers of PS3.8 Table 9-21."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class StoreRequested:
    """The command of a C-STORE-RQ is complete (PS3.7 9.3.1.1); the fragments of its data set follow."""

    context_id: int
    message_id: int
    sop_class: str
    sop_instance: str
    priority: int = 0
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None


@dataclass(frozen=True, slots=True)
class EchoRequested:
    """A C-ECHO-RQ (PS3.7 9.3.5.1)."""

    context_id: int
    message_id: int
    sop_class: str


@dataclass(frozen=True, slots=True)
class UnsupportedCommand:
    """Any other request; the data set that may come with it is skipped.

    `sop_class` and `sop_instance` are the affected or the requested ones, if the request names them.
    """

    context_id: int
    message_id: int
    command_field: int
    sop_class: str | None = None
    sop_instance: str | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a data set, within the receive buffer. `last` ends the data set."""

    context_id: int
    content: memoryview
    last: bool


@dataclass(frozen=True, slots=True)
class StoreAnswered:
    """A C-STORE-RSP (PS3.7 9.3.1.2). The Error Comment may carry patient data."""

    context_id: int
    message_id: int
    status: int
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()
    """Tags as numbers, group in the upper half."""


@dataclass(frozen=True, slots=True)
class EchoAnswered:
    """A C-ECHO-RSP (PS3.7 9.3.5.2)."""

    message_id: int
    status: int


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """The peer wants the association to end, and `confirm_release` may now be called."""


@dataclass(frozen=True, slots=True)
class ReleaseConfirmed:
    """The peer agreed to our release; the transport connection is ours to close."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The peer aborted, with the numbers of PS3.8 Table 9-26; the transport connection is ours to close."""

    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer closed the transport connection."""


@dataclass(frozen=True, slots=True)
class Paused:
    """So many values were read at a stretch that others should have their turn before the next event is asked for."""


Event: TypeAlias = (
    AssociationAnnounced
    | AssociationAccepted
    | AssociationRejected
    | StoreRequested
    | EchoRequested
    | UnsupportedCommand
    | Fragment
    | StoreAnswered
    | EchoAnswered
    | ReleaseRequested
    | ReleaseConfirmed
    | Aborted
    | Closed
    | Paused
)
"""Everything that `next_event` can return."""
