"""The data set of a Part 10 file, read in pieces, its digest checked before the last piece is handed out."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import xxhash

from router.model.instance import Identity
from router.model.outcome import Cause, Failed


class ContentError(Exception):
    """The data set cannot be read: missing, cut short or changed on disk; or, for now, by this machine's fault."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.error


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An instance that is to be sent, in a Part 10 file."""

    number: int
    """The caller's own: comes back with the result."""
    identity: Identity
    path: Path
    header_size: int
    """Bytes before the data set."""
    size: int
    """Bytes of the whole file."""
    digest: str | None
    """xxh3-128 of the data set; None: not checked (a file that never was in our spool)."""
    calling_ae_title: str | None = None
    """Who sent it to us, for destinations that want to see the modality's own AE title."""
    study: str = ""
    series: str = ""


class Content:
    """The bytes of one data set. Blocking: for worker threads, one call at a time."""

    def __init__(self, instance: Outgoing, opener: Callable[[Path, int], int] = os.open) -> None:
        self._instance = instance
        self._opener = opener
        self._descriptor = -1
        self._digest = xxhash.xxh3_128()
        self.remaining = instance.size - instance.header_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the data set goes. Returns how many bytes; 0 only for an empty data set.

        Raises:
            ContentError: the file is missing or shorter than it was, or with the last piece the digest differs; or
                it cannot be read now.
        """
        try:
            return self._read_into(buffer)
        except OSError as error:
            # Too many open files, a file server that went away, a disk's bad day: all of these pass, a loss does not.
            cause = Cause.PAYLOAD_MISSING if error.errno == errno.ENOENT else Cause.LOCAL_TROUBLE
            raise self._error(cause, f"cannot be read: {error.strerror}") from error

    def _read_into(self, buffer: memoryview) -> int:
        if self._descriptor < 0:
            self._descriptor = self._opener(self._instance.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            os.lseek(self._descriptor, self._instance.header_size, os.SEEK_SET)
        wanted = min(len(buffer), self.remaining)
        filled = 0
        while filled < wanted:
            count = os.readv(self._descriptor, [buffer[filled:wanted]])
            if count == 0:
                raise self._error(Cause.PAYLOAD_DAMAGED, "is shorter than it was when it was accepted")
            filled += count
        self.remaining -= filled
        if self._instance.digest is not None:
            self._digest.update(buffer[:filled])
            if self.remaining == 0 and self._digest.hexdigest() != self._instance.digest:
                raise self._error(Cause.PAYLOAD_DAMAGED, "has changed on disk: its digest differs")
        return filled

    def _error(self, cause: Cause, what: str) -> ContentError:
        return ContentError(Failed(cause, f"The payload {self._instance.path.name} {what}"))
