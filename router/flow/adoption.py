"""Payloads without a row (S3): what a crash left, or all of them, when the queue is lost.

To whom one is owed the routes say, less what the history knows: what was delivered is not sent again, and what was
held, dropped or given up stays so.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import assert_never

from router.dicom import part10, survey
from router.durable.history import Happened, Happening
from router.durable.spool import Spool
from router.flow.intake import Routing
from router.model.delivery import Order, State
from router.model.instance import Arrival
from router.model.transfer_syntax import transfer_syntax
from router.rules.conditions import Subject
from router.rules.routing import Refusal, Unrouted, orders, route

NOWHERE = ""
"""The destination of what no route took."""


def arrival(spool: Spool, path: PurePosixPath, routing: Routing) -> Arrival:
    """What a payload says of itself. Blocking.

    Raises:
        Part10Error: it cannot be adopted; the sentence says why.
        OSError: it cannot be read.
    """
    absolute = spool.absolute(path)
    meta = part10.read_meta(absolute)
    if meta.envelope is None or meta.digest is None:
        raise part10.Part10Error("its head does not say who sent it")
    size = absolute.stat().st_size
    syntax = transfer_syntax(meta.identity.transfer_syntax)
    with absolute.open("rb") as file:

        def read(offset: int, count: int) -> bytes:
            file.seek(meta.header_size + offset)
            return file.read(count)

        found = survey.survey(read, size - meta.header_size, syntax, routing.wanted)
    return Arrival(
        ulid=path.stem,
        path=path,
        envelope=meta.envelope,
        identity=meta.identity,
        size=size,
        header_size=meta.header_size,
        digest=meta.digest,
        study=found.study,
        series=found.series,
        accession_number=found.accession_number,
        patient_id=found.patient_id,
        attributes=found.attributes,
    )


def owed(arrival: Arrival, routing: Routing, latest: Mapping[str, Happening]) -> tuple[Order, ...]:
    """To whom an instance is owed that may have been answered with success: so it is never refused, but held.

    Args:
        arrival: the instance.
        routing: what decides where instances go now.
        latest: what happened to it last, by destination.
    """
    ordered = {} if NOWHERE in latest else _routed(arrival, routing, latest)
    for name, happening in latest.items():
        if happening.what is Happened.MOVED:
            ordered.pop(name, None)
        else:
            ordered[name] = _as_it_stood(ordered.get(name, Order(name)), happening)
    # A history may lack what came after.
    return tuple(ordered.values()) or tuple(_routed(arrival, routing, {}).values())


def _routed(arrival: Arrival, routing: Routing, latest: Mapping[str, Happening]) -> dict[str, Order]:
    decision = route(Subject(arrival.envelope, arrival.identity, arrival.attributes), routing.routes)
    chosen = {
        target.first_of: name
        for target in decision.targets
        for name in target.first_of
        if name in latest and latest[name].what is not Happened.MOVED
    }
    ordered = orders(
        decision,
        destinations=routing.destinations,
        unrouted=Unrouted.HOLD if routing.unrouted is Unrouted.REFUSE else routing.unrouted,
        envelope=arrival.envelope,
        chosen=chosen,
    )
    assert not isinstance(ordered, Refusal), "what is adopted is held, never refused"
    return {order.destination: order for order in ordered}


def _as_it_stood(order: Order, happening: Happening) -> Order:
    match happening.what:
        case Happened.QUEUED | Happened.DEFERRED | Happened.RESUMED | Happened.MOVED:
            return replace(order, state=State.QUEUED, cause=None, error="")
        case Happened.HELD:
            state = State.HELD
        case Happened.DEAD:
            state = State.DEAD
        case Happened.DROPPED:
            state = State.DROPPED
        case Happened.DELIVERED:
            state = State.DELIVERED
        case _:
            assert_never(happening.what)
    return replace(order, state=state, cause=happening.cause, error=happening.error)
