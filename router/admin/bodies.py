"""What requests may ask and what answers say, as JSON. Names of fields are those of the log lines."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.durable.queue import Entry, Query, Tally
from router.model.delivery import Standing, State
from router.model.outcome import Cause

MOST_LISTED = 1000
MOST_RETRIED = 10_000
HUNDRED_YEARS = 100 * 366 * 86400
"""In seconds: what is older than everything, and still fits a ``datetime``."""

RETRYABLE = (State.DEAD, State.HELD, State.QUEUED)
"""What can be made due now, and in which order."""

DeliveryNumber = Annotated[int, Field(ge=1, lt=1 << 63)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Filters(_Body):
    """Which deliveries are meant; what is left out does not matter."""

    destination: str | None = None
    """Empty: those that no route took."""
    state: State | None = None
    cause: Cause | None = None
    calling_ae_title: str | None = None
    older_than: Annotated[float, Field(ge=0, le=HUNDRED_YEARS, allow_inf_nan=False)] | None = None
    """Seconds since the instance was received."""

    def query(self, limit: int, state: State | None) -> Query:
        """What the desk is asked for up to ``limit`` deliveries in ``state``."""
        return Query(
            destination=self.destination,
            state=state,
            cause=self.cause,
            calling_ae_title=self.calling_ae_title,
            older_than=None if self.older_than is None else timedelta(seconds=self.older_than),
            limit=limit,
        )


class ListRequest(Filters):
    """``GET /api/queue``."""

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 100


class RetryRequest(Filters):
    """``POST /api/queue/retry``: deliveries by number, or those that filters match."""

    deliveries: Annotated[tuple[DeliveryNumber, ...], Field(min_length=1, max_length=MOST_RETRIED)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_RETRIED)] = 1000

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        filters = self.model_fields_set - {"deliveries", "limit"}
        if self.deliveries is None and not filters:
            raise ValueError("name `deliveries` by number, or at least one filter")
        if self.deliveries is not None and filters:
            raise ValueError("`deliveries` and filters exclude each other")
        if self.state is not None and self.state not in RETRYABLE:
            raise ValueError(f"what is {self.state} cannot be retried, only what is {', '.join(RETRYABLE)}")
        return self


class Delivery(_Body):
    """One delivery in a list."""

    delivery: int
    destination: str
    state: State
    cause: Cause | None
    error: str
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
    bytes: int
    calling_ae_title: str
    called_ae_title: str
    peer: str
    association: str
    received_at: datetime
    path: str
    """Of the payload, in the spool."""

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """What is told of ``entry``."""
        return cls.model_validate(_told(entry))


class DeliveryInFull(Delivery):
    """One delivery by itself."""

    error_comment: str
    """The peer's Error Comment (0000,0902): it may carry patient data, and so is in no list."""

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Everything that is known of ``entry``."""
        return cls.model_validate({**_told(entry), "error_comment": entry.error_comment})


def _told(entry: Entry) -> dict[str, object]:
    envelope, identity = entry.envelope, entry.identity
    return {
        "delivery": entry.id,
        "destination": entry.destination,
        "state": entry.state,
        "cause": entry.cause,
        "error": entry.error,
        "attempts": entry.attempts,
        "next_attempt_at": entry.next_attempt_at,
        "last_attempt_at": entry.last_attempt_at,
        "status": None if entry.status is None else f"{entry.status:04X}H",
        "strategy": entry.strategy,
        "transfer_syntax": entry.transfer_syntax,
        "stored_transfer_syntax": identity.transfer_syntax,
        "sop_class": identity.sop_class,
        "instance": identity.sop_instance,
        "study": entry.study,
        "bytes": entry.size,
        "calling_ae_title": envelope.calling_ae_title,
        "called_ae_title": envelope.called_ae_title,
        "peer": f"{envelope.peer_host}:{envelope.peer_port}",
        "association": envelope.association,
        "received_at": envelope.received_at,
        "path": entry.path,
    }


class Listing(_Body):
    """Answer to ``GET /api/queue``: oldest first."""

    deliveries: Sequence[Delivery]
    more: bool
    """Others match too; ask with a higher limit or a narrower filter."""


class Retried(_Body):
    """Answer to ``POST /api/queue/retry``."""

    matched: int
    retried: int
    """Due now. Fewer than matched: the others are unknown, settled, in flight, or have no configured destination."""
    more: bool
    """The limit was reached; ask again for the rest."""


class Amount(_Body):
    """What is in one state."""

    deliveries: int
    bytes: int
    oldest: datetime | None


class DestinationStatus(_Body):
    """How one destination stands, and what there is for it."""

    name: str
    """Empty: what no route took."""
    failures: int
    """In a row; 0: it works."""
    held: bool
    retry_at: datetime | None
    since: datetime | None
    cause: Cause | None
    error: str
    deliveries: Mapping[State, Amount]


class Status(_Body):
    """Answer to ``GET /api/status``."""

    version: str
    destinations: Sequence[DestinationStatus]


def destination_statuses(tallies: Iterable[Tally], standings: Mapping[str, Standing]) -> Sequence[DestinationStatus]:
    """One status for each destination that is configured or that something is kept for, by name."""
    amounts: dict[str, dict[State, Amount]] = {name: {} for name in standings}
    for tally in tallies:
        amount = Amount(deliveries=tally.deliveries, bytes=tally.size, oldest=tally.oldest)
        amounts.setdefault(tally.destination, {})[tally.state] = amount
    return [_status(name, standings.get(name, Standing()), amounts[name]) for name in sorted(amounts)]


def _status(name: str, standing: Standing, deliveries: Mapping[State, Amount]) -> DestinationStatus:
    return DestinationStatus(
        name=name,
        failures=standing.failures,
        held=standing.held,
        retry_at=standing.retry_at,
        since=standing.since,
        cause=standing.cause,
        error=standing.error,
        deliveries=deliveries,
    )


class Reloaded(_Body):
    """Answer to ``POST /api/reload`` when the new configuration is in force."""

    reloaded: bool = True


class Alive(_Body):
    """Answer to ``GET /livez``."""

    alive: bool = True


class Trouble(_Body):
    """Answer to whatever cannot be answered."""

    error: str
    """A sentence."""
    problems: Sequence[str] | None = None
    """Of a configuration that was refused, each with its place."""
