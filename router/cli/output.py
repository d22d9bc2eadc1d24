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


def moment(instant: str | None) -> str:
    """An instant of the API, to the second: ``2031-05-07 12:00:00Z``."""
    return "" if instant is None else f"{instant[:10]} {instant[11:19]}Z"


def volume(size: int) -> str:
    """Bytes in the largest unit that they fill: ``1.5 MB``."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)
