"""The speedometer at its smallest scale, so that it does not rot; its figures here mean nothing."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from benchmarks import bare, history, objects, page, peers
from benchmarks.backlog import ACCEPT, CLAIM, COST, Filled
from benchmarks.figures import Figure, Measured, Sample, Table, at_least, below, compete, cpu_at_most
from benchmarks.forward import drained, sent_by_dcmtk
from benchmarks.latency import latencies
from benchmarks.peers import CountingSink, storescp
from benchmarks.program import BROADCAST, FORWARD, Router
from benchmarks.receive import BARE_DISK, DURABLE, FREE, ON_DISK, ON_TMPFS, STORESCP, goals, received_by
from benchmarks.scale import TINY
from benchmarks.senders import DCMSEND, STORESCU
from benchmarks.through import routed

pytestmark = pytest.mark.operate

OBJECTS = 4


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, list[CountingSink]]]:
    """A router with two sinks."""
    folder = tmp_path_factory.mktemp("benchmarks")
    with ExitStack() as ends:
        sinks = [ends.enter_context(CountingSink(folder / f"sink{number}")) for number in range(2)]
        yield ends.enter_context(Router(folder / "router", sinks)), sinks


def test_a_turn_of_every_kind_measures_the_whole_program(
    running: tuple[Router, list[CountingSink]], tmp_path: Path
) -> None:
    """With one of each of the programs that are measured."""
    router, sinks = running
    series = objects.series("MR", tmp_path, OBJECTS)
    with storescp(tmp_path / "storescp") as scp:
        turns = {
            "received over two associations": received_by(router, series, 2),
            "received by DCMTK": received_by(scp, series, 2),
            "drained": drained(router, sinks[0], series),
            "to one": routed(router, sinks[:1], series, FORWARD),
            "to both": routed(router, sinks, series, BROADCAST),
            "sent by dcmsend": sent_by_dcmtk(DCMSEND, sinks[0], series, tmp_path),
            "sent by storescu": sent_by_dcmtk(STORESCU, sinks[0], series, tmp_path),
        }
        samples = {name: turn() for name, turn in turns.items()}
    for sample in samples.values():
        assert sample.objects == OBJECTS
        assert sample.seconds > 0
        assert sample.size == series.size > 32_768
        assert sample.cpu is not None
        assert sample.rss
    received = samples["received over two associations"]
    assert received.anonymous
    assert len(received.responses) == OBJECTS
    assert 0 < min(received.responses) <= max(received.responses) <= received.seconds
    assert router.received() == 0


def test_an_idle_router_adds_something_before_the_first_byte_goes_out(tmp_path: Path) -> None:
    """Seen by the tap."""
    to_request, to_object = latencies(tmp_path / "router", objects.series("MR", tmp_path, 1))
    assert 0 < to_request < to_object


def test_a_backlog_is_filled_with_rows_and_payloads_that_the_queue_takes_for_its_own(tmp_path: Path) -> None:
    """What is written past the queue has to be what it would have written."""
    with Filled(tmp_path / "spool", tmp_path, together=10) as filled:
        for deliveries in (20, 250):
            filled.fill(deliveries)
            assert len(list((tmp_path / "spool").rglob("*.dcm"))) >= deliveries
            with closing(sqlite3.connect(tmp_path / "queue.db")) as queue:
                [queued] = queue.execute("SELECT count(*) FROM delivery WHERE state = 'queued'").fetchone()
            assert queued >= deliveries
            answers = filled.asked()
            assert all(answers[question] > 0 for question in (CLAIM, ACCEPT, COST))


def test_the_bare_machine_and_the_history_are_measured(tmp_path: Path) -> None:
    """They need no router."""
    series = objects.series("MR", tmp_path, OBJECTS)
    assert min(bare.accept(tmp_path / "bare", bare.contents(series), OBJECTS, 2)) > 0
    with peers.tcp_sink() as sink:
        seconds, _ = bare.copy(sink.port, bare.contents(series), OBJECTS, 2)
    assert seconds > 0
    assert len(history.measure(TINY, tmp_path, tmp_path).goals) == 5


def figure(who: str, rate: float, cpu: float = 1.0) -> Figure:
    """Of CT over four associations."""
    return Figure(
        what="CT, 4 associations", who=who, rate=rate, lowest=rate, highest=rate, rounds=5, size=1000, cpu=cpu
    )


def test_a_goal_is_met_at_its_limit_and_missed_beyond() -> None:
    """Ratios and limits."""
    ours = figure("router", 100, cpu=2.0)
    assert at_least("s", ours, "peer", 200, 0.5).met
    assert not at_least("s", ours, "peer", 201, 0.5).met
    assert cpu_at_most("s", ours, figure("peer", 1, cpu=2.0), 1.0).met
    assert not cpu_at_most("s", ours, figure("peer", 1, cpu=1.9), 1.0).met
    assert below("s", "w", 0.99, 1, "ms").met
    assert not below("s", "w", 1, 1, "ms").met


def test_contenders_take_turns_and_the_first_round_is_not_counted() -> None:
    """Every other round runs backwards."""
    called: list[str] = []

    def turn(who: str, seconds: Sequence[float]) -> Callable[[], Sample]:
        left = iter(seconds)

        def take() -> Sample:
            called.append(who)
            return Sample(10, next(left), 1000, cpu=0.02, responses=[0.001, 0.002, 0.003])

        return take

    figures = compete("MR", {"a": turn("a", [99, 1, 2, 5]), "b": turn("b", [99, 4, 4, 4])}, 3)
    assert called == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert (figures["a"].rate, figures["a"].lowest, figures["a"].highest) == (5.0, 2.0, 10.0)
    assert (figures["a"].cpu, figures["a"].p50, figures["a"].p99) == (2.0, 2.0, 3.0)
    assert figures["b"].bandwidth == pytest.approx(0.0025)


@pytest.mark.parametrize(
    ("associations", "durable", "met"), [(1, 45, True), (1, 44, False), (4, 90, True), (4, 89, False)]
)
def test_durable_receiving_is_held_against_what_spool_and_disk_can_do(
    associations: int, durable: float, *, met: bool
) -> None:
    """One after the other for one association, the slower of the two for more."""
    figures = {ON_TMPFS: 100.0, STORESCP: 101.0, ON_DISK: durable, BARE_DISK: 100.0}
    judged = list(goals({who: figure(who, rate) for who, rate in figures.items()}, "CT", associations))
    assert [(goal.subject, goal.met) for goal in judged] == [(FREE, False), (FREE, True), (DURABLE, met)]


def test_the_page_has_every_goal_and_names_each_part_with_its_commit() -> None:
    """From JSON and back: parts are measured at different times."""
    measured = Measured(
        figures=[figure("router", 1234.5)],
        goals=[at_least(FREE, figure("router", 100), STORESCP, 200, 1.0)],
        tables=[Table("A curve", ("", "10"), [("ms", "0.5")])],
        left_out=["No such peer."],
    )
    part = json.loads(json.dumps(page.part(measured, 7)))
    written = page.as_markdown({"machine": "one"}, {"receive": part})
    assert "0 of 1 goals are met." in written
    assert f"| {FREE} | CT, 4 associations | 100/s | storescp --fork: 200/s | 0.50 | ≥ 1 × | **no** |" in written
    assert f"Measured {part['date']} at {part['commit']}, in 7 s." in written
    assert "| CT, 4 associations | router | 1,234 | 1,234–1,234 | 5 | 1.2 |" in written
    assert "| ms | 0.5 |" in written
    assert "- left out: No such peer." in written
    assert "## Where a goal is missed, and why" in written


def test_the_page_is_what_was_measured() -> None:
    """Nobody edits the page by hand."""
    stored = json.loads((page.DOCUMENTS / "performance.json").read_text("utf-8"))
    assert page.as_markdown(stored["circumstances"], stored["parts"]) == (page.DOCUMENTS / "performance.md").read_text(
        "utf-8"
    ), "write it again: python -m benchmarks --page"
