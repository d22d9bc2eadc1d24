"""Whether the daemon lives, and whether it is ready to receive."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

import anyio
from anyio import to_thread

from router.durable.disk import Disk
from router.durable.queue import QueueError, Standings
from router.durable.spool import Spool

BEAT_SECONDS = 2.0
LATE_SECONDS = 10.0
"""A writer that has not answered for so long is stuck: a commit takes as long as a few fsyncs."""


class WatchedDisk(Disk):
    """The operating system's own, which times fsyncs, and remembers whether the latest one failed.

    What failed was not promised; but until one succeeds again nothing new can be.
    """

    def __init__(self) -> None:
        self.failed = False
        self.observe: Callable[[float], object] = float
        """Told how many seconds each fsync took, in the thread that waited for it."""

    def fsync(self, file: int) -> None:
        """As any disk's."""
        with self._watched():
            super().fsync(file)

    def fsync_directory(self, path: Path) -> None:
        """As any disk's."""
        with self._watched():
            super().fsync_directory(path)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
            self.observe(perf_counter() - began)
        except OSError:
            self.failed = True
            raise
        self.failed = False


class Health:
    """Feels the pulse of loop, writer and disk."""

    def __init__(
        self,
        *,
        standings: Standings,
        spool: Spool,
        disk: WatchedDisk,
        reserve: Callable[[int], int],
        listening: Callable[[], bool],
    ) -> None:
        """What is to be watched.

        Args:
            standings: whose writer has to answer, as the queue's.
            spool: whose disk needs room.
            disk: of the spool.
            reserve: bytes that stay free, of a disk of so many bytes.
            listening: whether the listeners are open, for more than a drain.
        """
        self.lag = 0.0
        """Seconds by which the loop came too late to its latest beat."""
        self.disk = disk
        self._standings = standings
        self._spool = spool
        self._reserve = reserve
        self._listening = listening
        self._asked: float | None = None
        """Since when the writer owes an answer."""
        self._writes = True

    async def run(self) -> None:
        """One beat after the other, until cancelled."""
        while True:
            await self.beat()
            began = anyio.current_time()
            await anyio.sleep(BEAT_SECONDS)
            self.lag = max(0.0, anyio.current_time() - began - BEAT_SECONDS)

    async def beat(self) -> None:
        """Ask the writer for something that costs it nothing; try a disk that has failed."""
        self._asked = anyio.current_time()
        try:
            await self._standings.standing("")
        except QueueError:
            self._writes = False
        else:
            self._writes = True
        self._asked = None
        if self.disk.failed:
            with suppress(OSError):
                await to_thread.run_sync(self._try_disk)

    async def reasons(self) -> Sequence[str]:
        """Why nothing can be received now; empty: it can."""
        found = await self.troubles()
        closed = "the daemon is starting or stopping: its listeners are not open"
        return found if self._listening() else [closed, *found]

    async def troubles(self) -> Sequence[str]:
        """What is wrong with queue and disk, so that nothing can be received; empty: nothing."""
        free, total, reserve = await to_thread.run_sync(self.space)
        found = {
            f"the writer of the queue has not answered for more than {LATE_SECONDS:g} s": self.writer_is_late(),
            "the queue cannot be written: see to the disk; the log says more": not self._writes,
            "an fsync in the spool failed, and none has succeeded since: see to the disk": self.disk.failed,
            "the disk of the spool does not answer: see to it": not total,
            "the spool has reached its reserve of free space": free < reserve,
        }
        return [reason for reason, true in found.items() if true]

    def writer_is_late(self) -> bool:
        """Whether the writer of the queue owes an answer for too long."""
        return self._asked is not None and anyio.current_time() - self._asked > LATE_SECONDS

    def space(self) -> tuple[int, int, int]:
        """Bytes on the disk of the spool: free, in all, and the reserve; none, if it does not answer. Blocking."""
        try:
            free, total = self._spool.free()
        except OSError:
            return 0, 0, 0
        return free, total, self._reserve(total)

    def _try_disk(self) -> None:
        """Write a file and fsync it, which tells the disk whether it works again; then remove it."""
        path = self._spool.directory / "trial"
        path.unlink(missing_ok=True)
        file = self.disk.create(path)
        try:
            self.disk.write(file, [memoryview(b"written to see whether the disk works again\n")])
            self.disk.fsync(file)
        finally:
            self.disk.close(file)
            self.disk.unlink(path)
