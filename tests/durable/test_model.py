"""Random lives of the queue against a small model in memory, with kills in between."""

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from router.durable.sqlite import inline
from router.model.delivery import OPEN, SETTLED, Claim, Order, Settlement, State
from router.model.outcome import Cause
from tests.durable.world import MINUTE, Clock, World

pytestmark = pytest.mark.unit

NAMES = ("A", "B", "C")
OUTCOMES = (State.DELIVERED, State.QUEUED, State.DEAD, State.HELD)


@dataclass
class Owed:
    """One delivery, as the model sees it."""

    instance: str
    destination: str
    state: State
    due: datetime
    cause: Cause | None = None
    token: int = 0
    attempts: int = 0
    uncertain: bool = False


class QueueMachine(RuleBasedStateMachine):
    """Whatever is asked in whatever order: the queue holds what the model holds."""

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.portal = self.open.enter_context(start_blocking_portal("trio"))
        memory = Path("/dev/shm")
        self.folder = Path(
            self.open.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
        )
        self.clock = Clock()
        self.starts = 0
        self.owed: dict[int, Owed] = {}
        self.settled_at: dict[str, datetime] = {}
        self.configured: frozenset[str] = frozenset(NAMES)
        self.claims: list[Claim] = []
        self.accepted = 0
        self.start()
        self.configure(self.configured)

    def start(self) -> None:
        """Open the folder of this start."""
        self.world = World(self.folder / f"{self.starts}", inline, clock=self.clock)
        self.portal.call(self.world.open)
        self.over = self.portal.call(anyio.Event)
        self.running = self.portal.start_task_soon(self.run_queue)

    async def run_queue(self) -> None:
        """Until it is over."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.world.queue.run)
            await self.over.wait()
            group.cancel_scope.cancel()

    def end(self) -> None:
        """The queue runs no more: to cancel it from here would not wait for that."""
        self.portal.call(self.over.set)
        self.running.result()

    def stop(self) -> None:
        """A clean end."""
        self.end()
        self.portal.call(self.world.close)

    def teardown(self) -> None:
        """The end of one life."""
        self.stop()
        self.open.close()

    def hold_strangers(self) -> None:
        """As the queue does with what is queued for nobody."""
        for each in self.owed.values():
            if each.state is State.QUEUED and each.destination not in self.configured:
                each.state, each.cause = State.HELD, Cause.NOT_CONFIGURED

    def stamp(self, instance: str) -> None:
        """As the queue does with the last settlement of an instance."""
        if all(each.state in SETTLED for each in self.owed.values() if each.instance == instance):
            self.settled_at.setdefault(instance, self.clock())

    @rule(names=st.sets(st.sampled_from(NAMES)), dropped=st.booleans())
    def accept(self, names: set[str], *, dropped: bool) -> None:
        """For some destinations; for none it is held."""
        orders = [Order(name) for name in sorted(names)] or [Order("", State.HELD, Cause.NO_ROUTE)]
        orders += [Order("A", State.DROPPED)] * dropped

        async def accept() -> str:
            return (await self.world.accepted(*orders)).ulid

        ulid = self.portal.call(accept)
        for order in orders:
            self.accepted += 1
            self.owed[self.accepted] = Owed(ulid, order.destination, order.state, self.clock(), order.cause)
        self.hold_strangers()

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 4))
    def claim(self, name: str, limit: int) -> None:
        """The oldest of what is due, in order."""
        claim = self.portal.call(self.world.queue.claim, name, "forwarder", limit, self.clock())
        due = sorted(
            (each.due, number)
            for number, each in self.owed.items()
            if each.destination == name and each.state is State.QUEUED and each.due <= self.clock()
        )
        assert [delivery.id for delivery in claim.deliveries] == [number for _, number in due[:limit]]
        for delivery in claim.deliveries:
            mine = self.owed[delivery.id]
            assert (delivery.attempts, delivery.uncertain) == (mine.attempts, mine.uncertain)
            mine.state, mine.token = State.IN_FLIGHT, claim.token
        if claim.deliveries:
            self.claims.append(claim)

    @rule(choose=st.data(), state=st.sampled_from(OUTCOMES), wait=st.integers(0, 3), uncertain=st.booleans())
    def settle(self, choose: st.DataObject, state: State, wait: int, *, uncertain: bool) -> None:
        """Some of any claim ever made."""
        if not self.claims:
            return
        claim = choose.draw(st.sampled_from(self.claims))
        some = choose.draw(st.lists(st.sampled_from(claim.deliveries), unique=True))
        due = self.clock() + wait * MINUTE
        settlements = [
            Settlement(each.id, state, next_attempt_at=due, charged=True, uncertain=uncertain, cause=Cause.REFUSED)
            for each in some
        ]
        changed = 0
        for settlement in settlements:
            mine = self.owed.get(settlement.delivery)
            if mine is not None and mine.state is State.IN_FLIGHT and mine.token == claim.token:
                changed += 1
                mine.state, mine.due, mine.cause = state, due, Cause.REFUSED
                mine.attempts += 1
                mine.uncertain |= uncertain
                self.stamp(mine.instance)
        self.hold_strangers()
        assert self.portal.call(self.world.queue.settle, claim, settlements, self.clock()) == changed

    @rule(choose=st.data())
    def give_back(self, choose: st.DataObject) -> None:
        """What any claim still holds."""
        if self.claims:
            claim = choose.draw(st.sampled_from(self.claims))
            self.portal.call(self.world.queue.give_back, claim)
            for delivery in claim.deliveries:
                mine = self.owed.get(delivery.id)
                if mine is not None and mine.state is State.IN_FLIGHT and mine.token == claim.token:
                    mine.state = State.QUEUED
            self.hold_strangers()

    @rule(numbers=st.sets(st.integers(1, 12)))
    def revive(self, numbers: set[int]) -> None:
        """Numbers of anything, or of nothing."""
        revived = 0
        for number in numbers & set(self.owed):
            mine = self.owed[number]
            if mine.state in (State.DEAD, State.HELD, State.QUEUED) and mine.destination in self.configured:
                revived += 1
                mine.state, mine.due, mine.attempts, mine.cause = State.QUEUED, self.clock(), 0, None
        assert self.portal.call(self.world.queue.revive, sorted(numbers), self.clock()) == revived

    @rule(names=st.frozensets(st.sampled_from(NAMES), min_size=1))
    def configure(self, names: frozenset[str]) -> None:
        """Destinations come and go."""
        self.portal.call(self.world.queue.configured, dict.fromkeys(names), self.clock())
        self.configured = names
        for each in self.owed.values():
            if each.state is State.HELD and each.cause is Cause.NOT_CONFIGURED and each.destination in names:
                each.state, each.cause = State.QUEUED, None
        self.hold_strangers()

    @rule(choose=st.data())
    def lose(self, choose: st.DataObject) -> None:
        """A payload is damaged (S8); the file stays for the model's sake."""
        if self.owed:
            instance = choose.draw(st.sampled_from(sorted({each.instance for each in self.owed.values()})))
            (path,) = (path for path in self.portal.call(self.world.desk.paths) if instance in path)
            mine = [each for each in self.owed.values() if each.instance == instance and each.state in OPEN]
            assert self.portal.call(self.world.queue.lose, path, self.clock()) == len(mine)
            for each in mine:
                each.state, each.cause = State.DEAD, Cause.PAYLOAD_MISSING

    @rule(age=st.integers(0, 5), limit=st.integers(1, 3))
    def remove(self, age: int, limit: int) -> None:
        """The oldest of what is settled (S6 → S1)."""
        for each in list(self.owed.values()):
            self.stamp(each.instance)
        before = self.clock() - age * MINUTE
        expected = sum(settled < before for settled in self.settled_at.values())
        removed = self.portal.call(self.world.queue.remove, before, limit)
        assert len(removed) == min(limit, expected)
        for removable in removed:
            instance = Path(removable.path).stem
            assert self.settled_at.pop(instance) < before
            self.owed = {number: each for number, each in self.owed.items() if each.instance != instance}

    @rule(minutes=st.integers(0, 3))
    def wait(self, minutes: int) -> None:
        """Time passes."""
        self.clock.advance(timedelta(minutes=minutes))

    @rule(clean=st.booleans())
    def restart(self, *, clean: bool) -> None:
        """Killed or stopped: what was in flight is queued again, uncertain."""
        old = self.world.directory
        self.starts += 1
        if clean:
            self.stop()
            shutil.copytree(old, self.folder / f"{self.starts}")
        else:
            shutil.copytree(old, self.folder / f"{self.starts}", ignore=shutil.ignore_patterns("*-shm"))
            self.stop()
        shutil.rmtree(old)
        self.start()
        flying = [each for each in self.owed.values() if each.state is State.IN_FLIGHT]
        assert self.portal.call(self.world.queue.recover, "forwarder", self.clock()) == len(flying)
        for each in flying:
            each.state, each.uncertain = State.QUEUED, True
        self.hold_strangers()

    @invariant()
    def same(self) -> None:
        """The desk shows what the model has, the spool has a payload for each, and the next due time is right."""

        async def entries() -> list[tuple[int, str, State, Cause | None, int]]:
            found = await self.world.entries()
            return [(each.id, each.destination, each.state, each.cause, each.attempts) for each in found]

        assert self.portal.call(entries) == [
            (number, each.destination, each.state, each.cause, each.attempts) for number, each in self.owed.items()
        ]
        assert self.world.files() == {f"{each.instance}.dcm" for each in self.owed.values()}
        for name in NAMES:
            waiting = [
                each.due for each in self.owed.values() if each.destination == name and each.state is State.QUEUED
            ]
            assert self.portal.call(self.world.queue.next_due, name) == min(waiting, default=None)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
