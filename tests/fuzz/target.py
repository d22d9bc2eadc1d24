"""What can be fuzzed: a reader of bytes that others wrote, and what has to hold whatever they wrote."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target; a file in it is an input that once broke something, or that might."""

_VARYING = re.compile(r"[0-9A-F]*[0-9][0-9A-F]*")


@dataclass(frozen=True, slots=True)
class Target:
    """One reader."""

    name: str
    """Its folder of the corpus."""
    seeds: Sequence[bytes]
    """Sound inputs: mutants of them come further than random bytes."""
    run: Callable[[bytes], str]
    """Reads, and asserts what has to hold; tells in a few words what became of the input."""
    rounds: int
    """In ``make test``."""
    variety: int
    """How many different ends the rounds have to come to: a target that reaches nothing finds nothing."""
    words: Sequence[bytes] = ()
    """That the reader knows."""

    @property
    def corpus(self) -> Sequence[bytes]:
        """Sound inputs, and those in the folder."""
        return (*self.seeds, *(path.read_bytes() for path in self.files()))

    def files(self) -> Sequence[Path]:
        """Those in the folder."""
        return sorted((CORPUS / self.name).iterdir())

    def attempt(self, content: bytes) -> str:
        """Run, and keep the input if something broke: the next run begins with it.

        Returns:
            What became of it, without numbers.
        """
        try:
            return _VARYING.sub("#", self.run(content))
        except BaseException as broken:
            path = CORPUS / self.name / f"broke-{sha256(content).hexdigest()[:12]}"
            path.write_bytes(content)
            broken.add_note(f"the input is kept in {path}")
            raise
