"""The matrix of loads, faults and bad inputs, for people: a pytest plugin that writes ``docs/reliability.md``.

A test belongs to a row by ``@pytest.mark.row(id, what was done)``, and tells with pytest's ``record_property`` how many
``rounds`` it made (otherwise it is one), how many ``objects`` were answered 0000H in them, and what it ``measured``.
Tests with the same id and text share a row. ``make faults`` runs them all, in full, and writes the table; ``make test``
their short forms, without those that are nothing but a measurement (``@pytest.mark.measurement``).
"""

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- the matrix, written by `make faults` -->", "<!-- end of the matrix -->"

ALL = os.environ.get("DICOM_ROUTER_FAULTS") == "all"


def rounds(short: int, full: int) -> int:
    """How many rounds to make: ``short`` in ``make test``, ``full`` in ``make faults``."""
    return full if ALL else short


@dataclass(slots=True)
class Row:
    """Of the table."""

    id: str
    done: str
    rounds: int = 0
    objects: int = 0
    seconds: float = 0.0
    failed: set[str] = field(default_factory=set)
    """Names of tests."""
    measured: str = ""

    def add(self, report: pytest.TestReport) -> None:
        """One phase of one of its tests."""
        self.seconds += report.duration
        if report.failed:
            self.failed.add(report.nodeid.rpartition("::")[2])
        if report.when == "call":
            told = dict(report.user_properties)
            self.rounds += int(str(told.get("rounds", 1)))
            self.objects += int(str(told.get("objects", 0)))
            self.measured += str(told.get("measured", ""))


class Matrix:
    """Collects the rows."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A phase of a test is over."""
        report = yield
        if (mark := item.get_closest_marker("row")) is not None:
            self._rows.setdefault(mark.args, Row(*mark.args)).add(report)
        return report

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Put the table between the markers of the document, unless somebody chose rows or broke the run off."""
        config = session.config
        chosen = config.args_source is pytest.Config.ArgsSource.ARGS or config.option.keyword
        if chosen or exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return
        before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text("\n".join((before + BEGIN, "", *table(self._rows.values()), "", END + after)), "utf-8")


def table(rows: Iterable[Row]) -> Iterator[str]:
    """As lines of Markdown."""
    yield "| row | what was done | rounds | answered 0000H | lost | time |"
    yield "|---|---|---:|---:|---:|---:|"
    for row in sorted(rows, key=lambda row: (row.id[0], int(row.id[1:]))):
        lost = f"**failed**: {', '.join(sorted(row.failed))}" if row.failed else "0"
        objects = f"{row.objects:,}" if row.objects else ""
        done = f"{row.done}: {row.measured}" if row.measured else row.done
        yield f"| {row.id} | {done} | {row.rounds:,} | {objects} | {lost} | {row.seconds:.0f} s |"


def pytest_configure(config: pytest.Config) -> None:
    """Plug it in."""
    config.addinivalue_line("markers", "row(id, done): the row of docs/reliability.md that a test belongs to")
    config.addinivalue_line("markers", "measurement: of speed; only in `make faults`")
    if ALL:
        config.pluginmanager.register(Matrix(), "matrix")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Speed is measured alone on the machine, in full, or not at all."""
    measurements = [] if ALL else [item for item in items if item.get_closest_marker("measurement")]
    if measurements:
        items[:] = [item for item in items if item not in measurements]
        config.hook.pytest_deselected(items=measurements)
