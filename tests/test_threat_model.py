"""What the documents claim: each test that they name is there."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("document", ["docs/threat-model.md", "docs/promises.md"])
def test_every_test_that_is_named_exists(document: str) -> None:
    """By its path."""
    named = set(re.findall(r"`(tests/[\w./-]+)`", (ROOT / document).read_text("utf-8")))
    assert named
    assert not sorted(path for path in named if not (ROOT / path).exists())
