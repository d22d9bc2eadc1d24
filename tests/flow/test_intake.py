"""In: the answer to a C-STORE is 0000H exactly when the object and its deliveries are on stable storage."""

import errno
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from router.dicom import part10
from router.dicom.incoming import Answer
from router.dicom.link import PeerLeftError, Piece
from router.durable.disk import Disk
from router.durable.queue import QueueError
from router.durable.sqlite import SqliteQueue, in_thread
from router.flow.choices import Choices
from router.flow.intake import Admission, Intake, Routing
from router.flow.repeats import Repeats
from router.journal import Event, InstanceAccepted, InstanceRefused, Journal, SpoolTrouble
from router.model.delivery import Accepted, Order, State
from router.model.instance import Arrival
from router.model.outcome import Cause
from router.rules.acceptance import Truncated
from router.rules.conditions import AllOf
from router.rules.routing import LOOP_LIMIT, Route, Target, Unrouted
from tests.durable.world import NOON, ScriptedDisk, World, failing
from tests.flow.objects import data_set, element, offer, pieces, routing

pytestmark = pytest.mark.unit

STORED = Answer(0x0000)
HOUR = timedelta(hours=1)


@pytest.fixture
def anyio_backend() -> str:
    """Payloads are written in threads."""
    return "asyncio"


class Gate(SqliteQueue):
    """A queue that accepts when it is told to, or never."""

    def __init__(self, world: World) -> None:
        super().__init__(world.directory / "queue.db", world.spool, world.history, clock=world.clock)
        self.asked = anyio.Event()
        self.may = anyio.Event()
        self.failures = 0

    async def accept(self, arrival: Arrival, orders: Sequence[Order]) -> Accepted:
        """When it is told to."""
        self.asked.set()
        await self.may.wait()
        if self.failures:
            self.failures -= 1
            raise QueueError("the queue could not commit: disk I/O error. Nothing was promised; see to the disk")
        return await super().accept(arrival, orders)


class Entrance:
    """One router's way in."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.world = World(folder / "spool", in_thread, disk=disk)
        self.world.queue = self.gate = Gate(self.world)
        self.events: list[Event] = []
        self.reserve: Callable[[int], int] = lambda _: 0
        self.intake: Intake
        self.admission: Admission

    @asynccontextmanager
    async def open(self, rules: Routing | None = None, *, wait: bool = False) -> AsyncIterator[None]:
        """Spool, queue and intake; the queue accepts at once, unless told to wait."""
        if not wait:
            self.gate.may.set()
        async with self.world.running("PACS"):
            journal = Journal(self.events.append)
            self.admission = Admission(
                self.world.spool,
                self.gate,
                rules or routing(),
                journal=journal,
                clock=self.world.clock,
                choices=Choices(self.world.desk, frozenset),
            )
            wanted = self.admission.routing.wanted
            self.intake = Intake(self.world.spool, self.admission, wanted, journal=journal, reserve=self._reserved)
            yield

    def _reserved(self, total: int) -> int:
        return self.reserve(total)

    async def send(
        self,
        content: bytes | None = None,
        sop_instance: str = "2.25.1",
        *,
        calling: str = "CT1",
        truncated: Truncated = Truncated.REFUSE,
        size: int = 16_000,
    ) -> Answer:
        """One C-STORE."""
        offered = offer(sop_instance, now=self.world.clock(), calling=calling, truncated=truncated)
        return await self.intake(offered, pieces(data_set(sop_instance) if content is None else content, size))

    @property
    def said(self) -> str:
        """The error of the last acceptance or refusal."""
        (*_, last) = [event for event in self.events if isinstance(event, InstanceAccepted | InstanceRefused)]
        return last.error


@pytest.fixture
def entrance(folder: Path) -> Entrance:
    """Not open yet."""
    return Entrance(folder)


# P1


async def test_success_is_answered_only_after_the_commit(entrance: Entrance) -> None:
    """While the queue has not accepted there is no answer; when it has, the answer is 0000H."""
    answers: list[Answer] = []

    async def send() -> None:
        answers.append(await entrance.send())

    async with entrance.open(wait=True), anyio.create_task_group() as group:
        group.start_soon(send)
        await entrance.gate.asked.wait()
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        assert entrance.events == []
        entrance.gate.may.set()
    assert answers == [STORED]


async def test_what_was_accepted_lies_in_the_spool_as_a_part_10_file(entrance: Entrance) -> None:
    """Byte for byte as it came, behind a head that says what it is, who sent it, and its digest; and it is owed."""
    async with entrance.open():
        assert await entrance.send() == STORED
        (entry,) = await entrance.world.entries()
        path = entrance.world.spool.absolute(Path(entry.path))
        meta = await in_thread(lambda: part10.read_meta(path))
    offered = offer(now=NOON)
    assert (meta.identity, meta.envelope) == (offered.identity, offered.envelope)
    assert path.read_bytes()[meta.header_size :] == data_set()
    assert (entry.destination, entry.state, entry.study) == ("PACS", State.QUEUED, "2.25.99")
    assert entry.size == path.stat().st_size
    (accepted,) = entrance.events
    assert isinstance(accepted, InstanceAccepted)
    assert (accepted.digest, accepted.bytes) == (meta.digest, entry.size)
    assert (accepted.destination, accepted.route) == (("PACS",), ("CT to the PACS",))
    assert (accepted.outcome, accepted.error) == ("queued", "")


async def test_a_queue_that_fails_is_answered_a700_and_nothing_stays(entrance: Entrance) -> None:
    """Nothing was promised: the sender keeps it, the disk does not fill, and the next one is taken."""
    entrance.gate.failures = 1
    async with entrance.open():
        answer = await entrance.send()
        assert answer == Answer(0xA700, "the queue cannot be written")
        assert entrance.world.files() == set()
        assert await entrance.world.entries() == []
        assert [type(event) for event in entrance.events] == [SpoolTrouble, InstanceRefused]
        assert await entrance.send() == STORED


async def test_any_failure_of_the_disk_is_answered_a700_and_leaves_no_part(folder: Path) -> None:
    """The disk is full at its N-th call, for each N: no promise, no row, and no file but one that was renamed (S3)."""
    calls: list[str] = []
    for stop_at in range(1, 100):
        disk = ScriptedDisk(error=failing(errno.ENOSPC))
        entrance = Entrance(folder / f"{stop_at}", disk)
        async with entrance.open():
            disk.calls.clear()
            disk.stop_at = stop_at
            answer = await entrance.send()
            if not disk.stopped:
                assert answer == STORED
                break
            call = disk.calls[stop_at - 1]
            calls.append(call)
            assert answer.status == 0xA700, call
            assert await entrance.world.entries() == []
            left = {Path(name).suffix for name in entrance.world.files()}
            renamed = call == "fsync_directory" and "rename" in disk.calls
            assert left == ({".dcm"} if renamed else set()), call
            assert isinstance(entrance.events[0], SpoolTrouble)
            assert entrance.admission._repeats.count(_arrival(), NOON) == 0
            # It goes on as if nothing had been.
            assert await entrance.send() == STORED
    assert set(calls) == {"create", "write", "pwrite", "fsync", "close", "rename", "fsync_directory"}


@pytest.mark.parametrize("checks", [0, 2], ids=["at once", "in mid-object"])
async def test_at_the_reserve_it_is_answered_a700(entrance: Entrance, checks: int) -> None:
    """Before the disk is full, new objects are refused politely; what arrived of it goes."""
    asked: list[int] = []

    def reserve(total: int) -> int:
        asked.append(total)
        return 0 if len(asked) <= checks else total + 1

    entrance.reserve = reserve
    async with entrance.open():
        answer = await entrance.send()
        assert answer == Answer(0xA700, "the spool has reached its reserve of free space")
        assert entrance.world.files() == set()
    assert len(asked) == checks + 1


async def test_a_peer_that_leaves_in_mid_object_leaves_nothing(entrance: Entrance) -> None:
    """Its error is the association's to report; there is no answer, no file and no row."""

    async def breaking_off() -> AsyncIterator[Piece]:
        async for piece in pieces(data_set()):
            yield Piece(piece.fragments, last=False)
            raise PeerLeftError("the peer aborted")

    async with entrance.open():
        with pytest.raises(PeerLeftError):
            await entrance.intake(offer(now=NOON), breaking_off())
        assert entrance.world.files() == set()
        assert await entrance.world.entries() == []
    assert entrance.events == []


async def test_cancelled_in_mid_object_it_leaves_nothing(entrance: Entrance) -> None:
    """The daemon stops: what had arrived is swept here and now, not at the next start."""
    begun = anyio.Event()

    async def stalling() -> AsyncIterator[Piece]:
        yield Piece([memoryview(data_set())], last=False)
        begun.set()
        await anyio.sleep_forever()

    async with entrance.open():
        async with anyio.create_task_group() as group:
            group.start_soon(entrance.intake, offer(now=NOON), stalling())
            await begun.wait()
            assert len(entrance.world.files()) == 1
            group.cancel_scope.cancel()
        assert entrance.world.files() == set()


# What is kept, and how


async def test_what_no_route_takes_is_held(entrance: Entrance) -> None:
    """It is answered 0000H, kept for an operator, and the event says why."""
    async with entrance.open():
        assert await entrance.send(data_set(modality="MR")) == STORED
        (entry,) = await entrance.world.entries()
        assert (entry.state, entry.cause, entry.destination) == (State.HELD, Cause.NO_ROUTE, "")
    (accepted,) = entrance.events
    assert isinstance(accepted, InstanceAccepted)
    assert (accepted.outcome, accepted.destination) == ("held", ())
    assert accepted.error == "no route takes this instance"


async def test_what_no_route_takes_is_discarded_if_so_configured(entrance: Entrance) -> None:
    """0000H, recorded as dropped."""
    async with entrance.open(routing(unrouted=Unrouted.DISCARD)):
        assert await entrance.send(data_set(modality="MR")) == STORED
        assert await entrance.world.states() == [State.DROPPED]


async def test_what_no_route_takes_is_refused_if_so_configured(entrance: Entrance) -> None:
    """0124H, and nothing is left of it."""
    async with entrance.open(routing(unrouted=Unrouted.REFUSE)):
        answer = await entrance.send(data_set(modality="MR"))
        assert answer.status == 0x0124
        assert entrance.world.files() == set()
        assert await entrance.world.entries() == []
    assert entrance.said == "no route takes this instance, and `unrouted` is refuse"


async def test_a_truncated_data_set_is_refused(entrance: Entrance) -> None:
    """C000H: the last element runs past the end, so the sender has more than we got."""
    async with entrance.open():
        assert (await entrance.send(data_set()[:-10])).status == 0xC000
        assert entrance.world.files() == set()
    (refused,) = entrance.events
    assert isinstance(refused, InstanceRefused)
    assert refused.status == "C000H"


async def test_a_truncated_data_set_is_kept_if_so_configured(entrance: Entrance) -> None:
    """Accepted as it is, and the event says what is odd about it."""
    async with entrance.open():
        assert await entrance.send(data_set()[:-10], truncated=Truncated.ACCEPT) == STORED
    assert entrance.said == "an element runs past the end of the data set"


async def test_what_cannot_be_understood_is_kept_and_forwarded(entrance: Entrance) -> None:
    """The bytes are the sender's business: routes match on the association only, and the event says so."""
    unknown_vr = element(0x0008, 0x0016, b"UI", "1.2.3") + b"\x08\x00\x18\x00??\x01\x00" + bytes(100)
    async with entrance.open():
        assert await entrance.send(unknown_vr) == STORED
        assert len(entrance.world.files()) == 1
    assert "the data set was not understood: " in entrance.said


async def test_a_data_set_of_another_instance_is_accepted_and_reported(entrance: Entrance) -> None:
    """The SOP Instance UID of the command counts; that the other differs is said."""
    async with entrance.open():
        assert await entrance.send(data_set("2.25.2"), "2.25.1") == STORED
        (entry,) = await entrance.world.entries()
        assert entry.identity.sop_instance == "2.25.1"
    assert entrance.said == "the SOP Instance UID of the data set is not that of the C-STORE-RQ"


async def test_the_size_of_the_pieces_changes_nothing(entrance: Entrance) -> None:
    """One buffer or many."""
    async with entrance.open():
        for size in (7, 1_000, 1_000_000):
            assert await entrance.send(size=size, calling=f"CT{size}") == STORED
    digests = {event.digest for event in entrance.events if isinstance(event, InstanceAccepted)}
    assert len(digests) == 1


async def test_routing_may_change_between_two_instances(entrance: Entrance) -> None:
    """A reload puts another value in its place."""
    async with entrance.open():
        assert await entrance.send() == STORED
        entrance.admission.routing = routing(unrouted=Unrouted.REFUSE)
        assert (await entrance.send(data_set(modality="MR"))).status == 0x0124


async def test_what_cannot_be_routed_now_leaves_nothing(entrance: Entrance) -> None:
    """To whom the study is owed cannot be looked up: the object is refused, and does not fill the disk."""
    either = Route("either", AllOf(()), (Target(("PACS", "BACKUP")),))
    async with entrance.open(routing(either)):
        await entrance.world.disk_work(entrance.world.desk.close)
        assert (await entrance.send()).status == 0xA700
        assert entrance.world.files() == set()


# Loops


async def test_the_same_object_from_the_same_sender_again_and_again_is_held(entrance: Entrance) -> None:
    """More than five times within an hour is a loop; another sender, or another instance, is none."""
    async with entrance.open():
        for _ in range(LOOP_LIMIT + 1):
            assert await entrance.send() == STORED
        assert await entrance.send(calling="CT2") == STORED
        assert await entrance.send(sop_instance="2.25.2") == STORED
        entries = await entrance.world.entries()
    states = [entry.state for entry in sorted(entries, key=lambda entry: entry.id)]
    assert states == [State.QUEUED] * LOOP_LIMIT + [State.HELD, State.QUEUED, State.QUEUED]
    assert {entry.cause for entry in entries if entry.state is State.HELD} == {Cause.LOOP}


async def test_what_was_refused_is_no_loop_when_it_comes_again(entrance: Entrance) -> None:
    """The disk was full for a while and the modality persistent: when it succeeds its object is not held."""
    entrance.gate.failures = LOOP_LIMIT + 3
    async with entrance.open():
        for _ in range(LOOP_LIMIT + 3):
            assert (await entrance.send()).status == 0xA700
        assert await entrance.send() == STORED
        assert await entrance.world.states() == [State.QUEUED]


def _arrival(sop_instance: str = "2.25.1") -> Arrival:
    offered = offer(sop_instance, now=NOON)
    return Arrival("U", Path("p"), offered.envelope, offered.identity, 1, 1, "d", "", "", "", "", {})


def test_repeats_are_forgotten_after_two_periods() -> None:
    """Within a period the count is exact; after one it may still count, after two it does not."""
    repeats = Repeats(HOUR)
    for minute in range(3):
        assert repeats.count(_arrival(), NOON + minute * HOUR / 60) == minute
        repeats.note(_arrival(), NOON + minute * HOUR / 60)
    assert repeats.count(_arrival(), NOON + 1.5 * HOUR) == 3
    assert repeats.count(_arrival(), NOON + 2.6 * HOUR) == 0


def test_repeats_are_forgotten_though_nothing_came_meanwhile() -> None:
    """What came on Monday is no loop on Tuesday."""
    repeats = Repeats(HOUR)
    for _ in range(5):
        repeats.note(_arrival(), NOON)
    assert repeats.count(_arrival(), NOON + 24 * HOUR) == 0


def test_repeats_are_bounded() -> None:
    """A flood of different objects turns the period early; memory stays within two of them."""
    repeats = Repeats(HOUR, most=100)
    for number in range(1000):
        repeats.note(replace(_arrival(), digest=f"{number}"), NOON)
        assert len(repeats._now) + len(repeats._before) <= 200
    assert repeats.count(replace(_arrival(), digest="900"), NOON) == 1
