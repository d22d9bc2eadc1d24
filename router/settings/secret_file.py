"""Files with one secret in a line: nobody else may read them, and no error quotes one."""

import stat
from collections.abc import Sequence
from pathlib import Path

from router.settings.problems import ConfigurationError, Problem

SIZE_LIMIT = 64 * 1024


def lines(path: Path, of: str) -> Sequence[tuple[int, str]]:
    """Its lines with their numbers, without comments and empty ones.

    Args:
        path: of the file.
        of: what it has, for errors.

    Raises:
        ConfigurationError: it cannot be read, or everybody may read it.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise refused(path, of, "is not a file")
        if mode & stat.S_IRWXO:
            raise refused(path, of, "everybody on this machine may use it", f"chmod o= {path}")
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT).decode("utf-8")
    except OSError as error:
        raise refused(path, of, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise refused(path, of, "is not UTF-8") from None
    numbered = enumerate(text.splitlines(), start=1)
    return [(number, line) for number, line in numbered if line.strip() and not line.lstrip().startswith("#")]


def refused(path: Path, of: str, sentence: str, hint: str = "") -> ConfigurationError:
    """The file as a whole is wrong."""
    return ConfigurationError([Problem(file=str(path), sentence=f"the file of {of} {sentence}", hint=hint)])
