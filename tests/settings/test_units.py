"""Values with units."""

from datetime import timedelta

import pytest

from router.settings import Reserve
from router.settings.units import duration, reserve, size

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        ("1.5 h", timedelta(minutes=90)),
        ("0s", timedelta(0)),
    ],
)
def test_duration(text: str, expected: timedelta) -> None:
    """A number and a unit."""
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1e9d", "1w", "30S", "1h30m", "٣s", "9" * 400 + "d"])
def test_what_is_no_duration(text: str) -> None:
    """No unit, no number, an unknown unit, or longer than ten years."""
    with pytest.raises(ValueError, match=r"duration|unit of time|longer than"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100B", 100), ("64KiB", 65536), ("1.5kB".replace("k", "K"), 1500), ("2 GiB", 2 * 1024**3), ("1TB", 10**12)],
)
def test_size(text: str, expected: int) -> None:
    """Binary and decimal multiples of a byte."""
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "2", "2G", "2gib", "-1B"])
def test_what_is_no_size(text: str) -> None:
    """No unit, or one that is not known."""
    with pytest.raises(ValueError, match="size"):
        size(text)


def test_reserve() -> None:
    """A part of the disk, or a size."""
    assert reserve("5%") == Reserve(part=0.05)
    assert reserve("5%").of(1000) == 50
    assert reserve("2MiB").of(1000) == 2 * 1024**2
    with pytest.raises(ValueError, match="leaves nothing"):
        reserve("100%")
    with pytest.raises(ValueError, match="size"):
        reserve("5 percent")
