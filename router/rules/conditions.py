"""What a route may ask about an instance: conditions as values, and whether they hold."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import assert_never

from router.model.instance import Attributes, Envelope, Identity
from router.rules.network import Network, within

CALLING_AE_TITLE = "calling_ae_title"
CALLED_AE_TITLE = "called_ae_title"
OF_IDENTITY = frozenset({"SOPClassUID", "SOPInstanceUID", "TransferSyntaxUID"})
"""Keywords that the C-STORE-RQ and its presentation context answer, even if the data set cannot be read."""

_NOT_READ = OF_IDENTITY | {CALLING_AE_TITLE, CALLED_AE_TITLE}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NUMBER_LENGTH = 32
"""Longer than any DS or IS (PS3.5 6.2): a value from a peer must not keep the pattern busy."""
_VALUES_SHOWN = 8
"""A finding shows so many values of an attribute: there may be thousands."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the routes are asked about."""

    envelope: Envelope
    identity: Identity
    attributes: Attributes


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
class Found:
    """Whether a condition holds; what it is about; and the same with values."""

    holds: bool
    words: str
    detail: str


def ask(condition: Condition, subject: Subject) -> Found:
    """Whether a condition holds, and why."""
    match condition:
        case Matches():
            return _ask_values(condition, _values(condition.subject, subject))
        case PeerWithin(networks):
            peer = subject.envelope.peer_host
            holds = within(peer, networks)
            wanted = " or ".join(map(str, networks))
            return Found(holds, _verdict("peer", holds=holds), f"peer: wanted {wanted}, found {peer}")
        case AllOf(conditions):
            found = [ask(each, subject) for each in conditions]
            failing = [each for each in found if not each.holds]
            return _joined(failing or found, holds=not failing)
        case AnyOf(conditions):
            found = [ask(each, subject) for each in conditions]
            holding = [each for each in found if each.holds]
            return _joined(holding or found, holds=bool(holding))
        case Not(inner):
            denied = ask(inner, subject)
            return Found(not denied.holds, f"under not: {denied.words}", f"under not: {denied.detail}")
        case _:
            assert_never(condition)


def _joined(found: list[Found], *, holds: bool) -> Found:
    if not found:
        return Found(holds, "no condition", "no condition")
    return Found(holds, " and ".join(each.words for each in found), " and ".join(each.detail for each in found))


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


def _ask_values(condition: Matches, values: tuple[str, ...]) -> Found:
    name = condition.subject
    wanted = " or ".join(map(str, condition.tests))
    if not values:
        return Found(holds=False, words=f"{name} is absent", detail=f"{name}: wanted {wanted}, absent")
    holds = any(_passes(value, test) for value in values for test in condition.tests)
    found = " \\ ".join(values[:_VALUES_SHOWN]) + (" \\ …" if len(values) > _VALUES_SHOWN else "")
    return Found(holds, _verdict(name, holds=holds), f"{name}: wanted {wanted}, found {found}")


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


def keywords(condition: Condition) -> frozenset[str]:
    """The DICOM keywords that the receiver has to read; what the C-STORE-RQ says anyway is not among them."""
    match condition:
        case Matches(subject):
            return frozenset({subject}) - _NOT_READ
        case PeerWithin():
            return frozenset()
        case AllOf(conditions) | AnyOf(conditions):
            return frozenset[str]().union(*map(keywords, conditions))
        case Not(inner):
            return keywords(inner)
        case _:
            assert_never(condition)
