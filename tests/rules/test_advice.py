"""Advice for every cause and every wait."""

from pathlib import Path

import pytest

from router.model.outcome import Cause
from router.rules.advice import CAUSES, REASONS, table
from router.rules.pacing import Reason

pytestmark = pytest.mark.unit


def test_every_cause_and_every_reason_to_wait_has_its_advice() -> None:
    """Two sentences, each with its full stop."""
    assert set(CAUSES) == set(Cause)
    assert set(REASONS) == set(Reason)
    for advice in (*CAUSES.values(), *REASONS.values()):
        for sentence in (advice.meaning, advice.remedy):
            assert sentence.endswith(".")
            assert "|" not in sentence


def test_the_guide_for_operators_has_all_of_it() -> None:
    """As it is here."""
    guide = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
    assert table() in guide
