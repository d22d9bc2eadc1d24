"""What libraries warn of and log becomes events too."""

import logging
import warnings
from pathlib import PurePath
from typing import TextIO

from router.journal.events import Unexpected
from router.journal.publication import Journal


class _Diverted(logging.Handler):
    """Log records of libraries become events: who and where, never the text."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.publish(Unexpected(error=f"{record.levelname.lower()} of {record.name}, line {record.lineno}"))


def divert_libraries(journal: Journal) -> None:
    """From now on Python's warnings and log records are events, by category and place alone.

    pydicom's warnings and pynetdicom's records print element values.
    """

    def show(  # noqa: PLR0917 -- the signature is the standard library's
        message: Warning | str,  # noqa: ARG001 -- it may quote a data set
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        journal.publish(Unexpected(error=f"{category.__name__} in {PurePath(filename).name}, line {lineno}"))

    warnings.showwarning = show
    logging.root.handlers = [_Diverted(journal)]
