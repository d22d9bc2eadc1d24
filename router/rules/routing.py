"""Which destinations an instance must reach, and why.

Every route that matches adds its destinations, in order; a route with ``stop`` that matches ends the search.
What a decision becomes in the queue is ``orders``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from router.model.delivery import Order, Priority, State, Terms
from router.model.destination import Destination, Duplicates
from router.model.instance import Envelope
from router.model.outcome import Cause
from router.rules.conditions import AllOf, Condition, Subject, ask, keywords
from router.rules.network import same_host

LOOP_LIMIT = 5
"""How often in an hour the same instance may come from the same sender before it is taken for a loop."""
NOT_AUTHORISED = 0x0124
"""Refused: not authorized (PS3.7 9.1.1.1.9): what an instance gets that no route takes, under ``unrouted: refuse``."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination; or several, of which an instance is owed to the first that works."""

    first_of: tuple[str, ...]
    """By preference; at least one."""
    failover_after: timedelta | None = None
    """When what waits for one in trouble moves on to the next; None: it stays."""

    def __str__(self) -> str:
        return " or ".join(self.first_of)


@dataclass(frozen=True, slots=True)
class Route:
    """What matches ``when`` goes ``to`` these destinations."""

    name: str
    when: Condition
    to: tuple[Target, ...]
    stop: bool = False
    priority: Priority = Priority.NORMAL


class Routes(tuple[Route, ...]):
    """The routes, in order."""

    __slots__ = ()

    @property
    def keywords(self) -> frozenset[str]:
        """The DICOM keywords that the receiver has to read."""
        return frozenset().union(*(keywords(route.when) for route in self))


def everything_to(destination: str) -> Routes:
    """The routes of a configuration that has none, and one destination."""
    return Routes((Route(f"everything to {destination}", AllOf(()), (Target((destination,)),)),))


class Unrouted(StrEnum):
    """What becomes of an instance that no route takes."""

    HOLD = "hold"
    DISCARD = "discard"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one route matched, and why."""

    route: str
    matched: bool
    words: str
    """Names conditions, never values: fit for a log line."""
    detail: str
    """What was wanted and what was found. May hold patient data: for an operator's eyes, never for a log line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an instance goes: each target once, in the order of the routes; and how that came about."""

    targets: Mapping[Target, Priority]
    """With the most urgent priority of the routes that lead there."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The instance is not kept; the C-STORE-RSP has this status."""

    status: int
    sentence: str


def route(subject: Subject, routes: Iterable[Route]) -> Decision:
    """Ask every route, in order, until one that matches says ``stop``."""
    targets: dict[Target, Priority] = {}
    findings: list[Finding] = []
    stopped_by: str | None = None
    for candidate in routes:
        if stopped_by is not None:
            words = f"not asked: route {stopped_by!r} ended the search"
            findings.append(Finding(candidate.name, matched=False, words=words, detail=words))
            continue
        found = ask(candidate.when, subject)
        findings.append(Finding(candidate.name, found.holds, found.words, found.detail))
        if found.holds:
            for target in candidate.to:
                targets[target] = min(candidate.priority, targets.get(target, candidate.priority))
            if candidate.stop:
                stopped_by = candidate.name
    return Decision(targets, tuple(findings))


def orders(
    decision: Decision,
    *,
    destinations: Mapping[str, Destination],
    unrouted: Unrouted,
    envelope: Envelope,
    repeats: int = 0,
    addresses: Mapping[str, frozenset[str]] | None = None,
    chosen: Mapping[tuple[str, ...], str] = MappingProxyType({}),
    in_trouble: frozenset[str] = frozenset(),
) -> tuple[Order, ...] | Refusal:
    """What the queue is told about an instance, or why it is refused.

    Args:
        decision: what the routes said.
        destinations: as configured, by name.
        unrouted: what becomes of an instance that no route takes.
        envelope: who sent it.
        repeats: how often the same instance with the same digest came from the same sender within the last hour,
            without this time.
        addresses: what the names of remote hosts resolve to, as far as known; a name that is missing is compared
            as text.
        chosen: for targets of several destinations, the one that the rest of the study is owed to.
        in_trouble: destinations that do not work now.
    """
    if not decision.targets:
        return _unrouted(unrouted)
    looping = repeats >= LOOP_LIMIT
    resolved = addresses or {}
    ordered: dict[str, Order] = {}
    for target, priority in decision.targets.items():
        others = [name for name in target.first_of if not _returns(destinations.get(name), envelope, resolved)]
        name = chosen.get(target.first_of) or first_that_works(others or target.first_of, in_trouble)
        if name not in ordered or priority < ordered[name].terms.priority:
            destination = destinations.get(name)
            terms = Terms(priority) if destination is None else terms_of(target, destination, priority)
            ordered[name] = _order(name, destination, envelope, resolved, looping, terms)
    return tuple(ordered.values())


def first_that_works(names: Sequence[str], in_trouble: frozenset[str]) -> str:
    """By preference; if none works the first of all, which is waited for."""
    return next((name for name in names if name not in in_trouble), names[0])


def terms_of(target: Target, destination: Destination, priority: Priority) -> Terms:
    """What a target and the destination that was chosen of it ask for."""
    return Terms(
        priority=priority,
        wait_for_quiet=destination.wait_for_quiet,
        once_within=destination.duplicate_window if destination.duplicates is Duplicates.ONCE else None,
        quota=destination.quota,
        best_effort=destination.best_effort,
        first_of=target.first_of if len(target.first_of) > 1 else (),
        failover_after=target.failover_after,
    )


def _unrouted(policy: Unrouted) -> tuple[Order, ...] | Refusal:
    match policy:
        case Unrouted.HOLD:
            return (Order("", State.HELD, Cause.NO_ROUTE, "no route takes this instance"),)
        case Unrouted.DISCARD:
            return (
                Order("", State.DROPPED, Cause.NO_ROUTE, "no route takes this instance, and `unrouted` is discard"),
            )
        case Unrouted.REFUSE:
            return Refusal(NOT_AUTHORISED, "no route takes this instance, and `unrouted` is refuse")
        case _:
            assert_never(policy)


def _order(  # noqa: PLR0917 -- private, called once
    name: str,
    destination: Destination | None,
    envelope: Envelope,
    resolved: Mapping[str, frozenset[str]],
    looping: bool,  # noqa: FBT001 -- private, called once
    terms: Terms,
) -> Order:
    if destination is None:
        return Order(name, State.HELD, Cause.NOT_CONFIGURED, f"destination {name} is not configured", terms)
    if _returns(destination, envelope, resolved):
        sentence = f"{name} is the peer that sent this instance; `allow_return: true` would send it back"
        return Order(name, State.DROPPED, Cause.LOOP, sentence, terms)
    if looping:
        sentence = f"the same instance came from the same sender more than {LOOP_LIMIT} times within an hour"
        return Order(name, State.HELD, Cause.LOOP, sentence, terms)
    return Order(name, terms=terms)


def _returns(destination: Destination | None, envelope: Envelope, resolved: Mapping[str, frozenset[str]]) -> bool:
    """Whether it would go back to the very peer that sent it, who has not asked for that."""
    return destination is not None and not destination.allow_return and _came_from(destination, envelope, resolved)


def _came_from(destination: Destination, envelope: Envelope, resolved: Mapping[str, frozenset[str]]) -> bool:
    hosts = resolved.get(destination.remote_host, frozenset({destination.remote_host}))
    return destination.remote_ae_title == envelope.calling_ae_title and any(
        same_host(host, envelope.peer_host) for host in hosts
    )
