"""A spool, a queue and a scripted PACS with its forwarder, on trio's mock clock: hours pass in no time."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio

from router.dicom.buffers import Buffers
from router.durable.queue import Entry
from router.flow.forwarder import Forwarder
from router.journal import Event, Journal
from router.model.delivery import Order
from router.model.destination import Destination
from router.model.instance import Arrival
from tests.durable.world import NOON, Clock, World
from tests.flow.pacs import Pacs, Relabels

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
PACS = Destination("PACS", "PACS_SCP", "pacs.invalid", 104, max_associations=1)


class Passing(Clock):
    """The time of day, as the event loop's clock has it."""

    def __init__(self) -> None:
        super().__init__()
        self.set_forward = timedelta()
        self._began: float | None = None

    def __call__(self) -> datetime:
        """The instant."""
        now = anyio.current_time()
        if self._began is None:
            self._began = now
        return NOON + timedelta(seconds=now - self._began) + self.set_forward


class Flow:
    """One router's way out."""

    def __init__(self, directory: Path) -> None:
        self.clock = Passing()
        self.world = World(directory, clock=self.clock)
        self.queue = self.world.queue
        self.pacs = Pacs()
        self.transcoder = Relabels()
        self.events: list[Event] = []
        self.journal = Journal(self.events.append)
        self.chance: Callable[[], float] = lambda: 1.0

    @property
    def passed(self) -> timedelta:
        """Since the clock was looked at first."""
        return self.clock() - NOON

    @asynccontextmanager
    async def open(self, *destinations: Destination) -> AsyncIterator[None]:
        """The queue runs, and knows these destinations."""
        async with self.world.running(*(destination.name for destination in destinations)):
            yield

    def forwarder(self, destination: Destination, pacs: Pacs | None = None) -> Forwarder:
        """One that is not running yet."""
        return Forwarder(
            destination,
            queue=self.queue,
            standings=self.queue.standings,
            capabilities=self.world.queue.capabilities,
            spool=self.world.spool,
            transcoder=self.transcoder,
            buffers=Buffers(1),
            journal=self.journal,
            clock=self.clock,
            chance=self.chance,
            associate=pacs or self.pacs,
        )

    @asynccontextmanager
    async def forwarding(self, destination: Destination = PACS) -> AsyncIterator[Forwarder]:
        """A forwarder at work; it is cancelled in the end."""
        async with anyio.create_task_group() as group:
            forwarder = self.forwarder(destination)
            group.start_soon(forwarder.run)
            yield forwarder
            group.cancel_scope.cancel()

    async def owe(self, *instances: str, to: Sequence[str] = ("PACS",), calling: str = "CT1") -> None:
        """Accept instances that are owed to destinations."""
        for instance in instances:
            await self.accept(self.world.sealed(sop_instance=instance, calling=calling), to)

    async def accept(self, arrival: Arrival, to: Sequence[str]) -> None:
        """S2 → S4."""
        await self.queue.accept(arrival, [Order(name) for name in to])

    async def stored_as(self, transfer_syntax: str, *instances: str) -> None:
        """Owe instances that came in another transfer syntax than Explicit VR Little Endian."""
        for instance in instances:
            arrival = self.world.sealed(sop_instance=instance)
            identity = replace(arrival.identity, transfer_syntax=transfer_syntax)
            await self.accept(replace(arrival, identity=identity), ("PACS",))

    async def entries(self, destination: str = "PACS") -> dict[str, Entry]:
        """Deliveries by SOP instance."""
        return {entry.identity.sop_instance: entry for entry in await self.world.entries(destination=destination)}

    async def entry(self, instance: str) -> Entry:
        """One instance's delivery."""
        return (await self.entries())[instance]

    async def tries(self, instance: str) -> int:
        """How many tries a delivery has used up."""
        number = (await self.entry(instance)).id
        (tries,) = self.world.connection.execute("SELECT tries FROM delivery WHERE id = ?", (number,)).fetchone()
        assert isinstance(tries, int)
        return tries

    async def uncertain(self, instance: str) -> bool:
        """Whether the peer may have it."""
        number = (await self.entry(instance)).id
        row = self.world.connection.execute("SELECT uncertain FROM delivery WHERE id = ?", (number,)).fetchone()
        return bool(row[0])

    def happened(self, kind: type[Event]) -> list[Event]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]
