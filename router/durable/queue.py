"""What the rest of the house may ask of a queue; nothing above ``durable`` knows which one runs.

``Queue`` is for those who move instances, ``Desk`` for operators' questions: on a connection of its own that
only reads, in a thread of its own, never on the writer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

from router.model.delivery import Claim, Order, Settlement, Standing, State
from router.model.instance import Arrival, Envelope, Identity
from router.model.outcome import Cause


class QueueError(Exception):
    """The queue could not do what was asked; nothing changed. The sentence says why and what to do."""


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

    async def accept(self, arrival: Arrival, orders: Sequence[Order]) -> None:
        """S2 → S4 or S5: publish the payload and commit its deliveries; returns once both are on stable storage.

        Raises:
            QueueError: nothing was promised; the payload may be left in S3 and is adopted later.
        """

    async def adopt(self, arrival: Arrival, orders: Sequence[Order]) -> bool:
        """S3 → S4 or S5: commit deliveries for a payload that has no row; False when it has one by now."""

    async def claim(self, destination: str, owner: str, limit: int, now: datetime) -> Claim:
        """Up to ``limit`` deliveries that are due for ``destination``, oldest first, now in flight for ``owner``."""

    async def settle(self, claim: Claim, settlements: Sequence[Settlement], now: datetime) -> int:
        """How claimed deliveries go on, in one commit. Returns how many changed: a stale token changes nothing."""

    async def give_back(self, claim: Claim) -> None:
        """Claimed deliveries that were not tried become due again, uncharged."""

    async def recover(self, owner: str, now: datetime) -> int:
        """After a crash: what was in flight for ``owner`` is queued again. Returns how many."""

    async def next_due(self, destination: str) -> datetime | None:
        """When the next delivery for ``destination`` is due; None when nothing waits."""

    async def changed(self, destination: str) -> None:
        """Wait until something was queued for ``destination`` since this call began (or since it last returned)."""

    async def configured(self, destinations: Mapping[str, str | None], now: datetime) -> None:
        """The destinations that exist now, each with the name it was renamed from, if any.

        Deliveries to others become held: destination not configured. Those held so whose name returned are queued.
        """

    async def standing(self, destination: str) -> Standing:
        """How a destination stands, as last stored."""

    async def stand(self, destination: str, standing: Standing, now: datetime) -> None:
        """Store how a destination stands; its working clock runs exactly while ``failures`` is 0 and it is not held."""

    async def revive(self, deliveries: Sequence[int], now: datetime) -> int:
        """Dead, held (with a destination) or waiting deliveries are due now, with fresh counters. Returns how many."""

    async def remove(self, settled_before: datetime, limit: int) -> Sequence[Removable]:
        """S6 → S1 for up to ``limit`` instances settled before then, in the order that ``router.durable`` demands."""

    async def lose(self, path: str, now: datetime) -> int:
        """S8: the payload at ``path`` is gone or damaged; its open deliveries become dead letters. Returns how many."""


class Capabilities(Protocol):
    """What each destination was seen to accept, per (SOP class, transfer syntax); it survives restarts."""

    async def learned(self, destination: str, since: datetime) -> Mapping[tuple[str, str], Capability]:
        """What was learned since then: what is older has expired."""

    async def learn(self, destination: str, news: Mapping[tuple[str, str], Seen], now: datetime) -> None:
        """Each pair was seen so now; it takes the place of what was known of it."""

    async def identify(self, destination: str, address: str) -> None:
        """Where the destination is and what it is called: when that changes, what was learned is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which deliveries an operator asks for; None asks for all."""

    destination: str | None = None
    state: State | None = None
    cause: Cause | None = None
    calling_ae_title: str | None = None
    older_than: timedelta | None = None
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
    size: int
    path: str
    error_comment: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many deliveries of one destination are in one state, and since when the oldest waits."""

    destination: str
    state: State
    deliveries: int
    size: int
    oldest: datetime | None


class Desk(Protocol):
    """Answers to operators' questions."""

    async def entries(self, query: Query, now: datetime) -> Sequence[Entry]:
        """Matching deliveries, oldest first."""

    async def entry(self, delivery: int) -> Entry | None:
        """One delivery by its number."""

    async def tallies(self) -> Sequence[Tally]:
        """Counts per destination and state."""

    async def standings(self) -> Mapping[str, Standing]:
        """How each destination stands."""

    async def known(self, ulids: Sequence[str]) -> frozenset[str]:
        """Which of these instances have a row."""

    async def paths(self) -> Sequence[str]:
        """The payload path of every row (for the scan at start)."""
