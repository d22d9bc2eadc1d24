"""What is wrong in a configuration, told so that it can be repaired without reading our code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where."""

    file: str
    """Or the name of an environment variable, which has no line."""
    line: int | None = None
    """From 1; None when the trouble is not at one place of the file."""
    column: int | None = None
    path: str = ""
    """Of the value inside the file, as ``destinations[1].remote_port``; empty for the file as a whole."""
    sentence: str
    hint: str = ""
    source: str = ""
    """The line of the file, to point into."""

    @property
    def brief(self) -> str:
        """In one line, for the log: the line of the file and the hint may show secrets, or values of patients."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}  error  {self.path}: {self.sentence}" if self.path else f"{place}  error  {self.sentence}"

    def __str__(self) -> str:
        lines = [self.brief]
        if self.source and self.line is not None and self.column is not None:
            # A tab must push the caret as far as it pushes the text.
            indent = "".join("\t" if character == "\t" else " " for character in self.source[: self.column - 1])
            lines += [f"{self.line:5} | {self.source}", f"{'':5} | {indent}^"]
        if self.hint:
            lines.append(f"   hint: {self.hint}")
        return "\n".join(lines)


class ConfigurationError(Exception):
    """The configuration is not usable; nothing was started or changed. ``str()`` tells every problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        # In the order of the text, whatever order the checks had.
        self.problems = tuple(sorted(problems, key=lambda each: (each.file, each.line or 0, each.column or 0)))
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names what ``name`` may have been meant for; empty when nothing is near."""
    by_folded = {each.casefold(): each for each in sorted(known)}
    near = get_close_matches(name.casefold(), by_folded, n=1)
    return f"did you mean {by_folded[near[0]]}?" if near else ""
