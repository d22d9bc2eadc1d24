"""The real program with one step of its care left out, or killed at one step: for controls, and for crashes.

``python -m tests.faults.sabotage SABOTAGE run …`` is ``python -m router run …``, but what it does every now and
then it does all the time, and ``SABOTAGE`` is done to it. Nothing in the program knows of this.
"""

import errno
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import wraps
from itertools import count, cycle
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from router.cli import main
from router.durable.database import Database
from router.durable.disk import Disk
from router.flow import janitor, patience

T = TypeVar("T")

NONE = "nothing"
NO_FILE_FSYNC = "no fsync of files"
NO_DIRECTORY_FSYNC = "no fsync of directories"
NORMAL = "commits are NORMAL"
EARLY_UNLINK = "unlink before the commit"
FSYNC_FAILS = "an fsync fails"
BAD_DISK = "every 13th call fails, and writes are short"

DISK_STEPS = ("create", "write", "pwrite", "fsync", "close", "rename", "fsync_directory", "unlink")
QUEUE_STEPS = ("accept", "claim", "settle", "remove")
"""Operations of the queue that are killed before or after their commit."""

_SUBMIT = Database.submit
_SYNCHRONISE = Database._synchronise


def kill(when: str, step: str, number: int) -> str:
    """The sabotage that kills the process just ``before`` or just ``after`` the ``number``-th of these steps."""
    return f"kill {when} {step} {number}"


def _lethal(call: Callable[..., T], *, before: bool, number: int) -> Callable[..., T]:
    calls = count(1)

    @wraps(call)
    def lethal(*arguments: Any) -> T:
        last = next(calls) == number
        if last and before:
            _die()
        result = call(*arguments)
        if last:
            _die()
        return result

    return lethal


def _lethal_submit(step: str, *, before: bool, number: int) -> Callable[..., Awaitable[Any]]:
    """Before the commit is after its statements; after it is before anybody learns of it."""
    calls = count(1)

    async def submit(database: Database, work: Callable[..., Any], **more: Any) -> Any:
        last = f"SqliteQueue.{step}." in work.__qualname__ and next(calls) == number

        def lethal(connection: Any) -> Any:
            result = work(connection)
            if last and before:
                _die()
            return result

        result = await _SUBMIT(database, lethal, **more)
        if last:
            _die()
        return result

    return submit


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# The ways in which a disk is not as good as its word


def _nothing(_disk: Disk, _what: int | Path) -> None:
    """Not done, and said to be done."""


def _write_short(_disk: Disk, file: int, buffers: Sequence[memoryview]) -> int:
    return os.writev(file, [buffers[0][:8000]])


def _pwrite_short(_disk: Disk, file: int, buffer: memoryview, offset: int) -> int:
    return os.pwrite(file, buffer[:16], offset)


def _one_fsync_fails() -> AbstractContextManager[object]:
    """The third; it tells when the same file is tried again, which would succeed."""
    calls, failed = count(1), set[tuple[int, int]]()

    def fsync(_disk: Disk, file: int) -> None:
        status = os.fstat(file)
        identity = status.st_ino, status.st_ctime_ns
        if identity in failed:
            os.write(2, b"fsync was tried again on the file on which it had failed\n")
        if next(calls) == 3:
            failed.add(identity)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(file)

    return _with_disk({"fsync": fsync})


def _bad_disk() -> AbstractContextManager[object]:
    """Each error that a disk has, in turn, at every thirteenth call; and it takes a part of what it is given."""
    calls, errors = count(1), cycle([errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE])

    def failing(call: Callable[..., T]) -> Callable[..., T]:
        def fail(*arguments: Any) -> T:
            if next(calls) % 13 == 0:
                raise OSError(number := next(errors), os.strerror(number))
            return call(*arguments)

        return fail

    as_before = {step: getattr(Disk, step) for step in DISK_STEPS if step != "close"}
    short = {"write": _write_short, "pwrite": _pwrite_short}
    return _with_disk({step: failing(call) for step, call in {**as_before, **short}.items()})


def _with_disk(calls: Mapping[str, Callable[..., Any]]) -> AbstractContextManager[object]:
    patches = ExitStack()
    for name, call in calls.items():
        patches.enter_context(patch.object(Disk, name, call))
    return patches


async def _careless_submit(database: Database, work: Any, *, full: bool = False, **more: Any) -> Any:
    """A removal no longer waits until it is known for good who has what."""
    return await _SUBMIT(database, work, full=full and ".remove." not in work.__qualname__, **more)


def _careless_synchronise(database: Database, connection: Any, *, full: bool) -> None:
    _SYNCHRONISE(database, connection, full=False)


def _sabotage(what: str) -> AbstractContextManager[object]:
    match what.split():
        case ["kill", when, step, number]:
            before, times = when == "before", int(number)
            if step in DISK_STEPS:
                return _with_disk({step: _lethal(getattr(Disk, step), before=before, number=times)})
            return patch.object(Database, "submit", _lethal_submit(step, before=before, number=times))
    sabotages: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
        NONE: nullcontext,
        NO_FILE_FSYNC: lambda: _with_disk({"fsync": _nothing}),
        NO_DIRECTORY_FSYNC: lambda: _with_disk({"fsync_directory": _nothing}),
        NORMAL: lambda: patch.object(Database, "_synchronise", _careless_synchronise),
        EARLY_UNLINK: lambda: patch.object(Database, "submit", _careless_submit),
        FSYNC_FAILS: _one_fsync_fails,
        BAD_DISK: _bad_disk,
    }
    return sabotages[what]()


if __name__ == "__main__":  # a worker process that converts imports this module too
    what = sys.argv.pop(1)
    often = patch.object(janitor, "EVERY", 0.05), patch.object(patience, "ASKED_AGAIN_AFTER", 0.05)
    with often[0], often[1], _sabotage(what):
        main()
