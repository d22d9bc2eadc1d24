"""On which terms an instance is accepted, and the rows that say so: inside the one transaction that promises it.

What arrives at the same moment is admitted in turn in one transaction, so each sees those before it. Only the check
against quotas that refuses an instance comes before that, because it must come before the payload is published (a
payload that was refused must not be found and adopted later): together, the instances of one batch may exceed a quota.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import assert_never

from router.durable.queue import OverQuotaError, QueueError
from router.durable.values import NOT_YET, duration_or_none, json_list, micros, statements
from router.model.delivery import SETTLED, Accepted, GivenUp, Order, State
from router.model.instance import Arrival
from router.model.outcome import Cause
from router.rules.quota import Exceeds, Fits, GiveUp, GiveUpItself, Load, Verdict, judge

BEGINNINGS = frozenset({State.QUEUED, State.HELD, State.DROPPED})
ENDS = frozenset({State.DELIVERED, State.DEAD})

_SQL = statements("queue.sql")
_DUPLICATE = "the same bytes under this SOP Instance UID were accepted for the destination before, not long ago"
_GIVEN_UP = "the destination is over its quota and gave this up: it can be sent again while its payload is there"


def check_orders(orders: Sequence[Order], *, of_old: bool = False) -> None:
    """Whether an instance may be accepted with these.

    Args:
        orders: to whom it is owed.
        of_old: whether some of that may have come to its end before, in a queue that was lost.

    Raises:
        QueueError: they make no sense.
    """
    if not orders:
        raise QueueError("an instance without an order would be removed at once: hold it, or record it as dropped")
    for order in orders:
        if order.state not in (BEGINNINGS | ENDS if of_old else BEGINNINGS):
            raise QueueError(f"an order cannot begin {order.state}")


def check_quotas(connection: sqlite3.Connection, arrival: Arrival, orders: Sequence[Order], now: datetime) -> None:
    """Whether some destination has room for an instance.

    Raises:
        OverQuotaError: none has.
    """
    owed = [order for order in _without_duplicates(connection, arrival, orders, now) if order.state is State.QUEUED]
    if owed and all(isinstance(_verdict(connection, arrival, order), Exceeds) for order in owed):
        names = ", ".join(sorted({order.destination for order in owed}))
        raise OverQuotaError(
            f"no destination has room for another instance: {names} would be over its quota. See why it does not "
            "take what waits, or raise the quota"
        )


def admit(connection: sqlite3.Connection, arrival: Arrival, orders: Sequence[Order], now: datetime) -> Accepted:
    """Insert an instance and its deliveries, on the terms of its orders."""
    planned = _without_duplicates(connection, arrival, orders, now)
    instance, changed_content = _insert_instance(connection, arrival)
    inserted: list[Order] = []
    given_up: list[GivenUp] = []
    over_quota: list[str] = []
    for order in planned:
        verdict = _verdict(connection, arrival, order)
        match verdict:
            case Fits():
                inserted.append(order)
            case Exceeds():
                over_quota.append(order.destination)
                inserted.append(order)
            case GiveUp(size):
                given_up.append(_give_up(connection, order.destination, size, now))
                inserted.append(order)
            case GiveUpItself():
                given_up.append(GivenUp(order.destination, 1, arrival.size))
                inserted.append(replace(order, state=State.DEAD, cause=Cause.OVER_QUOTA, error=_GIVEN_UP))
            case _:
                assert_never(verdict)
        _insert_delivery(connection, arrival, instance, inserted[-1], now)
    _stamp(connection, instance, inserted, now)
    return Accepted(tuple(inserted), tuple(given_up), tuple(over_quota), changed_content)


def insert(connection: sqlite3.Connection, arrival: Arrival, orders: Sequence[Order], now: datetime) -> None:
    """Insert an instance that may have been answered for: it is neither a duplicate nor over a quota."""
    instance, _ = _insert_instance(connection, arrival)
    for order in orders:
        _insert_delivery(connection, arrival, instance, order, now)
    _stamp(connection, instance, orders, now)


def _without_duplicates(
    connection: sqlite3.Connection, arrival: Arrival, orders: Sequence[Order], now: datetime
) -> Sequence[Order]:
    def planned(order: Order) -> Order:
        if order.state is not State.QUEUED or order.terms.once_within is None:
            return order
        wanted = {
            "sop_instance": arrival.identity.sop_instance,
            "digest": arrival.digest,
            "transfer_syntax": arrival.identity.transfer_syntax,
            "destination": order.destination,
            "since": micros(now - order.terms.once_within),
        }
        if connection.execute(_SQL["accepted_before"], wanted).fetchone() is None:
            return order
        return replace(order, state=State.DROPPED, cause=Cause.DUPLICATE, error=_DUPLICATE)

    return [planned(order) for order in orders]


def _verdict(connection: sqlite3.Connection, arrival: Arrival, order: Order) -> Verdict:
    terms = order.terms
    if order.state is not State.QUEUED or terms.quota is None:
        return Fits()
    load = Load(*connection.execute(_SQL["load"], {"destination": order.destination}).fetchone())
    return judge(load, arrival.size, terms.quota, best_effort=terms.best_effort)


def _give_up(connection: sqlite3.Connection, destination: str, size: int, now: datetime) -> GivenUp:
    """Give up claims on at least ``size`` bytes, which there are: of dead letters, then of what waits; oldest first."""
    wanted = {"destination": destination}
    waiting = chain(connection.execute(_SQL["dead_kept"], wanted), connection.execute(_SQL["oldest_queued"], wanted))
    # All are found before the first is changed: what a cursor sees of a table that changes is not defined.
    victims: list[sqlite3.Row] = []
    freed = 0
    while freed < size:
        victims.append(next(waiting))
        freed += victims[-1]["size"]
    for victim in victims:
        values = {"delivery": victim["id"], "cause": Cause.OVER_QUOTA, "error": _GIVEN_UP}
        # A dead letter keeps the cause that it died of.
        connection.execute(_SQL["give_up_claim" if victim["state"] == State.DEAD else "give_up"], values)
        connection.execute(_SQL["stamp_settled"], {"instance": victim["instance"], "now": micros(now)})
    return GivenUp(destination, len(victims), freed)


def _insert_instance(connection: sqlite3.Connection, arrival: Arrival) -> tuple[int, bool]:
    """Its number, and whether another content has the same SOP Instance UID."""
    # Written out: `dataclasses.asdict` copies deeply, which costs a tenth of receiving a small object.
    envelope, identity = arrival.envelope, arrival.identity
    values = {
        "calling_ae_title": envelope.calling_ae_title,
        "called_ae_title": envelope.called_ae_title,
        "peer_host": envelope.peer_host,
        "peer_port": envelope.peer_port,
        "association": envelope.association,
        "received_at": micros(envelope.received_at),
        "sop_class": identity.sop_class,
        "sop_instance": identity.sop_instance,
        "transfer_syntax": identity.transfer_syntax,
        "ulid": arrival.ulid,
        "path": arrival.path.as_posix(),
        "study": arrival.study,
        "series": arrival.series,
        "accession_number": arrival.accession_number,
        "patient_id": arrival.patient_id,
        "size": arrival.size,
        "header_size": arrival.header_size,
        "digest": arrival.digest,
    }
    series, changed_content = connection.execute(_SQL["known_of"], values).fetchone()
    values["series_id"] = series or connection.execute(_SQL["insert_series"], values).lastrowid
    instance = connection.execute(_SQL["insert_instance"], values).lastrowid
    assert instance is not None
    return instance, bool(changed_content)


def _insert_delivery(
    connection: sqlite3.Connection, arrival: Arrival, instance: int, order: Order, now: datetime
) -> None:
    terms = order.terms
    # An adopted instance goes before those that came later; a clock that was set back delays nothing.
    due = micros(min(arrival.envelope.received_at, now))
    if order.state is State.QUEUED and terms.wait_for_quiet is not None and arrival.study:
        due = NOT_YET
        until = micros(now + terms.wait_for_quiet)
        quiet = {"destination": order.destination, "study": arrival.study, "until": until}
        connection.execute(_SQL["await_quiet"], quiet)
    values = {
        "instance": instance,
        "destination": order.destination,
        "state": order.state,
        "kept": order.state is not State.DEAD or order.cause is not Cause.OVER_QUOTA,
        "size": arrival.size,
        "priority": terms.priority,
        "first_of": json_list(terms.first_of),
        "failover_after": duration_or_none(terms.failover_after),
        "cause": order.cause,
        "error": order.error,
        "due": due,
        "now": micros(now),
    }
    connection.execute(_SQL["insert_delivery"], values)


def _stamp(connection: sqlite3.Connection, instance: int, orders: Sequence[Order], now: datetime) -> None:
    """What nobody has a claim on may go (S6)."""
    if {order.state for order in orders} <= SETTLED | {State.DEAD}:
        connection.execute(_SQL["stamp_settled"], {"instance": instance, "now": micros(now)})
