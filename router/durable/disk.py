"""The eight system calls that durability depends on.

They are passed in, so that a test can fail the N-th of them, or switch one off and see objects lost.
"""

import os
from collections.abc import Sequence
from pathlib import Path

_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Disk:
    """The operating system's own; each call raises ``OSError`` as the system does."""

    def create(self, path: Path) -> int:
        """A descriptor of a new file, for writing and reading; one that exists already is an error."""
        return os.open(path, _CREATE, 0o640)

    def write(self, file: int, buffers: Sequence[memoryview]) -> int:
        """How many bytes of ``buffers`` were appended: fewer than given when the disk is nearly full."""
        return os.writev(file, buffers)

    def pwrite(self, file: int, buffer: memoryview, offset: int) -> int:
        """How many bytes were overwritten at ``offset``."""
        return os.pwrite(file, buffer, offset)

    def fsync(self, file: int) -> None:
        """Returns when the content is on stable storage."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Give the descriptor back."""
        os.close(file)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name in the same file system; durable only with its directory."""
        os.rename(old, new)  # noqa: PTH104 -- the system call, named as such

    def fsync_directory(self, path: Path) -> None:
        """Returns when the names in a directory are on stable storage."""
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def unlink(self, path: Path) -> None:
        """Remove a name; durable only with its directory."""
        os.unlink(path)  # noqa: PTH108 -- the system call, named as such
