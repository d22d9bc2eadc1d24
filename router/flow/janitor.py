"""What a crash left behind, and what nobody needs any more (the states are in ``router.durable``)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from router.dicom.part10 import Part10Error
from router.durable.history import Happening, History
from router.durable.queue import Desk, Queue, QueueError
from router.durable.spool import Spool
from router.flow import adoption
from router.flow.forwarder import OWNER
from router.flow.intake import Routing
from router.journal import HistoryTrouble, Journal, QueueRebuilt, Recovered, Removed, SpoolTrouble

SCANNED_AT_ONCE = 1000
ADOPTED_AT_ONCE = 32
"""Payloads that are read and committed together: a lost queue may have had a million."""
REMOVED_AT_ONCE = 256
EVERY = 30.0
"""Seconds between two rounds."""


class Janitor:
    """Keeps spool and queue in step."""

    def __init__(
        self,
        spool: Spool,
        queue: Queue,
        desk: Desk,
        history: History,
        *,
        journal: Journal,
        clock: Callable[[], datetime],
        keep_delivered: timedelta,
        reserve: Callable[[int], int],
    ) -> None:
        self._spool = spool
        self._queue = queue
        self._desk = desk
        self._history = history
        self._journal = journal
        self._clock = clock
        self._keep_delivered = keep_delivered
        self._reserve = reserve

    async def recover(self, routing: Routing, *, new_queue: bool = False, new_history: bool = False) -> None:
        """Before anything arrives or leaves: sweep S2, adopt S3, queue again what was in flight, bury S8.

        Args:
            routing: what decides where instances go.
            new_queue: whether it begins now. If there are payloads, the one before was lost.
            new_history: whether it begins now.
        """
        swept = await anyio.to_thread.run_sync(self._spool.sweep)
        queued_again = await self._queue.recover(OWNER, self._clock())
        adopted, seen = Counter[str](), set[str]()
        payloads = self._spool.payloads()
        while paths := await anyio.to_thread.run_sync(lambda: list(islice(payloads, SCANNED_AT_ONCE))):
            seen.update(map(str, paths))
            known = await self._desk.known([path.stem for path in paths])
            adopted += await self._adopt([path for path in paths if path.stem not in known], routing)
        lost = 0
        for path in await self._desk.paths():
            if path not in seen and not await anyio.to_thread.run_sync(self._exists, path):
                lost += await self._lose(path)
        outcome = {"swept": swept, "adopted": adopted["adopted"], "queued again": queued_again, "lost": lost}
        self._journal.publish(Recovered(outcome=outcome))
        if new_queue and adopted:
            error = "the history was lost, too: what was delivered is sent again" if new_history else ""
            self._journal.publish(QueueRebuilt(outcome=dict(sorted(adopted.items())), error=error))

    async def run(self) -> None:
        """Remove what every destination has, once it was kept long enough; sooner when the disk needs the room."""
        while True:
            try:
                removed = await self._remove()
            except (QueueError, OSError) as error:
                removed = 0
                self._journal.publish(SpoolTrouble(error=str(error)))
            await anyio.sleep(0 if removed else EVERY)

    async def _adopt(self, paths: Sequence[PurePosixPath], routing: Routing) -> Counter[str]:
        """How many were adopted, and how many deliveries have which state now."""
        adopted = Counter[str]()
        latest = await self._latest([path.stem for path in paths])
        for begin in range(0, len(paths), ADOPTED_AT_ONCE):
            async with anyio.create_task_group() as group:
                for path in paths[begin : begin + ADOPTED_AT_ONCE]:
                    group.start_soon(self._adopt_one, path, routing, latest.get(path.stem, {}), adopted)
        return adopted

    async def _adopt_one(
        self, path: PurePosixPath, routing: Routing, latest: Mapping[str, Happening], adopted: Counter[str]
    ) -> None:
        try:
            arrival = await anyio.to_thread.run_sync(partial(adoption.arrival, self._spool, path, routing))
        except (Part10Error, OSError) as error:
            sentence = f"{path} has no row in the queue and cannot be adopted, it is left where it is: {error}"
            self._journal.publish(SpoolTrouble(error=sentence))
            return
        orders = adoption.owed(arrival, routing, latest)
        if await self._queue.adopt(arrival, orders):
            adopted.update(["adopted", *(order.state.value for order in orders)])

    async def _latest(self, ulids: Sequence[str]) -> Mapping[str, Mapping[str, Happening]]:
        try:
            return await self._history.latest(ulids) if ulids else {}
        except QueueError as error:
            self._journal.publish(HistoryTrouble(error=f"{error}: what it says of {len(ulids)} instances is not known"))
            return {}

    def _exists(self, path: str) -> bool:
        """Whether another writer has it: only our own folder was scanned."""
        return self._spool.absolute(PurePosixPath(path)).exists()

    async def _lose(self, path: str) -> int:
        lost = await self._queue.lose(path, self._clock())
        if lost:
            sentence = f"the payload {path} is gone: {lost} deliveries became dead letters; see to the disk"
            self._journal.publish(SpoolTrouble(error=sentence))
        return lost

    async def _remove(self) -> int:
        now = self._clock()
        free, total = await anyio.to_thread.run_sync(self._spool.free)
        short = free < 2 * self._reserve(total)
        before = now if short else now - self._keep_delivered
        removed = len(await self._queue.remove(before, REMOVED_AT_ONCE))
        if removed:
            self._journal.publish(Removed(outcome=removed))
        return removed


def empty(directory: Path) -> None:
    """Remove what conversions left behind. Blocking."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    for left in directory.iterdir():
        left.unlink()
