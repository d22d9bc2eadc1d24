"""Which destinations an instance must reach, and why.

Every route that matches adds its destinations, in order; a route with ``stop`` that matches ends the search.
What a decision becomes in the queue is ``orders``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import assert_never

from router.model.delivery import Order, State
from router.model.destination import Destination
from router.model.instance import Attributes, Envelope, Identity
from router.model.outcome import Cause
from router.rules.network import Network, same_host, within

CALLING_AE_TITLE = "calling_ae_title"
CALLED_AE_TITLE = "called_ae_title"
LOOP_LIMIT = 5
"""How often in an hour the same instance may come from the same sender before it is taken for a loop."""
NOT_AUTHORISED = 0x0124
"""Refused: not authorized (PS3.7 9.1.1.1.9): what an instance gets that no route takes, under ``unrouted: refuse``."""
OF_IDENTITY = frozenset({"SOPClassUID", "SOPInstanceUID", "TransferSyntaxUID"})
"""Keywords that the C-STORE-RQ and its presentation context answer, even if the data set cannot be read."""

_OF_ASSOCIATION = frozenset({CALLING_AE_TITLE, CALLED_AE_TITLE})
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NUMBER_LENGTH = 32
"""Longer than any DS or IS (PS3.5 6.2): a value from a peer must not keep the pattern busy."""
_VALUES_SHOWN = 8
"""A finding shows so many values of an attribute: there may be thousands."""


@dataclass(frozen=True, slots=True)
class Like:
    """The value is ``pattern``, in which ``*`` stands for any characters and ``?`` for one; case counts."""

    pattern: str

    def __str__(self) -> str:
        return self.pattern


@dataclass(frozen=True, slots=True)
class Between:
    """The value is a number, or a date as ``YYYYMMDD``, from ``low`` to ``high``, both included; None: no end."""

    low: float | None
    high: float | None

    def __str__(self) -> str:
        ends = [f"{word} {end:.15g}" for word, end in (("from", self.low), ("to", self.high)) if end is not None]
        return " ".join(ends)


@dataclass(frozen=True, slots=True)
class Matches:
    """One of the values of ``subject`` passes one of the tests.

    ``subject`` is ``calling_ae_title``, ``called_ae_title`` or a DICOM keyword at top level.
    """

    subject: str
    tests: tuple[Like | Between, ...]


@dataclass(frozen=True, slots=True)
class PeerWithin:
    """The peer's address lies in one of ``networks``."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every condition holds; of none, too."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one condition holds."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold: an absent attribute satisfies ``not``."""

    condition: "Condition"


Condition = Matches | PeerWithin | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Route:
    """What matches ``when`` goes ``to`` these destinations."""

    name: str
    when: Condition
    to: tuple[str, ...]
    stop: bool = False


class Routes(tuple[Route, ...]):
    """The routes, in order."""

    __slots__ = ()

    @property
    def keywords(self) -> frozenset[str]:
        """The DICOM keywords that the receiver has to read; what the C-STORE-RQ says anyway is not among them."""
        return frozenset().union(*(_keywords(route.when) for route in self)) - OF_IDENTITY - _OF_ASSOCIATION


def everything_to(destination: str) -> Routes:
    """The routes of a configuration that has none, and one destination."""
    return Routes((Route(f"everything to {destination}", AllOf(()), (destination,)),))


class Unrouted(StrEnum):
    """What becomes of an instance that no route takes."""

    HOLD = "hold"
    DISCARD = "discard"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the routes are asked about."""

    envelope: Envelope
    identity: Identity
    attributes: Attributes


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
    """Where an instance goes: each destination once, in the order of the routes; and how that came about."""

    destinations: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The instance is not kept; the C-STORE-RSP has this status."""

    status: int
    sentence: str


def route(subject: Subject, routes: Iterable[Route]) -> Decision:
    """Ask every route, in order, until one that matches says ``stop``."""
    destinations: dict[str, None] = {}
    findings: list[Finding] = []
    stopped_by: str | None = None
    for candidate in routes:
        if stopped_by is not None:
            words = f"not asked: route {stopped_by!r} ended the search"
            findings.append(Finding(candidate.name, matched=False, words=words, detail=words))
            continue
        found = _ask(candidate.when, subject)
        findings.append(Finding(candidate.name, found.holds, found.words, found.detail))
        if found.holds:
            destinations |= dict.fromkeys(candidate.to)
            if candidate.stop:
                stopped_by = candidate.name
    return Decision(tuple(destinations), tuple(findings))


def orders(
    decision: Decision,
    *,
    destinations: Mapping[str, Destination],
    unrouted: Unrouted,
    envelope: Envelope,
    repeats: int = 0,
    addresses: Mapping[str, frozenset[str]] | None = None,
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
    """
    if not decision.destinations:
        return _unrouted(unrouted)
    looping = repeats >= LOOP_LIMIT
    resolved = addresses or {}
    return tuple(_order(name, destinations.get(name), envelope, resolved, looping) for name in decision.destinations)


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


def _order(
    name: str,
    destination: Destination | None,
    envelope: Envelope,
    resolved: Mapping[str, frozenset[str]],
    looping: bool,  # noqa: FBT001 - private, called once
) -> Order:
    if destination is None:
        return Order(name, State.HELD, Cause.NOT_CONFIGURED, f"destination {name} is not configured")
    if not destination.allow_return and _came_from(destination, envelope, resolved):
        sentence = f"{name} is the peer that sent this instance; `allow_return: true` would send it back"
        return Order(name, State.DROPPED, Cause.LOOP, sentence)
    if looping:
        sentence = f"the same instance came from the same sender more than {LOOP_LIMIT} times within an hour"
        return Order(name, State.HELD, Cause.LOOP, sentence)
    return Order(name)


def _came_from(destination: Destination, envelope: Envelope, resolved: Mapping[str, frozenset[str]]) -> bool:
    hosts = resolved.get(destination.remote_host, frozenset({destination.remote_host}))
    return destination.remote_ae_title == envelope.calling_ae_title and any(
        same_host(host, envelope.peer_host) for host in hosts
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Whether a condition holds; what it is about; and the same with values."""

    holds: bool
    words: str
    detail: str


def _ask(condition: Condition, subject: Subject) -> _Found:
    match condition:
        case Matches():
            return _ask_values(condition, _values(condition.subject, subject))
        case PeerWithin(networks):
            peer = subject.envelope.peer_host
            holds = within(peer, networks)
            wanted = " or ".join(map(str, networks))
            return _Found(holds, _verdict("peer", holds=holds), f"peer: wanted {wanted}, found {peer}")
        case AllOf(conditions):
            found = [_ask(each, subject) for each in conditions]
            failing = [each for each in found if not each.holds]
            return _joined(failing or found, holds=not failing)
        case AnyOf(conditions):
            found = [_ask(each, subject) for each in conditions]
            holding = [each for each in found if each.holds]
            return _joined(holding or found, holds=bool(holding))
        case Not(inner):
            denied = _ask(inner, subject)
            return _Found(not denied.holds, f"under not: {denied.words}", f"under not: {denied.detail}")
        case _:
            assert_never(condition)


def _joined(found: list[_Found], *, holds: bool) -> _Found:
    if not found:
        return _Found(holds, "no condition", "no condition")
    return _Found(holds, " and ".join(each.words for each in found), " and ".join(each.detail for each in found))


def _verdict(name: str, *, holds: bool) -> str:
    return f"{name} matches" if holds else f"{name} does not match"


def _values(name: str, subject: Subject) -> tuple[str, ...]:
    match name:
        case "calling_ae_title":
            return (subject.envelope.calling_ae_title,)
        case "called_ae_title":
            return (subject.envelope.called_ae_title,)
        case "SOPClassUID":
            return (subject.identity.sop_class,)
        case "SOPInstanceUID":
            return (subject.identity.sop_instance,)
        case "TransferSyntaxUID":
            return (subject.identity.transfer_syntax,)
        case _:
            return subject.attributes.get(name, ())


def _ask_values(condition: Matches, values: tuple[str, ...]) -> _Found:
    name = condition.subject
    wanted = " or ".join(map(str, condition.tests))
    if not values:
        return _Found(holds=False, words=f"{name} is absent", detail=f"{name}: wanted {wanted}, absent")
    holds = any(_passes(value, test) for value in values for test in condition.tests)
    found = " \\ ".join(values[:_VALUES_SHOWN]) + (" \\ …" if len(values) > _VALUES_SHOWN else "")
    return _Found(holds, _verdict(name, holds=holds), f"{name}: wanted {wanted}, found {found}")


def _passes(value: str, test: Like | Between) -> bool:
    match test:
        case Like(pattern):
            # fnmatch knows character classes too; here a bracket is a bracket.
            return fnmatchcase(value, pattern.replace("[", "[[]"))
        case Between(low, high):
            number = _number(value)
            return number is not None and (low is None or low <= number) and (high is None or number <= high)
        case _:
            assert_never(test)


def _number(value: str) -> float | None:
    text = value.strip()
    return float(text) if len(text) <= _NUMBER_LENGTH and _NUMBER.fullmatch(text) else None


def _keywords(condition: Condition) -> frozenset[str]:
    match condition:
        case Matches(subject):
            return frozenset({subject})
        case PeerWithin():
            return frozenset()
        case AllOf(conditions) | AnyOf(conditions):
            return frozenset[str]().union(*map(_keywords, conditions))
        case Not(inner):
            return _keywords(inner)
        case _:
            assert_never(condition)
