"""How commands talk, show what they found, and fail."""

import json
import sys
from collections.abc import Sequence


class CommandError(Exception):
    """A command cannot do its work. ``str()`` says why and what to do; ``code`` is one of sysexits(3)."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def say(sentence: str) -> None:
    """Talk to the user, beside the results."""
    print(sentence, file=sys.stderr)  # noqa: T201


def show(text: str) -> None:
    """A result, for people."""
    print(text)  # noqa: T201


def show_json(value: object) -> None:
    """A result, for programs."""
    show(json.dumps(value, indent=2, ensure_ascii=False))


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their content: nothing is cut, so that it can be searched and piped."""
    lines = [titles, *[[_cell(value) for value in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)
