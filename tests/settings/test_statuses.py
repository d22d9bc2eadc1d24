"""What statuses mean to one destination."""

import pytest

from router.model.destination import Ruling, StatusRule
from router.settings.statuses import rules, status_range, unheard

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [("A700", (0xA700, 0xA700)), ("0110", (0x0110, 0x0110)), ("c000 - cfff", (0xC000, 0xCFFF))],
)
def test_status_range(text: str, expected: tuple[int, int]) -> None:
    """Hexadecimal, one or from first to last."""
    assert status_range(text) == expected


@pytest.mark.parametrize(
    "text", ["", "A7", "A7000", "0xA700", "A700H", "A700-", "C0FF-C000", "0000", "0000-00FF", "-A700"]
)
def test_what_is_no_status_range(text: str) -> None:
    """Not four digits, the wrong way round, or success."""
    with pytest.raises(ValueError, match=r"a status is four|is empty|is success"):
        status_range(text)


def test_rules_keep_their_order() -> None:
    """The first that fits counts, so that an exception stands before its range."""
    written = {"C123": Ruling.STORED, "C000-CFFF": Ruling.BURY}
    assert rules(written) == (StatusRule(0xC123, 0xC123, Ruling.STORED), StatusRule(0xC000, 0xCFFF, Ruling.BURY))
    assert unheard(rules(written)) == []


def test_a_rule_that_never_counts_is_told() -> None:
    """Behind one that covers it; the same status in two ways of writing, too."""
    written = {"C000-CFFF": Ruling.BURY, "C123": Ruling.STORED, "A7FF": Ruling.DEFER, "a7ff": Ruling.BURY}
    assert unheard(rules(written)) == [
        "`statuses`: C123 means nothing below C000-CFFF; write it first",
        "`statuses`: A7FF means nothing below A7FF; write it first",
    ]
