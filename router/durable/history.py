"""What happened to deliveries: kept beside the queue.

It answers what operators ask, also of what left the queue long ago; and when the queue is lost, it is rebuilt from the
payloads less what the history says. So what keeps an instance back that the routes would send stands here, on stable
storage, before the queue says so: ``promise``. Everything else is written soon after it happened: ``note``. What is
lost of that is sent again.

The daemon does not depend on it: what cannot be written is counted, said in the log, and left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from router.model.outcome import Cause


class Happened(StrEnum):
    """What happened to one delivery. When an instance was received, its ULID says."""

    QUEUED = "queued"
    """Owed to this destination later than at its arrival: it was moved there, or is to be sent once more."""
    DEFERRED = "deferred"
    """An attempt was made, and it will be sent again."""
    DELIVERED = "delivered"
    DEAD = "dead"
    HELD = "held"
    RESUMED = "resumed"
    """No longer held or dead: it is sent now."""
    MOVED = "moved"
    """No longer owed to this destination, but to another."""
    DROPPED = "dropped"


_KEPT_BACK = frozenset({Happened.HELD, Happened.DROPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened to one delivery, with what was known of it then."""

    at: datetime
    what: Happened
    ulid: str
    delivery: int
    """Its number in the queue at that time."""
    destination: str
    """Empty: no route took the instance."""
    sop_class: str
    sop_instance: str
    study: str
    accession_number: str
    """For operators who look for a study; never in a log line."""
    calling_ae_title: str
    size: int
    """Bytes of the payload."""
    stored_transfer_syntax: str
    transfer_syntax: str
    """In which the last attempt sent it, or would have; empty before any. So are the others below."""
    strategy: str
    associations: int
    status: int | None
    cause: Cause | None
    error: str
    error_comment: str = ""
    """The peer's Error Comment (0000,0902): only in a story, because it may carry patient data."""

    @property
    def keeps_back(self) -> bool:
        """Whether a queue that is made again would send what is not to be sent, if it did not know of this.

        What no route took, the routes do not take then either.
        """
        return self.what in _KEPT_BACK and self.cause is not Cause.NO_ROUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which happenings an operator asks for; None asks for all."""

    destination: str | None = None
    study: str | None = None
    accession_number: str | None = None
    what: Happened | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this instant."""
    limit: int = 100


class History(Protocol):
    """What happened to deliveries."""

    def note(self, happenings: Sequence[Happening]) -> None:
        """These happened; in the event loop, and nobody waits for the disk."""

    def promise(self, happenings: Sequence[Happening]) -> None:
        """These are about to be committed; returns when they are on stable storage, or cannot be. Blocks."""

    async def story(self, instance: str, limit: int = 1000) -> Sequence[Happening]:
        """What happened to an instance at all destinations, in order.

        Args:
            instance: its ULID; or a SOP Instance UID, for all that came under it.
            limit: at most so many.
        """

    async def search(self, search: Search) -> Sequence[Happening]:
        """What matches, the latest first."""

    async def latest(self, ulids: Sequence[str]) -> Mapping[str, Mapping[str, Happening]]:
        """Of these instances, ULID → destination → what happened there last."""
