"""Payload files, written once. Bytes, not DICOM: ``dicom.part10`` makes and reads the head.

A payload lies at ``objects/<writer>/<hour>/<ULID>.dcm``, all names our own; while it arrives it ends in ``.part``.
A writer sweeps and adopts only its own folder. Everything here blocks: call it in a worker thread.

Beside them lies a ballast: room that is given up when others have filled the disk, because on a full one nothing could
be settled, and so nothing removed.
"""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePath, PurePosixPath
from threading import Lock
from types import TracebackType
from typing import Self

from xxhash import xxh3_128

from router.durable.disk import Disk
from router.model.ulid import ALPHABET, LENGTH, ulid

DIGEST_LENGTH = 32
"""Bytes of the digest's slot in the head: xxh3-128 in hexadecimal."""

BALLAST, BALLAST_PART = 16 << 20, 16
"""Bytes of the ballast, but at most one part in so many of the disk: more than the queue's log grows to."""

_BUFFERS = os.sysconf("SC_IOV_MAX")
_WRITER = re.compile(r"[0-9A-Za-z_-]+", re.ASCII)
_HOUR = re.compile(r"[0-9]{10}", re.ASCII)
_PAYLOAD = re.compile(rf"objects/[0-9A-Za-z_-]+/[0-9]{{10}}/[{ALPHABET}]{{{LENGTH}}}\.dcm", re.ASCII)


class SpoolLocked(Exception):  # noqa: N818 -- the state is what the caller asks about
    """Another daemon works on this spool."""


class Spool:
    """The folder of the payloads, with the lock of the one daemon that works on it."""

    def __init__(
        self, directory: Path, *, writer: str = "0", disk: Disk | None = None, clock: Callable[[], datetime]
    ) -> None:
        if not _WRITER.fullmatch(writer):
            raise ValueError(f"a writer's name has only letters, digits, _ and -: {writer!r}")
        self.directory = directory
        self.disk = disk or Disk()
        self._writer = PurePosixPath("objects", writer)
        self._clock = clock
        self._lock: int | None = None
        self._durable: set[PurePath] = set()
        self._folders = Lock()
        self._ballast = Lock()

    def open(self) -> None:
        """Make the folders and take the lock.

        Raises:
            SpoolLocked: another daemon holds it.
            OSError: a folder cannot be made.
        """
        if not self.directory.is_dir():
            self._make(self.directory)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise SpoolLocked(
                f"another daemon{f' (process {pid})' if pid else ''} works on the spool {self.directory}: "
                "stop it, or give this one a spool directory of its own"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock
        self._make(self.directory / self._writer)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, head: bytes, digest_at: int) -> "Part":
        """A payload that begins with ``head``; nothing touches the disk yet.

        Args:
            head: preamble, prefix and file meta information.
            digest_at: where in the head the digest goes, as 32 hexadecimal digits.
        """
        now = self._clock()
        name = ulid(now)
        return Part(self, name, self._writer / _hour(now) / f"{name}.dcm", head, digest_at)

    def create(self, path: PurePath) -> int:
        """S1 → S2: a descriptor of the new ``.part`` for the payload that will lie at ``path``."""
        final = self.absolute(path)
        # Under the lock, because a folder may be made and retired by others, and because nobody may use a new folder
        # before its own name is durable.
        with self._folders:
            if path.parent not in self._durable:
                self._make(final.parent)
                self._durable.add(path.parent)
            return self.disk.create(_arriving(final))

    def publish(self, paths: Iterable[PurePath]) -> dict[PurePath, OSError]:
        """S2 → S3: each ``.part`` gets its final name, each folder is fsynced once.

        Returns:
            The paths that failed; all others are durable under their final names.
        """
        renamed: list[PurePath] = []
        failed: dict[PurePath, OSError] = {}
        for path in paths:
            try:
                final = self.absolute(path)
                self.disk.rename(_arriving(final), final)
            except OSError as error:
                failed[path] = error
            else:
                renamed.append(path)
        return failed | self.confirm(renamed)

    def confirm(self, paths: Iterable[PurePath]) -> dict[PurePath, OSError]:
        """Make the names of ``paths`` durable, each folder fsynced once. Returns those that failed."""
        failed: dict[PurePath, OSError] = {}
        for folder, inside in _by_folder(paths).items():
            try:
                self.disk.fsync_directory(self.directory / folder)
            except OSError as error:
                failed |= dict.fromkeys(inside, error)
        return failed

    def withdraw(self, path: PurePath) -> None:
        """S2 → S1: unlink what arrived whole and will not be answered with success; harmless when it is gone.

        What cannot be unlinked now is swept at the next start.
        """
        with suppress(OSError):
            self.disk.unlink(_arriving(self.absolute(path)))

    def remove(self, paths: Iterable[PurePath]) -> dict[PurePath, OSError]:
        """S6 → S7: unlink each (one that is missing is fine), then fsync each folder once.

        Returns:
            The paths that failed; all others are gone for good.
        """
        unlinked: list[PurePath] = []
        failed: dict[PurePath, OSError] = {}
        for path in paths:
            try:
                with suppress(FileNotFoundError):
                    self.disk.unlink(self.absolute(path))
            except OSError as error:
                failed[path] = error
            else:
                unlinked.append(path)
        # A folder that is missing was retired below, after its unlinks had become durable.
        failed |= self.confirm(path for path in unlinked if (self.directory / path).parent.exists())
        for folder in _by_folder(unlinked):
            self._retire(folder)
        return failed

    def sweep(self) -> int:
        """S2 → S1: remove what was arriving when the daemon died, and empty folders; call before anything arrives.

        Returns:
            How many files were removed.
        """
        swept = 0
        for folder in self._hours():
            for name in os.listdir(self.directory / folder):  # noqa: PTH208 -- names alone are asked for
                if name.endswith(".part"):
                    self.disk.unlink(self.directory / folder / name)
                    swept += 1
            self._retire(folder)
        return swept

    def payloads(self) -> Iterator[PurePosixPath]:
        """This writer's published payloads, oldest first (S3 to S6)."""
        for folder in self._hours():
            for name in sorted(os.listdir(self.directory / folder)):  # noqa: PTH208 -- names alone are asked for
                if _PAYLOAD.fullmatch(str(folder / name)):
                    yield folder / name

    def free(self) -> tuple[int, int]:
        """Bytes that are free for payloads, and bytes in total, of the spool's file system.

        The room of the ballast is no payload's: while that is given up, less is free than the system says, even less
        than nothing.
        """
        with self._ballast:
            status = os.statvfs(self.directory)
            free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
            wanted = min(BALLAST, total // BALLAST_PART)
            ballast = self.directory / "ballast"
            held = ballast.stat().st_size if ballast.exists() else 0
            # Neither taking nor giving it up brings us to where the other is due.
            if held < wanted and free > 3 * wanted:
                free, held = free + held, _reserved(ballast, wanted)
                free -= held
            elif held and free < wanted:
                ballast.unlink()
                free, held = free + held, 0
            return free - max(0, wanted - held), total

    def absolute(self, path: PurePath) -> Path:
        """Where a payload lies; ``OSError`` (EINVAL) for a path that is not of the layout."""
        if not _PAYLOAD.fullmatch(path.as_posix()):
            raise OSError(errno.EINVAL, "not a payload's path in the spool", str(path))
        return self.directory / path

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it as needed; its own name is durable afterwards."""
        missing = [each for each in folder.parents if not each.exists()]
        for each in [*reversed(missing), folder]:
            each.mkdir(mode=0o750, exist_ok=True)
            self.disk.fsync_directory(each.parent)

    def _retire(self, folder: PurePath) -> None:
        """Remove an hour's folder when it is empty and its hour is over."""
        if folder.name < _hour(self._clock()):
            with self._folders, suppress(OSError):
                (self.directory / folder).rmdir()
                self._durable.discard(folder)

    def _hours(self) -> Sequence[PurePosixPath]:
        names = sorted(os.listdir(self.directory / self._writer))  # noqa: PTH208 -- names alone are asked for
        return [self._writer / name for name in names if _HOUR.fullmatch(name)]


class Part:
    """One payload while it arrives (S2). As a context manager it is abandoned unless it was sealed."""

    def __init__(self, spool: Spool, name: str, path: PurePosixPath, head: bytes, digest_at: int) -> None:
        self.ulid = name
        self.path = path
        """Where the payload will lie, relative to the spool."""
        self.size = len(head)
        """Bytes of the whole file so far, the head included."""
        self._spool = spool
        self._disk = spool.disk
        self._head = head
        self._digest_at = digest_at
        self._digest = xxh3_128()
        self._file: int | None = None
        self._sealed = False

    def write(self, fragments: Sequence[memoryview]) -> None:
        """Append bytes of the data set; the first call makes the file.

        Raises:
            OSError: the disk is full or failing; abandon the part.
        """
        for fragment in fragments:
            self._digest.update(fragment)
            self.size += fragment.nbytes
        self._append(fragments)

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes of the data set, from ``offset``: for the attributes that routes ask about."""
        return b"" if self._file is None else os.pread(self._file, count, len(self._head) + offset)

    def seal(self) -> str:
        """Write the digest into the head and make the content durable, still as a ``.part``. Returns the digest.

        Raises:
            OSError: the part was abandoned. After a failed fsync the kernel may call lost pages clean, so that a
                second fsync on the same file would succeed without having written them: it is never tried.
        """
        digest = self._digest.hexdigest()
        try:
            file = self._append([])
            slot = memoryview(digest.encode())
            while slot:
                slot = slot[self._disk.pwrite(file, slot, self._digest_at + DIGEST_LENGTH - len(slot)) :]
            self._disk.fsync(file)
            self._file = None
            self._disk.close(file)
        except OSError:
            self.abandon()
            raise
        self._sealed = True
        return digest

    def abandon(self) -> None:
        """Close and unlink what arrived; harmless when it is published, sealed or abandoned already."""
        file, self._file = self._file, None
        # What cannot be removed now is swept at the next start.
        if file is not None:
            with suppress(OSError):
                self._disk.close(file)
        self._spool.withdraw(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._sealed:
            self.abandon()

    def _append(self, fragments: Sequence[memoryview]) -> int:
        """The one place where short writes are continued: a nearly full disk takes less than it was given.

        The first call makes the file, and puts the head before the fragments. Returns the descriptor.
        """
        file = self._file
        if file is None:
            file = self._file = self._spool.create(self.path)
            fragments = [memoryview(self._head), *fragments]
        waiting = [fragment.cast("B") for fragment in reversed(fragments) if fragment.nbytes]
        while waiting:
            written = self._disk.write(file, waiting[: -_BUFFERS - 1 : -1])
            if not written:
                raise OSError(errno.ENOSPC, "the disk took no more bytes", str(self.path))
            while waiting and written >= waiting[-1].nbytes:
                written -= waiting.pop().nbytes
            if written:
                waiting[-1] = waiting[-1][written:]
        return file


def _hour(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%d%H")


def _reserved(path: Path, size: int) -> int:
    """How much room the file takes from now on: ``size``, or none when there is not so much."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        with suppress(OSError):
            path.unlink()
        return 0
    return size


def _arriving(final: Path) -> Path:
    return final.with_suffix(".part")


def _by_folder(paths: Iterable[PurePath]) -> Mapping[PurePath, Sequence[PurePath]]:
    folders: dict[PurePath, list[PurePath]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    return folders
