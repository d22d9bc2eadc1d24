"""``docs/operate.md`` tells the truth."""

import re

import pytest

from router.admin.destination_bodies import DestinationState
from router.model.delivery import State
from tests.cli.guide import GUIDE, comparable, replayed

pytestmark = pytest.mark.operate


async def test_the_guide_for_operators_shows_what_commands_say() -> None:
    """Each command in it is run; if this fails for a good reason, ``python -m tests.cli.guide`` writes it anew."""
    text = GUIDE.read_text()
    assert comparable(await replayed(text)) == comparable(text)


def test_the_guide_has_a_section_for_every_state() -> None:
    """Of destinations and of deliveries."""
    sections = re.findall(r"^### (.*)$", GUIDE.read_text(), re.MULTILINE)
    assert set(sections) >= {*DestinationState} | {*State}
