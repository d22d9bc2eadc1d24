"""``docs/logs.md`` tells of the events that there are."""

import pytest

from router.journal.events import Event
from router.journal.record import FIELDS
from tests.docs.log_lines import ALWAYS, BEGIN, OWN, PAGE, kinds, tables, written

pytestmark = pytest.mark.unit


def test_the_page_is_current() -> None:
    """With each event, its fields and an example; ``python -m tests.docs.log_lines`` writes it anew."""
    page = PAGE.read_text()
    assert BEGIN in page
    assert written(page) == page


def test_every_event_and_every_field_has_an_example() -> None:
    """Of the closed list each field but those that no event has yet is in some line."""
    assert {kind.__name__ for kind in kinds()} == {kind.__name__ for kind in Event.__subclasses__()}
    assert OWN.keys() <= {*kinds()}
    shown = tables()
    missing = {name for name in FIELDS if f'"{name}": ' not in shown}
    assert missing <= {"modality", "recommendation"}
    assert all(f'"{name}": ' in shown for name in ALWAYS)
