"""Where an error comes from is told without its text."""

import json

import pytest

from router.journal import place_of
from router.settings.units import duration

pytestmark = pytest.mark.unit


def test_innermost_line_of_ours() -> None:
    """Behind it may be a library, before it whoever called; of several errors the first one counts."""
    with pytest.raises(ValueError, match=r".") as caught:
        duration("DOE^JANE")
    place = place_of(caught.value)
    assert place.startswith("ValueError at router.settings.units:")
    assert "DOE" not in place
    assert place_of(BaseExceptionGroup("several", [caught.value, KeyError()])) == place


def test_line_of_somebody_else() -> None:
    """When none is ours."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("DOE^JANE")
    assert place_of(caught.value).startswith("JSONDecodeError at json.decoder:")
    assert place_of(KeyError("DOE^JANE")) == "KeyError at an unknown place"
