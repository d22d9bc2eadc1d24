"""The tests that a configuration brings along: instances, and where its routes must lead them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from router.model.instance import Envelope, Identity
from router.rules.conditions import CALLED_AE_TITLE, CALLING_AE_TITLE, OF_IDENTITY, Subject
from router.rules.network import address
from router.rules.routing import Decision, Finding, Routes, route
from router.settings.conditions import PEER, is_keyword
from router.settings.configuration import Configuration
from router.settings.problems import Problem, did_you_mean
from router.settings.routes import UNROUTED, ExpectSection, TargetSection, TestSection
from router.settings.source import Keys, Places

TESTS = "tests"
_OF_ENVELOPE = frozenset({CALLING_AE_TITLE, CALLED_AE_TITLE, PEER})
_SEVERAL = " \\ "
"""Between the values of an attribute, as in DICOM (PS3.5 6.4)."""
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
"""No route asks when an instance came."""


def misspelt(
    tests: Sequence[TestSection], configuration: Configuration, keywords: frozenset[str] | None, places: Places
) -> Iterator[Problem]:
    """What the tests name that there is not.

    Args:
        tests: as written.
        configuration: whose routes and destinations they name.
        keywords: of DICOM; None: only their form is checked.
        places: where the tests stand.
    """
    for position, test in enumerate(tests):
        keys = (TESTS, position)
        for name, values in test.given.items():
            yield from _given(name, values, keywords, (*keys, "given", name), places)
        destinations = [each.name for each in configuration.destinations]
        for which, target in enumerate(test.expect.to or ()):
            for name in target.first_of:
                if name not in destinations:
                    place = _expected(places, keys, "to", which)
                    yield places.problem(place, f"there is no destination {name!r}", did_you_mean(name, destinations))
        routes = [each.name for each in configuration.routes]
        for which, name in enumerate(test.expect.route):
            if name not in routes:
                place = _expected(places, keys, "route", which)
                yield places.problem(place, f"there is no route {name!r}", did_you_mean(name, routes))


def _given(
    name: str, values: Sequence[str], keywords: frozenset[str] | None, keys: Keys, places: Places
) -> Iterator[Problem]:
    if name not in _OF_ENVELOPE:
        if not is_keyword(name, keywords):
            known = _OF_ENVELOPE if keywords is None else keywords | _OF_ENVELOPE
            sentence = "is not a DICOM keyword, nor calling_ae_title, called_ae_title, peer"
            yield places.problem_of_key(keys, sentence, did_you_mean(name, known))
            return
        if name not in OF_IDENTITY:
            return
    if len(values) != 1:
        yield places.problem(keys, "an instance has one value here")
    elif name == PEER and address(values[0]) is None:
        yield places.problem(keys, f"{values[0]!r} is not an address")


def _expected(places: Places, keys: Keys, name: str, which: int) -> Keys:
    """Where an expectation stands, in its short form or its long one."""
    expect = (*keys, "expect")
    short = (*expect, which)
    return short if short in places.values or (*expect, name) not in places.values else (*expect, name, which)


def failures(tests: Sequence[TestSection], configuration: Configuration, places: Places) -> Iterator[Problem]:
    """The tests that fail, each with what was given, expected and found, and with the routes that had a part in it."""
    for position, test in enumerate(tests):
        decision = route(subject_of(test.given, configuration), configuration.routes)
        matched = [finding.route for finding in decision.findings if finding.matched]
        if _holds(test.expect, decision, matched):
            continue
        given = ", ".join(f"{name} {_SEVERAL.join(values)}" for name, values in test.given.items()) or "nothing"
        found = f"{_words(map(str, decision.targets))} by {_routes(matched)}" if matched else UNROUTED
        sentence = f"{test.name or 'the test'} fails: expected {_wanted(test.expect)}; found {found}"
        reasons = _reasons(test.expect, decision.findings, configuration.routes)
        yield places.problem((TESTS, position, "expect"), sentence, "; ".join((f"given {given}", *reasons)))


def subject_of(given: Mapping[str, Sequence[str]], configuration: Configuration) -> Subject:
    """An instance with these values, for routes to be asked about: of keywords, AE titles and the peer."""

    def one(name: str, otherwise: str = "") -> str:
        return next(iter(given.get(name, ())), otherwise)

    titles = configuration.listeners[0].ae_titles or ("",)
    return Subject(
        Envelope(one(CALLING_AE_TITLE), one(CALLED_AE_TITLE, titles[0]), one(PEER), 0, "", _BEFORE_ALL),
        Identity(one("SOPClassUID"), one("SOPInstanceUID"), one("TransferSyntaxUID")),
        {name: tuple(values) for name, values in given.items() if name not in _OF_ENVELOPE},
    )


def _holds(expect: ExpectSection, decision: Decision, matched: Sequence[str]) -> bool:
    found = {target.first_of for target in decision.targets}
    there = expect.to is None or found == {tuple(target.first_of) for target in expect.to}
    return there and set(expect.route) <= set(matched)


def _reasons(expect: ExpectSection, findings: Sequence[Finding], routes: Routes) -> Iterator[str]:
    """Of the routes that lead to what was expected and did not match, or that matched and lead elsewhere."""
    wanted = {tuple(target.first_of) for target in expect.to or ()}
    for finding, each in zip(findings, routes, strict=True):
        to = {target.first_of for target in each.to}
        missed = not finding.matched and (each.name in expect.route or to & wanted)
        strayed = finding.matched and expect.to is not None and to - wanted
        if missed or strayed:
            yield f"{_routes([each.name])} {'matches' if finding.matched else 'does not match'}: {finding.detail}"


def _wanted(expect: ExpectSection) -> str:
    to = None if expect.to is None else _words(map(_target, expect.to))
    by = _routes(expect.route) if expect.route else None
    return " by ".join(part for part in (to, by) if part is not None)


def _target(section: TargetSection) -> str:
    return " or ".join(section.first_of)


def _words(targets: Iterator[str]) -> str:
    return ", ".join(targets) or UNROUTED


def _routes(names: Sequence[str]) -> str:
    return ", ".join(f"route {name!r}" for name in names)
