"""Whatever bytes come: what was declared happens, bounded in time, in memory and in what is said."""

import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from random import Random, SystemRandom
from time import monotonic

import pytest

from tests.faults.matrix import ALL
from tests.fuzz import conversations, documents
from tests.fuzz.mutation import LARGEST, mutated
from tests.fuzz.target import CORPUS, Target

pytestmark = [pytest.mark.trust, pytest.mark.timeout(180)]

TARGETS = (*conversations.TARGETS, *documents.TARGETS)
SECONDS = 60.0
"""For each target in ``make faults``."""
SEED = 4711
"""In ``make test`` the same inputs each time: what they break was broken by the change at hand."""
MIB = 1 << 20
KEPT_AT_MOST = 32 * MIB
"""Bytes that one input may cost; ten aliases of ten aliases, and so on, take half of it before they are refused."""

each_target = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@pytest.fixture(autouse=True)
def library_warnings() -> Iterator[None]:
    """What pydicom says about character sets: the daemon logs their category, once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        yield


def test_every_target_has_a_corpus() -> None:
    """And every folder of the corpus a target."""
    assert {path.name for path in CORPUS.iterdir()} == {target.name for target in TARGETS}
    assert all(path.stat().st_size <= LARGEST for target in TARGETS for path in target.files())


@each_target
def test_corpus(target: Target) -> None:
    """What broke something once, or might, costs little memory and breaks nothing."""
    target.run(target.seeds[0])
    tracemalloc.start()
    try:
        for content in (path.read_bytes() for path in target.files()):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            target.run(content)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < KEPT_AT_MOST
    finally:
        tracemalloc.stop()


@pytest.mark.row("C1", "mutated PDUs, command sets, data sets, files and configurations, a minute for each reader")
@each_target
def test_mutants(target: Target, record_property: Callable[[str, object], None]) -> None:
    """None of them breaks anything; and between them they come to many different ends."""
    seed = SystemRandom().getrandbits(32) if ALL else SEED
    print(f"seed {seed}")  # noqa: T201
    chance = Random(seed)
    corpus = target.corpus
    ends: set[str] = set()
    rounds, end = 0, monotonic() + SECONDS
    while monotonic() < end if ALL else rounds < target.rounds:
        ends.add(target.attempt(mutated(chance, corpus, target.words)))
        rounds += 1
    assert len(ends) >= target.variety, "\n".join(sorted(ends))
    record_property("rounds", rounds)
