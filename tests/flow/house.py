"""A spool, a queue and their janitor, with real Part 10 heads."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio

from router.dicom import part10
from router.durable.spool import Spool
from router.durable.sqlite import in_thread
from router.flow.forwarder import OWNER
from router.flow.intake import Routing
from router.flow.janitor import Janitor
from router.journal import Event, Journal, Recovered
from router.model.delivery import Order, Settlement, State, Wanted
from router.model.instance import Arrival
from tests.durable.world import World
from tests.flow.objects import data_set, offer, routing

KEPT = timedelta(hours=24)


class House:
    """A spool, a queue and their janitor."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder / "spool", in_thread)
        self.events: list[Event] = []
        self.reserve: Callable[[int], int] = lambda _: 0
        self.published = anyio.Event()
        self.janitor = Janitor(
            self.world.spool,
            self.world.queue,
            self.world.desk,
            self.world.history,
            journal=Journal(self._note),
            clock=self.world.clock,
            keep_delivered=KEPT,
            reserve=self._reserved,
        )

    def _reserved(self, total: int) -> int:
        return self.reserve(total)

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self.published.set()

    async def sealed(
        self, sop_instance: str = "2.25.1", *, modality: str = "CT", spool: Spool | None = None
    ) -> Arrival:
        """S1 → S2, with a head of our own."""
        offered = offer(sop_instance, now=self.world.clock())
        head = part10.head(offered.identity, offered.envelope)

        def write() -> Arrival:
            part = (spool or self.world.spool).begin(head.content, head.digest_at)
            part.write([memoryview(data_set(sop_instance, modality))])
            digest = part.seal()
            return Arrival(
                ulid=part.ulid,
                path=part.path,
                envelope=offered.envelope,
                identity=offered.identity,
                size=part.size,
                header_size=len(head.content),
                digest=digest,
                study="",
                series="",
                accession_number="",
                patient_id="",
                attributes={},
            )

        return await in_thread(write)

    async def published_only(self, sop_instance: str = "2.25.1", *, modality: str = "CT") -> Arrival:
        """S2 → S3."""
        arrived = await self.sealed(sop_instance, modality=modality)
        assert await in_thread(lambda: self.world.spool.publish([arrived.path])) == {}
        return arrived

    async def accepted(self, sop_instance: str = "2.25.1", *orders: Order, modality: str = "CT") -> Arrival:
        """S4, or S5."""
        arrived = await self.sealed(sop_instance, modality=modality)
        await self.world.queue.accept(arrived, orders or [Order("PACS")])
        return arrived

    async def recover(self, rules: Routing | None = None) -> dict[str, int]:
        """As at the start; what the event says."""
        queue, history = self.world.queue, self.world.history
        await self.janitor.recover(rules or routing(), new_queue=queue.new, new_history=history.new)
        (*_, recovered) = [event for event in self.events if isinstance(event, Recovered)]
        return dict(recovered.outcome)

    async def deliver(self) -> None:
        """Everything that is due."""
        claim = await self.world.queue.claim("PACS", OWNER, Wanted(100), self.world.clock())
        settlements = [Settlement(delivery.id, State.DELIVERED) for delivery in claim.deliveries]
        await self.world.queue.settle(claim, settlements, self.world.clock())

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[None]:
        """The janitor at work, one round at least, until it has nothing more to do."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.janitor.run)
            yield
            group.cancel_scope.cancel()

    async def until(self, kind: type[Event]) -> None:
        """Until something of this kind happened."""
        while not any(isinstance(event, kind) for event in self.events):
            self.published = anyio.Event()
            await self.published.wait()
