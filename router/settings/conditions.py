"""``when`` of a route: from what is written to a condition."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.rules.conditions import (
    CALLED_AE_TITLE,
    CALLING_AE_TITLE,
    AllOf,
    AnyOf,
    Between,
    Condition,
    Like,
    Matches,
    Not,
    PeerWithin,
)
from router.rules.network import Network
from router.settings.problems import Problem, did_you_mean
from router.settings.scalars import network
from router.settings.source import Keys, Places

PEER = "peer"
_OWN = frozenset({CALLING_AE_TITLE, CALLED_AE_TITLE, PEER, "not", "any", "all"})
_KEYWORD = re.compile(r"[A-Z][A-Za-z0-9]*", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)


def is_keyword(name: str, keywords: frozenset[str] | None) -> bool:
    """Whether ``name`` is one of ``keywords``; without them, whether it has the form of one."""
    return _KEYWORD.fullmatch(name) is not None if keywords is None else name in keywords


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads conditions, and collects what is wrong with them."""

    places: Places
    keywords: frozenset[str] | None
    """Of DICOM; None: not checked, beyond their form."""
    problems: list[Problem] = field(default_factory=list)

    def all_of(self, written: Any, keys: Keys) -> Condition:
        """A mapping of conditions, each of which must hold."""
        if not isinstance(written, Mapping):
            self._wrong(keys, "keys and values are expected here, such as `Modality: CT`")
            return AllOf(())
        conditions = tuple(self._condition(name, value, (*keys, name)) for name, value in written.items())
        return conditions[0] if len(conditions) == 1 else AllOf(conditions)

    def _condition(self, name: str, written: Any, keys: Keys) -> Condition:
        match name:
            case "not":
                if isinstance(written, list):
                    return Not(AnyOf(self._each(written, keys)))
                return Not(self.all_of(written, keys))
            case "any" | "all":
                if not isinstance(written, list):
                    self._wrong(keys, "a list of conditions is expected here")
                    return AllOf(())
                each = self._each(written, keys)
                return AnyOf(each) if name == "any" else AllOf(each)
            case "peer":
                return PeerWithin(tuple(self._networks(written, keys)))
            case _:
                self._check_name(name, keys)
                return Matches(name, self._tests(written, keys))

    def _each(self, written: list[Any], keys: Keys) -> tuple[Condition, ...]:
        if not written:
            self._wrong(keys, "at least one condition is needed")
        return tuple(self.all_of(each, (*keys, position)) for position, each in enumerate(written))

    def _check_name(self, name: str, keys: Keys) -> None:
        if name in (CALLING_AE_TITLE, CALLED_AE_TITLE):
            return
        known = _OWN if self.keywords is None else self.keywords | _OWN
        if not is_keyword(name, self.keywords):
            sentence = "is not a DICOM keyword, nor calling_ae_title, called_ae_title, peer, not, any, all"
            self.problems.append(self.places.problem_of_key(keys, sentence, did_you_mean(name, known)))

    def _networks(self, written: Any, keys: Keys) -> list[Network]:
        networks: list[Network] = []
        for each, place in self._listed(written, keys):
            try:
                networks.append(network(each))
            except ValueError as error:
                self._wrong(place, str(error))
        return networks

    def _tests(self, written: Any, keys: Keys) -> tuple[Like | Between, ...]:
        return tuple(self._test(each, place) for each, place in self._listed(written, keys))

    def _test(self, written: Any, keys: Keys) -> Like | Between:
        match written:
            case str():
                return Like(written)
            case {}:
                return self._between(written, keys)
            case _:
                self._wrong(keys, "a value, a list of values or a range {from: , to: } is expected here")
                return Like("")

    def _between(self, written: Mapping[str, Any], keys: Keys) -> Between:
        for name in written:
            if name not in ("from", "to"):
                place = (*keys, name)
                self.problems.append(self.places.problem_of_key(place, "a range has the keys from and to only"))
        low, high = (self._end(written.get(name), (*keys, name)) for name in ("from", "to"))
        if low is None and high is None:
            self._wrong(keys, "a range needs an end: from, to, or both")
        elif low is not None and high is not None and low > high:
            self._wrong(keys, "the range is empty: from is greater than to")
        return Between(low, high)

    def _end(self, written: Any, keys: Keys) -> float | None:
        if written is None:
            return None
        text = _DATE.sub(r"\1\2\3", written) if isinstance(written, str) else ""
        if not _NUMBER.fullmatch(text):
            self._wrong(keys, "the end of a range is a number or a date, as 20260131 or 2026-01-31")
            return None
        return float(text)

    def _listed(self, written: Any, keys: Keys) -> list[tuple[Any, Keys]]:
        """Each value with its place; one value alone is a list of one."""
        if not isinstance(written, list):
            return [(written, keys)]
        if not written:
            self._wrong(keys, "at least one value is needed")
        return [(each, (*keys, position)) for position, each in enumerate(written)]

    def _wrong(self, keys: Keys, sentence: str) -> None:
        self.problems.append(self.places.problem(keys, sentence))
