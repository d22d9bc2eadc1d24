"""The rings of the suite: a test belongs to one, they run from the inside out, and each has a budget of time.

Rings, their order and their budgets are the markers of ``pyproject.toml`` that name a budget. With several workers
(``make test`` has two) a ring takes the time of its tests divided by them: none waits for the other between rings.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import pytest

_RING = re.compile(r"(?P<name>\w+): .*\(budget (?P<minutes>\d+):(?P<seconds>\d\d)\)")


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring and its budget in seconds."""

    name: str
    budget: int


def rings(config: pytest.Config) -> list[Ring]:
    """The rings, innermost first."""
    found = (_RING.match(marker) for marker in config.getini("markers"))
    return [Ring(ring["name"], 60 * int(ring["minutes"]) + int(ring["seconds"])) for ring in found if ring]


class Rings:
    """A pytest plugin: sorts the tests into rings and tells at the end how long each ring took."""

    def __init__(self, found: list[Ring], workers: int) -> None:
        self._rings = found
        self._workers = workers
        self._order = {ring.name: position for position, ring in enumerate(found)}
        self._tests: Counter[object] = Counter()
        self._seconds: defaultdict[object, float] = defaultdict(float)

    def _ring_of(self, item: pytest.Item) -> str | None:
        """The name of the ring that is marked closest to the test: a function's own goes before its module's."""
        return next((mark.name for mark in item.iter_markers() if mark.name in self._order), None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests by ring."""
        for item in items:
            item.user_properties.append(("ring", self._ring_of(item)))
        items.sort(key=lambda item: self._order.get(self._ring_of(item) or "", 0))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test that belongs to no ring fails: on a worker that is the way to tell it."""
        if self._ring_of(item) is None:
            pytest.fail(f"no ring marker ({', '.join(self._order)})", pytrace=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a test took together with the fixtures that were made for it, on whichever worker."""
        ring = dict(report.user_properties).get("ring")  # a worker that crashed knows none
        self._tests[ring] += report.when == "setup"
        self._seconds[ring] += report.duration / self._workers

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write one line for each ring."""
        terminalreporter.section("rings")
        for ring in (ring for ring in self._rings if self._tests[ring.name]):
            seconds = self._seconds[ring.name]
            terminalreporter.line(
                f"{ring.name:<12} {self._tests[ring.name]:>5} tests  {seconds:>6.1f} s of {ring.budget:>3} s"
                f"{'  over its budget' if seconds > ring.budget else ''}",
                red=seconds > ring.budget,
            )


def pytest_configure(config: pytest.Config) -> None:
    """Plug the rings in."""
    config.pluginmanager.register(Rings(rings(config), config.getoption("numprocesses", None) or 1), "rings")
