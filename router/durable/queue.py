"""What the rest of the house may ask of a queue; nothing above ``durable`` knows which one runs.

``Queue``, ``Standings`` and ``Capabilities`` are for those who move instances: one writer commits all of them.
``Interventions`` is what operators change, by the same writer; ``Desk`` answers their questions: on a connection of its
own that only reads, in a thread of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from router.model.delivery import Accepted, Claim, Order, Priority, Settlement, Standing, State, Wanted
from router.model.destination import Strategy
from router.model.instance import Arrival, Envelope, Identity
from router.model.outcome import Cause


class QueueError(Exception):
    """The queue could not do what was asked; nothing changed. The sentence says why and what to do."""


class OverQuotaError(QueueError):
    """Every destination of an instance waits with its whole quota, and none gives anything up."""


@dataclass(frozen=True, slots=True)
class Removable:
    """A payload that nobody needs any more (S6)."""

    instance: int
    path: str


class Seen(IntEnum):
    """What was seen of one SOP class in one transfer syntax."""

    REFUSED = 0
    """Its presentation context was refused for good."""
    ACCEPTED = 1
    DISLIKED = 2
    """Its presentation context is accepted, but an instance was refused in it and then stored in another syntax."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What a destination made of one SOP class in one transfer syntax, and when that was learned."""

    seen: Seen
    learned_at: datetime


class Queue(Protocol):
    """The schedule of what is owed to whom."""

    async def accept(self, arrival: Arrival, orders: Sequence[Order]) -> Accepted:
        """S2 → S4 or S5: publish the payload and commit its deliveries; returns once both are on stable storage.

        The terms of the orders are kept in the same commit, so that two at the same moment see each other: what is
        a duplicate becomes dropped, and a ``best_effort`` destination over its quota gives up what waits longest.

        Raises:
            OverQuotaError: every destination is over its quota.
            QueueError: nothing was promised; the payload may be left in S3 and is adopted later.
        """

    async def adopt(self, arrival: Arrival, orders: Sequence[Order]) -> bool:
        """S3 → S4 or S5: commit deliveries for a payload that has no row; False when it has one by now.

        It may have been answered with success: it is neither a duplicate nor over a quota; and it may have been
        delivered or given up, if the queue that knew of it was lost.
        """

    async def claim(self, destination: str, owner: str, wanted: Wanted, now: datetime) -> Claim:
        """What is due for ``destination``, as far as it is wanted; now in flight for ``owner``.

        Instances of one study, and of one series, follow each other.
        """

    async def settle(self, claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        """How claimed deliveries go on, in one commit. Returns how many changed: a stale token changes nothing."""

    async def give_back(self, claim: Claim) -> None:
        """Claimed deliveries that were not tried become due again, uncharged."""

    async def recover(self, owner: str, now: datetime) -> int:
        """After a crash: what was in flight for ``owner`` is queued again. Returns how many."""

    async def next_due(self, destination: str, after: datetime | None = None) -> datetime | None:
        """When the next delivery for ``destination`` is due; None when nothing waits.

        Args:
            destination: by name.
            after: when the caller claimed; what was due by then and was left is for others. None: whatever is due.
        """

    async def changed(self, destination: str) -> None:
        """Wait until something was queued for ``destination`` since this call began (or since it last returned)."""

    async def fail_over(self, destination: str, to: str, since: datetime, limit: int, now: datetime) -> int:
        """Up to ``limit`` of what waits for ``destination``, in trouble ``since`` then, is owed to ``to`` from now on.

        That is what may be owed to either, and has a ``failover_after`` that is over. Returns how many.
        """

    async def remove(self, settled_before: datetime, limit: int) -> Sequence[Removable]:
        """S6 → S1 for up to ``limit`` instances settled before then, in the order that ``router.durable`` demands."""

    async def lose(self, path: str, now: datetime) -> int:
        """S8: the payload at ``path`` is gone or damaged; its open deliveries become dead letters. Returns how many."""


class Standings(Protocol):
    """Which destinations there are, and how they stand; it survives restarts."""

    async def configured(self, destinations: Mapping[str, str | None], now: datetime) -> None:
        """The destinations that exist now, each with the name it was renamed from, if any.

        Deliveries to others become held: destination not configured. Those held so whose name returned are queued.
        """

    async def standing(self, destination: str) -> Standing:
        """How a destination stands, as last stored."""

    async def stand(self, destination: str, standing: Standing, now: datetime) -> None:
        """Store how a destination stands; its working clock runs exactly while ``failures`` is 0 and it is not held."""

    async def paused(self, destination: str) -> bool:
        """Whether an operator paused it."""


class Capabilities(Protocol):
    """What each destination was seen to accept, per (SOP class, transfer syntax); it survives restarts."""

    async def learned(self, destination: str, since: datetime) -> Mapping[tuple[str, str], Capability]:
        """What was learned since then: what is older has expired, and is deleted."""

    async def learn(self, destination: str, news: Mapping[tuple[str, str], Seen], now: datetime) -> None:
        """Each pair was seen so now; it takes the place of what was known of it."""

    async def identify(self, destination: str, address: str) -> None:
        """Where the destination is and what it is called: when that changes, what was learned is forgotten."""


class Interventions(Protocol):
    """What operators do to deliveries and destinations."""

    async def revive(
        self, deliveries: Sequence[int], now: datetime, strategy: Strategy | None = None
    ) -> Mapping[str, int]:
        """Dead, held or waiting deliveries with a configured destination are due now, with fresh counters.

        Args:
            deliveries: by number.
            now: the instant.
            strategy: for these alone, in place of the destination's; None leaves what was chosen before.

        Returns:
            How many, per destination.
        """

    async def hold(self, deliveries: Sequence[int], now: datetime) -> int:
        """Waiting deliveries are kept back until an operator has them sent. Returns how many."""

    async def drop(self, deliveries: Sequence[int], now: datetime) -> int:
        """Waiting, held or dead deliveries are given up for good. Returns how many."""

    async def readdress(self, deliveries: Sequence[int], destination: str, now: datetime) -> int:
        """Waiting, held or dead deliveries are owed to another configured destination instead, due now.

        What was held because no route took it may be given one so. Returns how many.
        """

    async def resend(self, deliveries: Sequence[int], destination: str | None, now: datetime) -> Mapping[str, int]:
        """The instances of these deliveries are owed once more, by new deliveries that are due now.

        Args:
            deliveries: by number; settled ones, while their payload is there.
            destination: to whom; None: to whom each was owed.
            now: the instant.

        Returns:
            How many, per destination.
        """

    async def pause(self, destination: str, now: datetime, *, paused: bool) -> None:
        """Whether an operator keeps everything for a destination back; outlives restarts, stops its working clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which deliveries an operator asks for; None asks for all."""

    destination: str | None = None
    state: State | None = None
    cause: Cause | None = None
    status: int | None = None
    study: str | None = None
    sop_instance: str | None = None
    ulid: str | None = None
    calling_ae_title: str | None = None
    older_than: timedelta | None = None
    after: int = 0
    """Only those with higher numbers: the next page."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivery as an operator sees it."""

    id: int
    ulid: str
    destination: str
    state: State
    cause: Cause | None
    error: str
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    status: int | None
    strategy: str
    transfer_syntax: str
    envelope: Envelope
    identity: Identity
    study: str
    series: str
    priority: Priority
    first_of: tuple[str, ...]
    size: int
    path: str
    error_comment: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many deliveries of one destination are in one state."""

    destination: str
    state: State
    deliveries: int
    size: int
    """Bytes of their payloads."""
    oldest: datetime | None
    """When the oldest was received, of those that an operator or a forwarder still has to do with."""


@dataclass(frozen=True, slots=True)
class CauseTally:
    """How many deliveries are dead or held for one cause."""

    destination: str
    state: State
    cause: Cause | None
    deliveries: int
    size: int
    oldest: datetime
    error: str
    """Of one of them: an example in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyQuery:
    """Which studies an operator asks for; None asks for all."""

    study: str | None = None
    accession_number: str | None = None
    patient_id: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study, of which something is in the spool."""

    study: str
    accession_number: str
    instances: int
    size: int
    first_received: datetime
    last_received: datetime
    deliveries: Mapping[str, Mapping[State, int]]
    """Destination → state → how many."""


class Desk(Protocol):
    """Answers to operators' questions."""

    async def entries(self, query: Query, now: datetime) -> Sequence[Entry]:
        """Matching deliveries, oldest first."""

    async def entry(self, delivery: int) -> Entry | None:
        """One delivery by its number."""

    async def tallies(self) -> Sequence[Tally]:
        """Counts per destination and state, whatever the size of the queue."""

    async def causes(self) -> Sequence[CauseTally]:
        """What is dead or held, by cause; the most first."""

    async def studies(self, query: StudyQuery) -> Sequence[StudySummary]:
        """Matching studies, the latest first."""

    async def paused(self) -> frozenset[str]:
        """Destinations that an operator paused."""

    async def chosen(self, study: str, first_of: Sequence[str]) -> str | None:
        """To which of ``first_of`` the latest instance of a study is owed that may be owed to either."""

    async def learned(self, destination: str) -> Mapping[tuple[str, str], Capability]:
        """What the destination was seen to accept, as (SOP class, transfer syntax)."""

    async def standings(self) -> Mapping[str, Standing]:
        """How each destination stands."""

    async def known(self, ulids: Sequence[str]) -> frozenset[str]:
        """Which of these instances have a row."""

    async def paths(self) -> Sequence[str]:
        """The payload path of every row (for the scan at start)."""
