"""What the statuses of C-STORE responses mean to one destination: ``{A700: refuse, C000-CFFF: defer}``."""

import re
from collections.abc import Iterable, Mapping

from router.model.destination import Ruling, StatusRule

PATTERN = r"^[0-9A-Fa-f]{4}( *- *[0-9A-Fa-f]{4})?$"
SUCCESS = 0x0000

_RANGE = re.compile(r"([0-9A-Fa-f]{4})(?: *- *([0-9A-Fa-f]{4}))?", re.ASCII)


def status_range(text: str) -> tuple[int, int]:
    """One status, or a range with both ends, in four hexadecimal digits as the Standard writes them (PS3.7 annex C).

    Raises:
        ValueError: the sentence says what a status looks like, or why it may not be ruled about.
    """
    written = _RANGE.fullmatch(text)
    if written is None:
        raise ValueError(f"a status is four hexadecimal digits, or two with a dash: A700, C000-CFFF; unlike {text!r}")
    first = int(written[1], 16)
    last = int(written[2] or written[1], 16)
    if last < first:
        raise ValueError(f"the range {text} is empty: it ends before it begins")
    if first == SUCCESS:
        raise ValueError("0000 is success, and what succeeded is stored")
    return first, last


def checked(text: str) -> str:
    """The text of a range that means something.

    Raises:
        ValueError: as ``status_range``.
    """
    status_range(text)
    return text


def rules(written: Mapping[str, Ruling]) -> tuple[StatusRule, ...]:
    """In the order of the file."""
    return tuple(StatusRule(*status_range(text), then) for text, then in written.items())


def unheard(written: Iterable[StatusRule]) -> list[str]:
    """The rules that never count, because an earlier one covers all of theirs; a sentence each."""
    sentences: list[str] = []
    earlier: list[StatusRule] = []
    for rule in written:
        for before in earlier:
            if before.first <= rule.first and rule.last <= before.last:
                sentences.append(f"`statuses`: {_text(rule)} means nothing below {_text(before)}; write it first")
                break
        earlier.append(rule)
    return sentences


def _text(rule: StatusRule) -> str:
    return f"{rule.first:04X}" if rule.first == rule.last else f"{rule.first:04X}-{rule.last:04X}"
