"""The API on a Unix socket, over a real queue in a real spool."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from router.admin import Activity, Health, Metrics, Sessions, WatchedDisk, application, serve
from router.cli.client import UnixConnection
from router.dicom.survey import known_keywords
from router.durable.sqlite import in_thread
from router.model.delivery import Order, Settlement, State, Wanted
from router.model.destination import Destination
from router.model.outcome import Cause
from router.rules.negotiation import Pair
from router.rules.pacing import Go, Pace, Reason, Wait
from router.settings import Configuration, load
from tests.durable.world import World

CONFIGURATION = """
listen: {port: 11112, allow_any: true}
spool: {directory: spool}
http: {port: 8080, tokens_file: tokens}
destinations:
  - {name: PACS, remote_ae_title: PACS_SCP, remote_host: pacs.invalid, remote_port: 104}
  - {name: RESEARCH, remote_ae_title: RESEARCH_SCP, remote_host: research.invalid, remote_port: 104}
routes:
  - {name: urgent CT, when: {Modality: CT, PatientID: "1*"}, to: [PACS], stop: true}
  - {name: everything of MR, when: {calling_ae_title: "MR*"}, to: [PACS, RESEARCH]}
"""
READER, OPERATOR = "reader-0123456789", "operator-0123456789"


def configuration(folder: Path) -> Configuration:
    """What is in force, from a file."""
    path = folder / "router.yaml"
    path.write_text(CONFIGURATION)
    tokens = folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"reader read {READER}\noperator operate {OPERATOR}\n")
    return load(path, environment={}, known_keywords=known_keywords())


class Scripted:
    """A destination that stands as a test says, and remembers its orders."""

    def __init__(self, name: str) -> None:
        self.destination = Destination(name, f"{name}_SCP", "pacs.invalid", 104)
        self.associations = (0, 2)
        self.says: Pace = Go(32)
        self.orders: list[str] = []
        self.learned: Mapping[Pair, bool] = {}

    def pace(self) -> Pace:
        """As scripted."""
        return self.says

    def pause(self, *, paused: bool) -> None:
        """Is what it waits for."""
        self.orders.append("pause" if paused else "resume")
        self.says = Wait(Reason.PAUSED) if paused else Go(32)

    async def retry_now(self) -> None:
        """Noted."""
        self.orders.append("retry now")

    async def learn(self, accepted: Mapping[Pair, bool]) -> None:
        """Kept."""
        self.learned = accepted


class Served:
    """What runs, and what to ask it with."""

    def __init__(self, world: World, socket: Path, disk: WatchedDisk) -> None:
        self.world = world
        self.socket = socket
        self.disk = disk
        self.listening = True
        self.reserve = 0
        """Bytes."""
        self.lines_lost = 0
        self.forwarders = {name: Scripted(name) for name in ("PACS", "RESEARCH")}
        self.activity = Activity(world.clock)
        self.activity.configure(self.forwarders)
        self.health = Health(
            standings=world.queue.standings,
            spool=world.spool,
            disk=disk,
            reserve=lambda _: self.reserve,
            listening=lambda: self.listening,
        )
        self.metrics = Metrics(
            desk=world.desk, health=self.health, clock=world.clock, lines_lost=lambda: self.lines_lost
        )
        self.configuration = configuration(socket.parent)
        self.tokens = self.configuration.http.tokens
        self.sessions = Sessions(lambda: self.configuration.http.tokens, world.clock)
        self.app = application(
            desk=world.desk,
            interventions=world.queue.interventions,
            spool=world.spool,
            history=world.history,
            forwarders=self.forwarders,
            activity=self.activity,
            reload=self.reload,
            health=self.health,
            metrics=self.metrics,
            sessions=self.sessions,
            configuration=lambda: self.configuration,
            clock=world.clock,
        )
        self.problems: Sequence[str] = ()
        """What the next reload finds."""
        self.reloads = 0

    async def reload(self) -> Sequence[str]:
        """What the API is given for reload."""
        self.reloads += 1
        return self.problems

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of the answer; a body that is not bytes is sent as JSON."""

        def ask() -> tuple[int, Any]:
            connection = UnixConnection(self.socket)
            try:
                content = body if body is None or isinstance(body, bytes) else json.dumps(body)
                connection.request(method, path, content)
                response = connection.getresponse()
                assert response.headers["content-type"] == "application/json"
                return response.status, json.loads(response.read())
            finally:
                connection.close()

        return await to_thread.run_sync(ask)

    async def get(self, path: str) -> Any:
        """The answer to a question that is answered."""
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer

    async def numbers(self, **parameters: str) -> list[int]:
        """The deliveries that a list with these filters shows."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return [each["delivery"] for each in (await self.get(f"/api/queue?{query}"))["deliveries"]]


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Served]:
    """Four deliveries: 1 waits for PACS, 2 is dead for PACS, 3 waits for RESEARCH, 4 is held: no route took it."""
    disk = WatchedDisk()
    world = World(directory / "spool", in_thread, disk=disk)
    # Metrics of the process are read from /proc.
    served = await to_thread.run_sync(Served, world, directory / "s", disk)
    async with world.running("PACS", "RESEARCH"), anyio.create_task_group() as group:
        await _fill(world)
        await group.start(serve, served.app, served.socket)
        yield served
        group.cancel_scope.cancel()


async def _fill(world: World) -> None:
    await world.accepted("PACS", sop_instance="2.25.11")
    await world.accepted("PACS", sop_instance="2.25.12", calling="MR1")
    await world.accepted("RESEARCH", sop_instance="2.25.13", calling="MR1")
    await world.accepted(Order("", State.HELD, Cause.NO_ROUTE, "no route takes this instance"))
    claim = await world.queue.claim("PACS", "test", Wanted(2), world.clock())
    await world.queue.settle(
        claim,
        [
            Settlement(claim.deliveries[0].id, State.QUEUED),
            Settlement(
                claim.deliveries[1].id,
                State.DEAD,
                charged=True,
                cause=Cause.CANNOT_UNDERSTAND,
                error="The peer cannot understand the object (C000H)",
                status=0xC000,
                strategy="universal",
                transfer_syntax="1.2.840.10008.1.2",
                error_comment="as the peer says",
            ),
        ],
        world.clock(),
    )
