"""``docs/configuration.md`` is what the program reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from router.settings import reference
from router.settings.document import Document, section_of

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def keys(section: type[BaseModel]) -> Iterator[str]:
    """Every key of a section, and of those below it."""
    for name, field in section.model_fields.items():
        yield name
        if inner := section_of(field.annotation):
            yield from keys(inner)


def test_page_is_current() -> None:
    """Write it anew with ``dicom-router schema --markdown > docs/configuration.md``."""
    assert PAGE.read_text() == reference() + "\n"


def test_page_has_every_key_with_its_meaning() -> None:
    """No key without a row, no row without a meaning."""
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert {row.split("`")[1] for row in rows} == set(keys(Document))
    assert [row for row in rows if row.rstrip(" |").count(" | ") < 3] == []


def test_links_lead_to_headings() -> None:
    """Anchors are made of headings without their dots."""
    page = reference()
    headings = {line[3:].replace(".", "") for line in page.splitlines() if line.startswith("## ")}
    links = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert links
    assert links <= headings
