"""The pages of the documentation, and what stands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^[$#] ((?:.*\\\n)*.*)", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One file in Markdown."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """What is fenced as this language."""
        return [body for named, body in _FENCE.findall(self.text) if named == language]

    def commands(self) -> Iterator[str]:
        """What stands behind the prompts of shells."""
        for block in self.blocks("console") + self.blocks("text"):
            yield from (line.replace("\\\n", " ") for line in _PROMPT.findall(block))

    def links(self) -> Iterator[tuple[Path, str]]:
        """The files of ours that it links to, each with an anchor, or without one."""
        for link in _LINK.findall(_FENCE.sub("", self.text)):
            if "://" not in link:
                name, _, anchor = link.partition("#")
                yield (self.path.parent / name).resolve() if name else self.path, anchor

    def anchors(self) -> set[str]:
        """What headings can be linked to by, as GitHub and mkdocs make it of them."""
        headings = _HEADING.findall(_FENCE.sub("", self.text))
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def pages() -> list[Page]:
    """Those of ``docs/``, and the README."""
    return [Page(ROOT / "README.md"), *map(Page, sorted(DOCS.rglob("*.md")))]


def guides() -> list[Page]:
    """Those that are followed with a keyboard at hand."""
    return [Page(DOCS / "tutorial.md"), *map(Page, sorted((DOCS / "howto").glob("*.md")))]
