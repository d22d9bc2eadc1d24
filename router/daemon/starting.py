"""What keeps a daemon from starting, in one sentence and one exit code each."""

from collections.abc import Iterator
from contextlib import contextmanager

from router.admin import PortError, SocketError
from router.durable.queue import QueueError
from router.durable.spool import SpoolLocked
from router.settings import ConfigurationError

EX_UNAVAILABLE, EX_CANTCREAT, EX_IOERR, EX_TEMPFAIL, EX_CONFIG = 69, 73, 74, 75, 78
"""Exit codes of sysexits.h."""


class StartError(Exception):
    """The daemon cannot start: why, and the exit code that says so."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


@contextmanager
def starting() -> Iterator[None]:
    """What keeps a daemon from starting, in one word each."""
    try:
        yield
    except ConfigurationError as error:
        # Without the lines of the file: what a daemon says is kept in a journal, and a secret may stand on one.
        briefly = "\n".join(problem.brief for problem in error.problems)
        raise StartError(f"{briefly}\n`dicom-router check` shows the lines, and hints", EX_CONFIG) from error
    except SpoolLocked as error:
        raise StartError(str(error), EX_TEMPFAIL) from error
    except (QueueError, SocketError) as error:
        raise StartError(str(error), EX_CANTCREAT) from error
    except PortError as error:
        raise StartError(str(error), EX_UNAVAILABLE) from error
    except OSError as error:
        raise StartError(f"Cannot start: {error.strerror}: {error.filename or ''}", EX_UNAVAILABLE) from error
