"""A file system in a file: mounted for one test, cut off from power, turned read-only, and always taken away again."""

import fcntl
import os
import shutil
import subprocess
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Self

import pytest

_SHUTDOWN = 0x8004587D
"""``EXT4_IOC_SHUTDOWN`` and ``XFS_IOC_GOINGDOWN`` are one number."""
_NO_LOG_FLUSH = (2).to_bytes(4, "little")
"""What the journal has not written by now is lost, as when the power fails."""


_BLOCK = 4096


class Kind(StrEnum):
    """Of file system."""

    EXT4 = "ext4"
    XFS = "xfs"


class FileSystem:
    """One on a loop device; root alone can make it."""

    def __init__(self, folder: Path, kind: Kind, size: int) -> None:
        """One that is not made yet.

        Args:
            folder: for the image and the mount point.
            kind: of file system.
            size: bytes; XFS wants 300 MiB. The image is sparse.
        """
        self.kind = kind
        self.root = folder / kind
        """Where it is mounted."""
        self._image = folder / f"{kind}.img"
        self._ballast = self.root / "ballast"
        self._size = size

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("only root can mount a file system")
        if shutil.which(f"mkfs.{self.kind}") is None:
            pytest.fail(f"mkfs.{self.kind} is missing: install it (apt-get install e2fsprogs xfsprogs)", pytrace=False)
        self.root.mkdir()
        self._image.touch()
        os.truncate(self._image, self._size)
        # Without the part that ext4 keeps for root, as whom these tests run and the router should not.
        options = ["-m", "0"] if self.kind is Kind.EXT4 else []
        _run(f"mkfs.{self.kind}", "-q", *options, self._image)
        if self._mount().returncode:
            pytest.skip("this machine does not let us mount a file system")
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: what a test that fails leaves running may still have a file open; the loop device goes with the last.
        _run("umount", "--lazy", self.root)
        self._image.unlink()

    def cut(self) -> None:
        """The power fails: from now on every call fails, and what is not on the disk never will be."""
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(root)

    def turn_read_only(self) -> None:
        """As the kernel does with an ext4 on which it finds an error: files that are open cannot be written either."""
        _run("mount", "-o", "remount,abort", self.root)

    def restart(self) -> None:
        """The power is back: mounted again, the journal replayed, nothing in the page cache. Nobody may use it."""
        _run("umount", self.root)
        self._mount().check_returncode()

    def fill(self, leave: int = 0) -> None:
        """Take all of its room but ``leave`` bytes; called again, change how much is left.

        What others give up meanwhile is left to them; what they gave up before, the journal has to have let go of.
        """
        _run("sync", "--file-system", self.root)
        with self._ballast.open("ab") as file:
            status = os.statvfs(self.root)
            room, end = status.f_bavail * status.f_frsize, file.tell()
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), end, room - _BLOCK)
            with suppress(OSError):
                while (size := os.fstat(file.fileno()).st_size) < end + room:
                    os.pwrite(file.fileno(), bytes(_BLOCK), size)
            file.truncate(os.fstat(file.fileno()).st_size - leave)
            os.fsync(file.fileno())

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def _mount(self) -> "subprocess.CompletedProcess[bytes]":
        options = "loop,errors=remount-ro" if self.kind is Kind.EXT4 else "loop"
        return subprocess.run(["mount", "-o", options, self._image, self.root], check=False, capture_output=True)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
