"""Questions about deliveries, orders for them, and the answers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from router.admin.bodies import Body
from router.admin.waits import Waiting
from router.durable.queue import CauseTally, Entry, Query
from router.model.delivery import State
from router.model.destination import Strategy
from router.model.outcome import Cause
from router.rules.advice import CAUSES

MOST_LISTED = 1000
MOST_CHANGED = 10_000
HUNDRED_YEARS = 100 * 366 * 86400
"""In seconds: what is older than everything, and still fits a ``datetime``."""

DeliveryNumber = Annotated[int, Field(ge=1, lt=1 << 63)]
Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]


class Filters(Body):
    """Which deliveries are meant; what is left out does not matter."""

    destination: str | None = None
    """Empty: those that no route took."""
    state: State | None = None
    status: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{4}[Hh]?$")] | None = None
    """That the peer answered last, in hexadecimal: `C000`, `A700H`."""
    cause: Cause | None = None
    study: Uid | None = None
    """Study Instance UID."""
    instance: Uid | None = None
    """SOP Instance UID."""
    calling_ae_title: str | None = None
    older_than: Annotated[float, Field(ge=0, le=HUNDRED_YEARS, allow_inf_nan=False)] | None = None
    """Seconds since the instance was received."""

    @property
    def filtered(self) -> bool:
        """Whether anything is left out."""
        return any(getattr(self, name) is not None for name in Filters.model_fields)

    def query(self, limit: int, state: State | None, after: int = 0) -> Query:
        """What the desk is asked for up to ``limit`` deliveries in ``state``."""
        return Query(
            destination=self.destination,
            state=state,
            cause=self.cause,
            status=None if self.status is None else int(self.status[:4], 16),
            study=self.study,
            sop_instance=self.instance,
            calling_ae_title=self.calling_ae_title,
            older_than=None if self.older_than is None else timedelta(seconds=self.older_than),
            after=after,
            limit=limit,
        )


class ListRequest(Filters):
    """``GET /api/queue``."""

    after: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Only deliveries with a higher number: the last one of a page gives the next page."""
    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 100


class Order(Filters):
    """An order for deliveries by number, or for those that filters match."""

    suitable: ClassVar[tuple[State, ...]]
    """In which states deliveries may be, and whose turn it is first."""
    verb: ClassVar[str]

    deliveries: Annotated[tuple[DeliveryNumber, ...], Field(min_length=1, max_length=MOST_CHANGED)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_CHANGED)] = 1000
    dry_run: bool = False
    """Only say how many match."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.deliveries is None and not self.filtered:
            raise ValueError("name `deliveries` by number, or at least one filter")
        if self.deliveries is not None and self.filtered:
            raise ValueError("`deliveries` and filters exclude each other")
        if self.state is not None and self.state not in self.suitable:
            raise ValueError(self.unsuitable(self.state))
        return self

    @classmethod
    def unsuitable(cls, state: State) -> str:
        """That the order makes no sense for what is in this state."""
        return f"what is {state} cannot be {cls.verb}, only what is {', '.join(cls.suitable)}"


class RetryRequest(Order):
    """``POST /api/queue/retry``."""

    suitable: ClassVar[tuple[State, ...]] = (State.DEAD, State.HELD, State.QUEUED)
    verb: ClassVar[str] = "retried"

    to: Annotated[str, Field(min_length=1)] | None = None
    """Another destination, which it is owed to from now on."""
    strategy: Strategy | None = None
    """For these alone, in place of the destination's."""


class HoldRequest(Order):
    """``POST /api/queue/hold``."""

    suitable: ClassVar[tuple[State, ...]] = (State.QUEUED,)
    verb: ClassVar[str] = "held"


class ResumeRequest(Order):
    """``POST /api/queue/resume``."""

    suitable: ClassVar[tuple[State, ...]] = (State.HELD,)
    verb: ClassVar[str] = "resumed"


class DropRequest(Order):
    """``POST /api/queue/drop``."""

    suitable: ClassVar[tuple[State, ...]] = (State.DEAD, State.HELD, State.QUEUED)
    verb: ClassVar[str] = "dropped"


class ResendRequest(Order):
    """``POST /api/queue/resend``."""

    suitable: ClassVar[tuple[State, ...]] = (State.DELIVERED, State.DROPPED)
    verb: ClassVar[str] = "resent"

    to: Annotated[str, Field(min_length=1)] | None = None
    """Otherwise to the destination that each was owed to."""


class Changed(Body):
    """What became of an order."""

    matched: int
    changed: int
    """Fewer than matched: the others changed meanwhile, or have no configured destination."""
    more: bool
    """The limit was reached; ask again for the rest."""
    unfit: Sequence[str]
    """Of deliveries named by number: which it makes no sense for, each with the reason."""


class Delivery(Body):
    """One delivery in a list."""

    delivery: int
    ulid: str
    """The name of the instance in the spool, and of its payload."""
    destination: str
    state: State
    cause: Cause | None
    error: str
    waits_for: str
    """While it is queued; otherwise empty."""
    waits_because: str
    waits_until: datetime | None
    """None: until something else happens."""
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    status: str | None
    strategy: str
    transfer_syntax: str
    """As sent; empty before the first attempt."""
    stored_transfer_syntax: str
    sop_class: str
    instance: str
    study: str
    priority: str
    bytes: int
    calling_ae_title: str
    called_ae_title: str
    peer: str
    association: str
    received_at: datetime
    path: str
    """Of the payload, in the spool."""

    @classmethod
    def of(cls, entry: Entry, wait: Waiting | None) -> Self:
        """What is told of ``entry``."""
        return cls.model_validate(_told(entry, wait))


class DeliveryInFull(Delivery):
    """One delivery by itself."""

    error_comment: str
    """The peer's Error Comment (0000,0902): it may carry patient data, and so is in no list, and empty over TCP
    unless `http.show_patient` is true."""

    @classmethod
    def of(cls, entry: Entry, wait: Waiting | None) -> Self:
        """Everything that is known of ``entry``."""
        return cls.model_validate({**_told(entry, wait), "error_comment": entry.error_comment})


def status_text(status: int | None) -> str | None:
    """``C000H``."""
    return None if status is None else f"{status:04X}H"


def _told(entry: Entry, wait: Waiting | None) -> dict[str, object]:
    envelope, identity = entry.envelope, entry.identity
    return {
        "delivery": entry.id,
        "ulid": entry.ulid,
        "destination": entry.destination,
        "state": entry.state,
        "cause": entry.cause,
        "error": entry.error,
        "waits_for": "" if wait is None else wait.reason,
        "waits_because": "" if wait is None else wait.error,
        "waits_until": None if wait is None else wait.until,
        "attempts": entry.attempts,
        "next_attempt_at": entry.next_attempt_at,
        "last_attempt_at": entry.last_attempt_at,
        "status": status_text(entry.status),
        "strategy": entry.strategy,
        "transfer_syntax": entry.transfer_syntax,
        "stored_transfer_syntax": identity.transfer_syntax,
        "sop_class": identity.sop_class,
        "instance": identity.sop_instance,
        "study": entry.study,
        "priority": entry.priority.name.lower(),
        "bytes": entry.size,
        "calling_ae_title": envelope.calling_ae_title,
        "called_ae_title": envelope.called_ae_title,
        "peer": f"{envelope.peer_host}:{envelope.peer_port}",
        "association": envelope.association,
        "received_at": envelope.received_at,
        "path": entry.path,
    }


class Listing(Body):
    """Answer to ``GET /api/queue``: oldest first."""

    deliveries: Sequence[Delivery]
    more: bool
    """Others match too; ask with a higher limit, ``after``, or a narrower filter."""


class CauseStatus(Body):
    """What is dead or held for one cause."""

    destination: str
    state: State
    cause: Cause | None
    deliveries: int
    bytes: int
    oldest: datetime
    error: str
    """Of one of them."""
    meaning: str
    remedy: str
    """What to do."""

    @classmethod
    def of(cls, tally: CauseTally) -> Self:
        """What is told of ``tally``."""
        advice = None if tally.cause is None else CAUSES[tally.cause]
        return cls(
            destination=tally.destination,
            state=tally.state,
            cause=tally.cause,
            deliveries=tally.deliveries,
            bytes=tally.size,
            oldest=tally.oldest,
            error=tally.error,
            meaning="" if advice is None else advice.meaning,
            remedy="" if advice is None else advice.remedy,
        )


class Causes(Body):
    """Answer to ``GET /api/queue/causes``: the most first."""

    causes: Sequence[CauseStatus]
