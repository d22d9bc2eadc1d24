"""Whether what waits leaves room."""

import pytest

from router.rules.quota import Exceeds, Fits, GiveUp, GiveUpItself, Load, Verdict, judge

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("load", "size", "quota", "best_effort", "verdict"),
    [
        (Load(10**12, 10**12), 10**12, None, False, Fits()),
        (Load(60, 30), 10, 100, False, Fits()),
        (Load(60, 30), 11, 100, False, Exceeds()),
        (Load(0, 0), 101, 100, False, Exceeds()),
        (Load(60, 30), 10, 100, True, Fits()),
        (Load(60, 30), 11, 100, True, GiveUp(1)),
        (Load(60, 30), 70, 100, True, GiveUp(60)),
        (Load(60, 30), 71, 100, True, GiveUpItself()),
        (Load(0, 0), 101, 100, True, GiveUpItself()),
        (Load(200, 0), 10, 100, True, GiveUp(110)),
    ],
)
def test_verdicts(load: Load, size: int, quota: int | None, best_effort: bool, verdict: Verdict) -> None:  # noqa: FBT001 -- a column of the table
    """To the byte: nothing is given up in vain, and nobody is over a quota that he does not have."""
    assert judge(load, size, quota, best_effort=best_effort) == verdict
