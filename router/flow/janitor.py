"""What a crash left behind, and what nobody needs any more (the states are in ``router.durable``)."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from router.dicom import part10, survey
from router.durable.queue import Desk, Queue, QueueError
from router.durable.spool import Spool
from router.flow.forwarder import OWNER
from router.flow.intake import Routing
from router.journal import Journal, Recovered, Removed, SpoolTrouble
from router.model.delivery import Order
from router.model.instance import Arrival
from router.model.transfer_syntax import transfer_syntax
from router.rules.routing import Refusal, Subject, Unrouted, orders, route

SCANNED_AT_ONCE = 1000
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
        *,
        journal: Journal,
        clock: Callable[[], datetime],
        keep_delivered: timedelta,
        reserve: Callable[[int], int],
    ) -> None:
        self._spool = spool
        self._queue = queue
        self._desk = desk
        self._journal = journal
        self._clock = clock
        self._keep_delivered = keep_delivered
        self._reserve = reserve

    async def recover(self, routing: Routing) -> None:
        """Before anything arrives or leaves: sweep S2, adopt S3, queue again what was in flight, bury S8."""
        swept = await anyio.to_thread.run_sync(self._spool.sweep)
        queued_again = await self._queue.recover(OWNER, self._clock())
        adopted, seen = 0, set[str]()
        payloads = self._spool.payloads()
        while paths := await anyio.to_thread.run_sync(lambda: list(islice(payloads, SCANNED_AT_ONCE))):
            seen.update(map(str, paths))
            known = await self._desk.known([path.stem for path in paths])
            adopted += await self._adopt((path for path in paths if path.stem not in known), routing)
        lost = 0
        for path in await self._desk.paths():
            if path not in seen and not await anyio.to_thread.run_sync(self._exists, path):
                lost += await self._lose(path)
        self._journal.publish(
            Recovered(outcome={"swept": swept, "adopted": adopted, "queued again": queued_again, "lost": lost})
        )

    async def run(self) -> None:
        """Remove what every destination has, once it was kept long enough; sooner when the disk needs the room."""
        while True:
            try:
                removed = await self._remove()
            except (QueueError, OSError) as error:
                removed = 0
                self._journal.publish(SpoolTrouble(error=str(error)))
            await anyio.sleep(0 if removed else EVERY)

    async def _adopt(self, paths: Iterable[PurePosixPath], routing: Routing) -> int:
        adopted = 0
        for path in paths:
            try:
                arrival = await anyio.to_thread.run_sync(self._read, path, routing)
            except (part10.Part10Error, OSError) as error:
                sentence = f"{path} has no row in the queue and cannot be adopted, it is left where it is: {error}"
                self._journal.publish(SpoolTrouble(error=sentence))
                continue
            adopted += await self._queue.adopt(arrival, _orders(arrival, routing))
        return adopted

    def _read(self, path: PurePosixPath, routing: Routing) -> Arrival:
        absolute = self._spool.absolute(path)
        meta = part10.read_meta(absolute)
        if meta.envelope is None or meta.digest is None:
            raise part10.Part10Error("its head does not say who sent it")
        size = absolute.stat().st_size
        syntax = transfer_syntax(meta.identity.transfer_syntax)
        with absolute.open("rb") as file:

            def read(offset: int, count: int) -> bytes:
                file.seek(meta.header_size + offset)
                return file.read(count)

            found = survey.survey(read, size - meta.header_size, syntax, routing.wanted)
        return Arrival(
            ulid=path.stem,
            path=path,
            envelope=meta.envelope,
            identity=meta.identity,
            size=size,
            header_size=meta.header_size,
            digest=meta.digest,
            study=found.study,
            attributes=found.attributes,
        )

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


def _orders(arrival: Arrival, routing: Routing) -> tuple[Order, ...]:
    """As at arrival, but for one thing: what may have been answered with success is never refused, it is held."""
    decision = route(Subject(arrival.envelope, arrival.identity, arrival.attributes), routing.routes)
    unrouted = Unrouted.HOLD if routing.unrouted is Unrouted.REFUSE else routing.unrouted
    ordered = orders(decision, destinations=routing.destinations, unrouted=unrouted, envelope=arrival.envelope)
    assert not isinstance(ordered, Refusal), "an adopted instance is held, never refused"
    return ordered


def empty(directory: Path) -> None:
    """Remove what conversions left behind. Blocking."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    for left in directory.iterdir():
        left.unlink()
