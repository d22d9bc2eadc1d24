"""The rings of the suite: a test belongs to one, they run from the inside out, and each has a budget of time.

Rings, their order and their budgets are the markers of ``pyproject.toml`` that name a budget.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from time import monotonic

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

    def __init__(self, found: list[Ring]) -> None:
        self._rings = found
        self._order = {ring.name: position for position, ring in enumerate(found)}
        self._tests: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def _ring_of(self, item: pytest.Item) -> str | None:
        """The name of the ring that is marked closest to the test: a function's own goes before its module's."""
        return next((mark.name for mark in item.iter_markers() if mark.name in self._order), None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests by ring.

        Raises:
            pytest.UsageError: a test belongs to no ring.
        """
        placed = [(self._ring_of(item), item) for item in items]
        if homeless := dict.fromkeys(item.nodeid.partition("[")[0] for ring, item in placed if ring is None):
            raise pytest.UsageError(f"no ring marker ({', '.join(self._order)}) on: {', '.join(homeless)}")
        items[:] = [item for _, item in sorted(placed, key=lambda pair: self._order[pair[0] or ""])]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure a test together with the fixtures that are made for it."""
        started = monotonic()
        try:
            return (yield)
        finally:
            ring = self._ring_of(item) or ""
            self._tests[ring] += 1
            self._seconds[ring] += monotonic() - started

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
    config.pluginmanager.register(Rings(rings(config)), "rings")
