"""How many contexts a peer takes, and what is recommended for it."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.destination import Strategy
from router.model.presentation_context import MAXIMUM_CONTEXTS, ContextResult
from router.model.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    RLE_LOSSLESS,
)
from router.rules.negotiation import STRATEGIES, Pair
from router.rules.probing import (
    COMMON_SOP_CLASSES,
    COMMON_TRANSFER_SYNTAXES,
    Appetite,
    contexts_for,
    pairs_of,
    recommend,
)

pytestmark = pytest.mark.unit

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def answers(*accepted: str, otherwise: int = 4) -> Mapping[Pair, ContextResult]:
    """For CT."""
    return {(CT, syntax): ContextResult(0 if syntax in accepted else otherwise) for syntax in COMMON_TRANSFER_SYNTAXES}


def test_every_pair_is_asked_once_the_most_important_first() -> None:
    """All that the strategies but ``extended`` propose; the universal one for all classes before any other."""
    pairs = pairs_of([*COMMON_SOP_CLASSES, CT])
    assert len(pairs) == len(set(pairs)) == len(COMMON_SOP_CLASSES) * len(COMMON_TRANSFER_SYNTAXES)
    assert {syntax for _, syntax in pairs[: len(COMMON_SOP_CLASSES)]} == {IMPLICIT_VR_LITTLE_ENDIAN}
    for strategy in set(Strategy) - {Strategy.EXTENDED, Strategy.LISTED}:
        assert set(STRATEGIES[strategy]) <= set(COMMON_TRANSFER_SYNTAXES)


def test_contexts_have_odd_identifiers_and_one_transfer_syntax() -> None:
    """As PS3.8 wants it, up to 128 of them."""
    contexts = contexts_for(pairs_of(COMMON_SOP_CLASSES)[:MAXIMUM_CONTEXTS])
    assert [context.id for context in contexts] == list(range(1, 256, 2))
    assert {len(context.transfer_syntaxes) for context in contexts} == {1}


@given(st.integers(1, MAXIMUM_CONTEXTS))
def test_the_number_that_a_peer_takes_is_found(limit: int) -> None:
    """By bisection, in 8 proposals at most; then that number is proposed."""
    appetite = Appetite()
    for _ in range(8):
        appetite = appetite.after(appetite.next, taken=appetite.next <= limit)
    assert (appetite.took, appetite.next) == (limit, limit)
    assert appetite.limited == (limit < MAXIMUM_CONTEXTS)


def test_a_number_that_was_taken_and_is_refused_now_is_searched_below() -> None:
    """The search ends at one, whatever the peer does."""
    appetite = Appetite().after(128, taken=False).after(64, taken=True).after(64, taken=False)
    assert appetite.took == 0
    while appetite.next > 1:
        appetite = appetite.after(appetite.next, taken=False)
    assert appetite == Appetite(0, 2)


@pytest.mark.parametrize(
    ("accepted", "strategy"),
    [
        (COMMON_TRANSFER_SYNTAXES, Strategy.EXTENDED),
        ([IMPLICIT_VR_LITTLE_ENDIAN], Strategy.UNIVERSAL),
        ([IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN], Strategy.CONSERVATIVE),
        ([EXPLICIT_VR_BIG_ENDIAN], Strategy.STANDARD),
        ([JPEG_2000_LOSSLESS], Strategy.COMPRESSION),
        ([RLE_LOSSLESS], Strategy.COMPRESSION),
        ([JPEG_BASELINE], Strategy.EXTENDED),
        ([], None),
    ],
)
def test_the_least_strategy_that_proposes_all_that_is_accepted(
    accepted: Iterable[str], strategy: Strategy | None
) -> None:
    """None if nothing is."""
    assert recommend(answers(*accepted), (), Appetite()).strategy is strategy


@pytest.mark.parametrize(
    ("takes", "accepted", "strategy"),
    [
        (100, COMMON_TRANSFER_SYNTAXES, Strategy.EXTENDED),
        (33, COMMON_TRANSFER_SYNTAXES, Strategy.COMPRESSION),
        (32, COMMON_TRANSFER_SYNTAXES, Strategy.CONSERVATIVE),
        (12, [EXPLICIT_VR_BIG_ENDIAN], Strategy.STANDARD),
        (9, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN], Strategy.CONSERVATIVE),
        (8, [IMPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS], Strategy.UNIVERSAL),
        (2, [IMPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS], Strategy.UNIVERSAL),
        (2, [EXPLICIT_VR_LITTLE_ENDIAN], Strategy.CONSERVATIVE),
        (2, [RLE_LOSSLESS], Strategy.COMPRESSION),
    ],
)
def test_a_peer_that_takes_few_contexts_gets_the_richest_strategy_that_fits(
    takes: int, accepted: Iterable[str], strategy: Strategy
) -> None:
    """A limit that nobody comes near changes nothing; where none fits, what reaches anything with the fewest."""
    found = recommend(answers(*accepted), (), Appetite(takes, takes + 1))
    assert found.strategy is strategy


def test_why_a_lesser_strategy_is_recommended() -> None:
    """The numbers that were found, and what the strategy needs."""
    words = recommend(answers(*COMMON_TRANSFER_SYNTAXES), (), Appetite(10, 11)).words
    assert words == (
        "the peer took 10 at once and refused 11 presentation contexts; 'conservative' needs 9 for 4 SOP classes"
    )
    words = recommend(answers(RLE_LOSSLESS), (), Appetite(2, 3)).words
    assert words.endswith("; of what it accepts 'compression' proposes the fewest")


def test_what_makes_the_peer_end_the_association_is_not_proposed() -> None:
    """A lesser strategy, that reaches something, is better."""
    accepted = answers(IMPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS)
    found = recommend(accepted, [(CT, JPEG_2000_LOSSLESS)], Appetite())
    assert found.strategy is Strategy.STANDARD
    assert "1 that it accepts go unused" in found.words
    assert recommend(answers(RLE_LOSSLESS), [(CT, JPEG_2000_LOSSLESS)], Appetite()).strategy is Strategy.COMPRESSION


@pytest.mark.parametrize(("result", "words"), [(3, "none of these SOP classes"), (4, "none of these transfer syntax")])
def test_why_nothing_is_accepted(result: int, words: str) -> None:
    """Whom to ask for what."""
    assert words in recommend(answers(otherwise=result), (), Appetite()).words


def test_a_number_in_between_is_undecided() -> None:
    """After some were taken and more were refused; not where nothing was refused, or no number is left between."""
    assert not Appetite().undecided
    halved = Appetite().after(128, taken=False).after(64, taken=True)
    assert halved.undecided
    assert not halved.after(65, taken=False).undecided
