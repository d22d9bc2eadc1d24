"""What is wrong, in sentences that alerts carry."""

import errno
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from router.admin.concerns import Concerns, Condition
from router.durable.queue import CauseTally, Query, QueueError
from router.flow.forwarders import Forwarders
from router.journal import DestinationTrouble, InstanceAccepted, Stopped
from router.model.alert import Concern, Silence
from router.model.delivery import Order, State
from router.model.destination import Destination
from router.model.outcome import Cause
from router.model.tls import TlsClient
from router.settings import Configuration, load
from tests.admin.served import Served
from tests.certificates import Authority

pytestmark = pytest.mark.unit

ACCEPTED = InstanceAccepted(
    association="A1",
    calling_ae_title="CT1 ",
    called_ae_title="ROUTER",
    peer="192.0.2.7",
    instance="1.2",
    study="1.2",
    sop_class="1.2",
    stored_transfer_syntax="1.2",
    bytes=1000,
    digest="d",
    destination=("PACS",),
    route=("everything",),
    outcome="queued",
    duration_ms=120.0,
)
HOUR = timedelta(hours=1)


class InTrouble:
    """A forwarder whose destination does not work."""

    works = False

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.troubled_since = datetime(2031, 5, 7, 11, 0, tzinfo=UTC)

    async def run(self) -> None:
        """Nothing."""


@dataclass
class World:
    """Concerns over a real queue."""

    api: Served
    concerns: Concerns
    forwarders: Forwarders
    configuration: Configuration

    async def about(self, concern: Concern) -> list[Condition]:
        """What is wrong of one kind."""
        return [each for each in await self.concerns.now() if each.concern is concern]


@pytest.fixture
async def world(api: Served, tmp_path: Path) -> World:
    """A queue with a dead letter, a disk, no silence, one destination that works as far as is known."""
    path = tmp_path / "router.yaml"
    path.write_text("destinations: [{name: PACS, remote_ae_title: P, remote_host: 192.0.2.1, remote_port: 104}]")
    configuration = await anyio.to_thread.run_sync(lambda: load(path, environment={}))
    forwarders = Forwarders(cast("Any", InTrouble))
    concerns = Concerns(desk=api.world.desk, health=api.health, forwarders=forwarders, clock=api.world.clock)
    concerns.configure(configuration)
    return World(api, concerns, forwarders, configuration)


async def test_a_destination_that_is_down(world: World) -> None:
    """Since when, and why, as far as is known."""
    async with anyio.create_task_group() as moving:
        world.forwarders.configure(world.configuration.destinations, moving)
    since = datetime(2031, 5, 7, 11, 0, tzinfo=UTC)
    assert await world.about(Concern.DESTINATION_DOWN) == [
        Condition(Concern.DESTINATION_DOWN, "PACS", "PACS does not work", since)
    ]
    world.concerns(
        DestinationTrouble(destination="PACS", attempt=1, error="nobody listens there", next_attempt_at=None)
    )
    world.concerns(Stopped())
    assert [each.sentence for each in await world.about(Concern.DESTINATION_DOWN)] == [
        "PACS does not work: nobody listens there"
    ]
    cast("Any", world.forwarders["PACS"]).troubled_since = None
    assert await world.about(Concern.DESTINATION_DOWN) == []


async def test_an_operator_ends_dead_letters_and_loops(world: World) -> None:
    """What was dropped is of no concern any more."""
    await world.api.world.accepted(Order("PACS", State.HELD, Cause.LOOP, "again and again"), sop_instance="2.25.77")
    entries = await world.api.world.desk.entries(Query(destination="PACS"), world.api.world.clock())
    kept = [each.id for each in entries if each.state in {State.DEAD, State.HELD}]
    assert await world.api.world.queue.interventions.drop(kept, world.api.world.clock()) == 2
    assert await world.about(Concern.DEAD_LETTERS) == []
    assert await world.about(Concern.LOOP) == []


async def test_dead_letters_and_loops(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per destination; what is held for another reason is none of them; an unreadable queue changes nothing."""
    await world.api.world.accepted(Order("PACS", State.HELD, Cause.LOOP, "again and again"), sop_instance="2.25.77")
    for _ in range(2):
        assert [
            (each.subject, each.sentence.partition(" ")[0]) for each in await world.about(Concern.DEAD_LETTERS)
        ] == [("PACS", "1")]
        assert [(each.subject, each.sentence) for each in await world.about(Concern.LOOP)] == [
            ("PACS", "1 deliveries to PACS are held: the same instances come again and again")
        ]

        async def broken() -> list[CauseTally]:
            raise QueueError("the disk is gone")

        monkeypatch.setattr(world.api.world.desk, "causes", broken)


async def test_a_disk_that_fills_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told while there is time, and otherwise in the words of `/readyz`."""
    assert await world.about(Concern.DISK) == []
    monkeypatch.setattr(world.api.world.spool, "free", lambda: (150 << 20, 1 << 30))
    world.api.reserve = 100 << 20
    sentence = "150 MiB are free; below 100 MiB nothing more is received"
    assert await world.about(Concern.DISK) == [Condition(Concern.DISK, "spool", sentence)]
    world.api.reserve = 200 << 20
    sentence = "the spool has reached its reserve of free space"
    assert await world.about(Concern.DISK) == [Condition(Concern.DISK, "spool", sentence)]


async def test_a_disk_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what there is an alert for, and no end of whoever looks; when it answers again, that is over."""

    def free() -> tuple[int, int]:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as gone:
        gone.setattr(world.api.world.spool, "free", free)
        sentence = "the disk of the spool does not answer: see to it"
        assert await world.about(Concern.DISK) == [Condition(Concern.DISK, "spool", sentence)]
        assert (await world.api.get("/api/status"))["spool"]["disk_bytes"] == 0
        assert await world.api.health.reasons() == [sentence]
    assert await world.about(Concern.DISK) == []


async def test_a_certificate_that_ends(world: World, tmp_path: Path) -> None:
    """And one that cannot be read any more."""
    authority = Authority(tmp_path)
    expired = authority.expired("router")
    world.api.world.clock.now = datetime.now(UTC)
    fine, ended, gone = (
        SimpleNamespace(tls=tls)
        for tls in (
            None,
            TlsClient(ca=authority.path, certificate=expired.certificate, key=expired.key),
            TlsClient(ca=tmp_path / "gone.pem"),
        )
    )
    listeners = cast("Any", SimpleNamespace(listeners=(fine, ended), destinations=(gone,), silences=()))
    world.concerns.configure(listeners)
    found = await world.about(Concern.CERTIFICATE)
    assert {str(expired.certificate) in found[0].sentence, "ends on" in found[0].sentence} == {True}
    assert "gone.pem" in found[1].sentence
    assert len(found) == 2
    await anyio.to_thread.run_sync(authority.issue, "router")
    await anyio.to_thread.run_sync(shutil.copy, authority.path, tmp_path / "gone.pem")
    assert await world.about(Concern.CERTIFICATE) == []


async def test_a_modality_that_fell_silent(world: World) -> None:
    """Any AE title that fits will do; what is not configured is nobody's concern."""
    clock = world.api.world.clock
    silence = Silence("CT*", 4 * HOUR)
    world.concerns.configure(_silent(world.configuration, silence))
    clock.advance(4 * HOUR)
    assert await world.about(Concern.SILENT_MODALITY) == []
    began = clock.advance(HOUR) - HOUR
    sentence = "nothing has come from CT* for more than 4:00:00"
    assert await world.about(Concern.SILENT_MODALITY) == [Condition(Concern.SILENT_MODALITY, "CT*", sentence, began)]
    world.concerns(ACCEPTED)
    assert await world.about(Concern.SILENT_MODALITY) == []
    world.concerns.configure(_silent(world.configuration, silence, Silence("MR", HOUR)))
    clock.advance(2 * HOUR)
    world.concerns(ACCEPTED)
    assert [each.subject for each in await world.about(Concern.SILENT_MODALITY)] == ["MR"]


async def test_nobody_is_expected_at_night(world: World, tmp_path: Path) -> None:
    """Time outside of the windows does not count."""
    clock = world.api.world.clock
    path = tmp_path / "windows.yaml"
    silence = '{ae_title: CT1, after: 2h, only: "daily 08:00-18:00"}'
    path.write_text((tmp_path / "router.yaml").read_text() + f"\nsilence: [{silence}]")
    clock.now = datetime(2031, 5, 7, 9, 0).astimezone(UTC)
    world.concerns.configure(await anyio.to_thread.run_sync(lambda: load(path, environment={})))
    silent = []
    for _ in range(26):
        clock.advance(HOUR)
        if await world.about(Concern.SILENT_MODALITY):
            silent.append(clock.now.astimezone().hour)
    assert silent == [*range(12, 18), *range(10, 12)]


def _silent(configuration: Configuration, *silences: Silence) -> Configuration:
    return replace(configuration, silences=silences)
