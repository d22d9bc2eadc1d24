"""Random lives of the queue against a small model in memory, with kills in between."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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

from router.durable.queue import Entry, OverQuotaError, Query, Tally
from router.durable.sqlite import inline
from router.model.delivery import (
    OPEN,
    SETTLED,
    Accepted,
    Claim,
    GivenUp,
    Order,
    Priority,
    Settlement,
    State,
    Terms,
    Wanted,
)
from router.model.destination import AssociationPer
from router.model.outcome import Cause
from tests.durable.world import HEAD, MINUTE, Clock, World

pytestmark = pytest.mark.trust

NAMES = ("A", "B", "C")
OUTCOMES = (State.DELIVERED, State.QUEUED, State.DEAD, State.HELD)
CONTENTS = (b"one", b"another")
SIZES = {content: len(HEAD) + len(content) for content in CONTENTS}
STUDIES = ("", "S1", "S2")
TERMS = st.builds(
    Terms,
    priority=st.sampled_from(Priority),
    wait_for_quiet=st.sampled_from((None, None, 2 * MINUTE)),
    once_within=st.sampled_from((None, None, 3 * MINUTE)),
    quota=st.sampled_from((None, None, 2 * len(HEAD) + 5, 4 * len(HEAD))),
    best_effort=st.booleans(),
    first_of=st.sampled_from(((), ("A", "B"), ("C", "A", "B"))),
    failover_after=st.sampled_from((None, MINUTE, 2 * MINUTE)),
)
PLAIN = st.just(Terms())


@dataclass
class Owed:
    """One delivery, as the model sees it."""

    number: int
    instance: str
    destination: str
    state: State
    received: datetime
    due: datetime
    content: bytes
    sop_instance: str
    study: str
    series: str
    terms: Terms
    cause: Cause | None = None
    kept: bool = True
    quiet: bool = False
    token: int = 0
    attempts: int = 0
    uncertain: bool = False

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return SIZES[self.content]

    @property
    def settled(self) -> bool:
        """Whether it has no claim on the payload."""
        return self.state in SETTLED or not self.kept

    def owe(self, due: datetime) -> None:
        """It is to be sent, from the beginning."""
        self.state, self.due, self.quiet, self.kept, self.attempts, self.cause = State.QUEUED, due, False, True, 0, None

    def group(self, per: AssociationPer) -> str:
        """Its study or series."""
        return self.study if per is AssociationPer.STUDY else self.series


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
        self.quiet: dict[tuple[str, str], datetime] = {}
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
        if all(each.settled for each in self.owed.values() if each.instance == instance):
            self.settled_at.setdefault(instance, self.clock())

    def of(self, destination: str, *states: State) -> list[Owed]:
        """Deliveries of a destination, by number."""
        return [each for each in self.owed.values() if each.destination == destination and each.state in states]

    def plan(self, order: Order, sop_instance: str, content: bytes) -> Order:
        """What becomes of a duplicate."""
        window = order.terms.once_within
        if order.state is State.QUEUED and window is not None:
            for each in self.of(order.destination, State.QUEUED, State.IN_FLIGHT, State.DELIVERED):
                same = (each.sop_instance, each.content) == (sop_instance, content)
                if same and each.received >= self.clock() - window:
                    return Order(order.destination, State.DROPPED, Cause.DUPLICATE, terms=order.terms)
        return order

    def exceeds(self, order: Order, size: int) -> bool:
        """Whether there is no room for an order."""
        waiting = self.of(order.destination, State.QUEUED, State.IN_FLIGHT, State.HELD, State.DEAD)
        kept = sum(each.size for each in waiting if each.kept)
        quota = order.terms.quota
        return order.state is State.QUEUED and quota is not None and kept + size > quota

    def make_room(self, order: Order, size: int) -> tuple[Order, GivenUp]:
        """What a destination gives up for an order, perhaps the order itself."""
        quota = order.terms.quota
        assert quota is not None
        name = order.destination
        if sum(each.size for each in self.of(name, State.IN_FLIGHT, State.HELD)) + size > quota:
            return Order(name, State.DEAD, Cause.OVER_QUOTA, terms=order.terms), GivenUp(name, 1, size)
        count = freed = 0
        for each in [each for each in self.of(name, State.DEAD) if each.kept] + self.of(name, State.QUEUED):
            if not self.exceeds(order, size):
                break
            count, freed = count + 1, freed + each.size
            each.cause = Cause.OVER_QUOTA if each.state is State.QUEUED else each.cause
            each.state, each.kept = State.DEAD, False
            self.stamp(each.instance)
        return order, GivenUp(name, count, freed)

    @rule(
        names=st.sets(st.sampled_from(NAMES)),
        dropped=st.booleans(),
        content=st.sampled_from(CONTENTS),
        sop_instance=st.sampled_from(("2.25.1", "2.25.2")),
        study=st.sampled_from(STUDIES),
        series=st.sampled_from(("", "X1", "X2")),
        terms=st.one_of(PLAIN, TERMS),
    )
    def accept(
        self,
        *,
        names: set[str],
        content: bytes,
        sop_instance: str,
        study: str,
        series: str,
        terms: Terms,
        dropped: bool,
    ) -> None:
        """For some destinations; for none it is held."""
        orders = [Order(name, terms=terms) for name in sorted(names)] or [Order("", State.HELD, Cause.NO_ROUTE)]
        orders += [Order("A", State.DROPPED)] * dropped
        size = SIZES[content]
        planned = [self.plan(order, sop_instance, content) for order in orders]
        owed = [order for order in planned if order.state is State.QUEUED]
        refused = bool(owed) and all(self.exceeds(order, size) and not terms.best_effort for order in owed)
        changed = any(each.sop_instance == sop_instance and each.content != content for each in self.owed.values())

        async def accept() -> tuple[str, Accepted | None]:
            arrived = self.world.sealed(content, sop_instance=sop_instance, study=study, series=series)
            try:
                return arrived.ulid, await self.world.queue.accept(arrived, orders)
            except OverQuotaError:
                self.world.spool.withdraw(arrived.path)
                return arrived.ulid, None

        ulid, accepted = self.portal.call(accept)
        if refused:
            assert accepted is None
            return
        assert accepted is not None
        given_up: list[GivenUp] = []
        over_quota: list[str] = []
        final: list[Order] = []
        for order in planned:
            if self.exceeds(order, size):
                if terms.best_effort:
                    order, gone = self.make_room(order, size)  # noqa: PLW2901 -- as the queue decided
                    given_up.append(gone)
                else:
                    over_quota.append(order.destination)
            final.append(order)
            self.add(order, ulid, content=content, sop_instance=sop_instance, study=study, series=series)
        assert [(each.destination, each.state, each.cause) for each in accepted.orders] == [
            (each.destination, each.state, each.cause) for each in final
        ]
        assert (accepted.given_up, accepted.over_quota) == (tuple(given_up), tuple(over_quota))
        assert accepted.changed_content == changed
        self.stamp(ulid)
        self.hold_strangers()

    def add(self, order: Order, ulid: str, *, content: bytes, sop_instance: str, study: str, series: str) -> None:
        """One delivery more."""
        self.accepted += 1
        now = self.clock()
        mine = Owed(
            self.accepted,
            ulid,
            order.destination,
            order.state,
            now,
            now,
            content,
            sop_instance,
            study,
            series,
            order.terms,
            order.cause,
        )
        self.owed[self.accepted] = mine
        mine.kept = order.state is not State.DEAD
        if order.terms.wait_for_quiet is not None and study and order.state is State.QUEUED:
            mine.quiet = True
            place = (order.destination, study)
            self.quiet[place] = max(self.quiet.get(place, now), now + order.terms.wait_for_quiet)

    def release(self, name: str) -> None:
        """Studies that have become quiet."""
        for (destination, study), until in list(self.quiet.items()):
            if destination == name and until <= self.clock():
                del self.quiet[destination, study]
                for each in self.of(destination, *State):
                    if each.study == study and each.quiet:
                        each.quiet, each.due = False, each.received

    def select(self, name: str, wanted: Wanted) -> list[Owed]:
        """What a claim should take, in the order of its taking."""
        turns = sorted(Priority, key=lambda priority: (priority is not wanted.first, priority))
        due = {
            priority: sorted(
                (
                    each
                    for each in self.of(name, State.QUEUED)
                    if each.terms.priority is priority and not each.quiet and each.due <= self.clock()
                ),
                key=lambda each: (each.due, each.number),
                reverse=wanted.newest,
            )
            for priority in turns
        }
        if wanted.per is not AssociationPer.ANY:
            group = wanted.only
            if group is None:
                taken = {each.group(wanted.per) for each in self.of(name, State.IN_FLIGHT)} - {""}
                free = [each for turn in turns for each in due[turn] if each.group(wanted.per) not in taken]
                if not free or not free[0].group(wanted.per):
                    return free[:1]
                group = free[0].group(wanted.per)
            due = {turn: [each for each in due[turn] if group and each.group(wanted.per) == group] for turn in turns}
        selected: list[Owed] = []
        for turn in turns:
            some = due[turn][: wanted.limit - len(selected)]
            selected += reversed(some) if wanted.newest else some
        return selected

    @rule(
        name=st.sampled_from(NAMES),
        wanted=st.builds(
            Wanted,
            st.integers(1, 4),
            first=st.sampled_from(Priority),
            newest=st.booleans(),
            per=st.sampled_from(AssociationPer),
            only=st.sampled_from((None, None, None, "", "S1", "X1")),
        ),
    )
    def claim(self, name: str, wanted: Wanted) -> None:
        """What is due and wanted, what belongs together together."""
        self.release(name)
        claim = self.portal.call(self.world.queue.claim, name, "forwarder", wanted, self.clock())
        selected = self.select(name, wanted)
        assert [delivery.id for delivery in claim.deliveries] == [each.number for each in together(selected)]
        for delivery in claim.deliveries:
            mine = self.owed[delivery.id]
            assert (delivery.attempts, delivery.uncertain) == (mine.attempts, mine.uncertain)
            assert (delivery.study, delivery.series, delivery.priority) == (
                mine.study,
                mine.series,
                mine.terms.priority,
            )
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
        revived: Counter[str] = Counter()
        for mine in self.some(numbers):
            if mine.state in (State.DEAD, State.HELD, State.QUEUED) and mine.destination in self.configured:
                revived[mine.destination] += 1
                mine.owe(self.clock())
                self.settled_at.pop(mine.instance, None)
        assert self.portal.call(self.world.queue.interventions.revive, sorted(numbers), self.clock()) == revived

    def some(self, numbers: Iterable[int]) -> Sequence[Owed]:
        """Those that there are."""
        return [self.owed[number] for number in sorted(numbers) if number in self.owed]

    @rule(numbers=st.sets(st.integers(1, 12)))
    def hold(self, numbers: set[int]) -> None:
        """What is queued."""
        held = [mine for mine in self.some(numbers) if mine.state is State.QUEUED]
        assert self.portal.call(self.world.queue.interventions.hold, sorted(numbers), self.clock()) == len(held)
        for mine in held:
            mine.state, mine.cause = State.HELD, Cause.OPERATOR

    @rule(numbers=st.sets(st.integers(1, 12), max_size=4))
    def drop(self, numbers: set[int]) -> None:
        """What is not in flight, nor settled already."""
        dropped = [mine for mine in self.some(numbers) if mine.state in (State.QUEUED, State.HELD, State.DEAD)]
        assert self.portal.call(self.world.queue.interventions.drop, sorted(numbers), self.clock()) == len(dropped)
        for mine in dropped:
            mine.state, mine.cause, mine.kept = State.DROPPED, Cause.OPERATOR, True
            self.stamp(mine.instance)

    @rule(numbers=st.sets(st.integers(1, 12), max_size=4), name=st.sampled_from(NAMES))
    def readdress(self, numbers: set[int], name: str) -> None:
        """Also what no route took; only to who is configured."""
        moved = [mine for mine in self.some(numbers) if mine.state in (State.QUEUED, State.HELD, State.DEAD)]
        moved = moved if name in self.configured else []
        assert self.portal.call(self.world.queue.interventions.readdress, sorted(numbers), name, self.clock()) == len(
            moved
        )
        self.move(moved, name)

    def move(self, deliveries: Iterable[Owed], name: str) -> None:
        """They are owed to another."""
        for mine in deliveries:
            mine.destination, mine.uncertain = name, False
            mine.owe(self.clock())
            self.settled_at.pop(mine.instance, None)

    @rule(
        name=st.sampled_from(NAMES),
        to=st.sampled_from(NAMES),
        trouble=st.integers(0, 3),
        limit=st.integers(1, 3),
    )
    def fail_over(self, name: str, to: str, trouble: int, limit: int) -> None:
        """What may be owed to either, after its time."""
        self.release(name)
        movable = [
            (mine.terms.failover_after, mine.number, mine)
            for mine in self.of(name, State.QUEUED)
            if mine.terms.failover_after is not None
            and mine.terms.failover_after <= trouble * MINUTE
            and not mine.quiet
            and {name, to} <= set(mine.terms.first_of)
            and to in self.configured
        ]
        moved = [mine for *_, mine in sorted(movable)[:limit]]
        since = self.clock() - trouble * MINUTE
        assert self.portal.call(self.world.queue.fail_over, name, to, since, limit, self.clock()) == len(moved)
        self.move(moved, to)

    @rule(numbers=st.sets(st.integers(1, 12), max_size=4), to=st.sampled_from((None, *NAMES)))
    def resend(self, numbers: set[int], to: str | None) -> None:
        """What is settled, unless it is on its way already."""
        resent: Counter[str] = Counter()
        for mine in self.some(numbers):
            name = mine.destination if to is None else to
            away = any(each.instance == mine.instance for each in self.of(name, *OPEN))
            if mine.state in SETTLED and name in self.configured and not away:
                resent[name] += 1
                self.add(
                    Order(name, terms=Terms(mine.terms.priority)),
                    mine.instance,
                    content=mine.content,
                    sop_instance=mine.sop_instance,
                    study=mine.study,
                    series=mine.series,
                )
                self.owed[self.accepted].received = mine.received
                self.settled_at.pop(mine.instance, None)
        assert self.portal.call(self.world.queue.interventions.resend, sorted(numbers), to, self.clock()) == resent

    @rule(names=st.frozensets(st.sampled_from(NAMES), min_size=1))
    def configure(self, names: frozenset[str]) -> None:
        """Destinations come and go."""
        self.portal.call(self.world.queue.standings.configured, dict.fromkeys(names), self.clock())
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
        """The desk shows and counts what the model has, each has its payload, and the next due time is right."""

        async def ask() -> tuple[Sequence[Entry], Sequence[Tally], Sequence[datetime | None]]:
            due = [await self.world.queue.next_due(name) for name in NAMES]
            return await self.world.entries(), await self.world.desk.tallies(), due

        entries, tallies, next_due = self.portal.call(ask)
        assert [(each.id, each.destination, each.state, each.cause, each.attempts) for each in entries] == [
            (number, each.destination, each.state, each.cause, each.attempts) for number, each in self.owed.items()
        ]
        assert [each.next_attempt_at for each in entries] == [
            None
            if each.state is not State.QUEUED
            else self.quiet[each.destination, each.study]
            if each.quiet
            else each.due
            for each in self.owed.values()
        ]
        assert self.world.files() == {f"{each.instance}.dcm" for each in self.owed.values()}
        for name, due in zip(NAMES, next_due, strict=True):
            waiting = [each.due for each in self.of(name, State.QUEUED) if not each.quiet]
            waiting += [until for (destination, _), until in self.quiet.items() if destination == name]
            assert due == min(waiting, default=None)
        places = {(each.destination, each.state): self.of(each.destination, each.state) for each in self.owed.values()}
        assert {(each.destination, each.state): (each.deliveries, each.size) for each in tallies} == {
            place: (len(there), sum(each.size for each in there)) for place, there in places.items()
        }

    @rule(
        name=st.sampled_from((None, *NAMES, "")),
        state=st.sampled_from((None, *State)),
        cause=st.sampled_from((None, None, Cause.OVER_QUOTA, Cause.REFUSED)),
        study=st.sampled_from((None, None, "S1")),
        after=st.integers(0, 5),
        limit=st.integers(1, 5),
    )
    def look(
        self,
        *,
        name: str | None,
        state: State | None,
        cause: Cause | None,
        study: str | None,
        after: int,
        limit: int,
    ) -> None:
        """A page of the deliveries that match a question."""
        query = Query(destination=name, state=state, cause=cause, study=study, after=after, limit=limit)
        asked: list[Callable[[Owed], bool]] = [
            lambda each: name in (None, each.destination),
            lambda each: state in (None, each.state),
            lambda each: cause in (None, each.cause),
            lambda each: study in (None, each.study),
            lambda each: each.number > after,
        ]
        wanted = [number for number, each in self.owed.items() if all(condition(each) for condition in asked)]
        found = self.portal.call(self.world.desk.entries, query, self.clock())
        assert [each.id for each in found] == wanted[:limit]


def together(deliveries: Sequence[Owed]) -> list[Owed]:
    """Each after the first of its study, and there after the first of its series."""

    def first(own: Callable[[Owed, Owed], bool], each: Owed) -> int:
        return next(place for place, other in enumerate(deliveries) if other is each or own(other, each))

    def same_study(one: Owed, other: Owed) -> bool:
        return one.study == other.study and bool(one.study or one.instance == other.instance)

    def same_series(one: Owed, other: Owed) -> bool:
        same = one.series == other.series and bool(one.series or one.instance == other.instance)
        return same_study(one, other) and same

    return sorted(deliveries, key=lambda each: (first(same_study, each), first(same_series, each)))


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
