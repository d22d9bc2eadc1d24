"""Every wait ends when it should, none spins, and nothing is sent, claimed or kept while it must not be."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import pytest

from router.dicom.content import Outgoing
from router.flow.breaker import Breaker
from router.flow.choices import Choices
from router.flow.failover import Failover
from router.flow.forwarders import Forwarders
from router.flow.pacer import Pacer
from router.journal import Defect, Delivered, DestinationRecovered, DestinationTrouble, FailedOver
from router.model.delivery import Order, Standing, State, Terms
from router.model.destination import AssociationPer, Destination, Strategy, Window
from router.model.outcome import Answered
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from router.rules.conditions import AllOf
from router.rules.pacing import CLAIMED_AT_ONCE, Reason, Wait
from router.rules.routing import Route, Routes, Target
from tests.flow.pacs import ABORTED, DAMAGED, UNREADABLE, Pacs, Relabels, Response
from tests.flow.world import HOUR, MINUTE, PACS, SECOND, Flow, Passing

pytestmark = pytest.mark.delivery

PER_STUDY = replace(PACS, association_per=AssociationPer.STUDY)


class Impatient(Passing):
    """Fails whoever looks at it all the time: what spins never lets the mock clock go on."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def __call__(self) -> datetime:
        """The instant."""
        self.looks += 1
        assert self.looks < 5000, "somebody spins"
        return super().__call__()


class Slow(Relabels):
    """Takes a while for each."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    @asynccontextmanager
    async def converted(self, instance: Outgoing, transfer_syntax: str, /) -> AsyncIterator[Outgoing]:
        """The instance in another transfer syntax."""
        await anyio.sleep(self._seconds)
        async with super().converted(instance, transfer_syntax) as converted:
            yield converted


async def owe(flow: Flow, names: Sequence[str], *, study: str, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> None:
    """Instances of one study."""
    for name in names:
        arrival = flow.world.sealed(sop_instance=name, study=study, series=study)
        identity = replace(arrival.identity, transfer_syntax=syntax)
        await flow.accept(replace(arrival, identity=identity), ["PACS"])


async def slowly(_: Outgoing) -> Response:
    """A PACS that takes a second for an instance."""
    await anyio.sleep(1)
    return Answered(0)


async def aborting(_: Outgoing) -> Response:
    """A PACS that takes nothing."""
    return ABORTED


async def test_who_finds_only_the_study_of_another_waits(flow: Flow) -> None:
    """More of a study than one claim takes is due, and its association is at work: the others do not spin."""
    flow.clock = Impatient()
    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await owe(flow, [str(number) for number in range(3 * CLAIMED_AT_ONCE)], study="1")
        async with flow.forwarding(replace(PER_STUDY, max_associations=3)):
            await anyio.sleep(10)
            await owe(flow, ["other"], study="2")
            await anyio.sleep(2)
            assert "other" in flow.pacs.received
            await anyio.sleep(3 * CLAIMED_AT_ONCE)
    assert len(flow.pacs.received) == 3 * CLAIMED_AT_ONCE + 1
    assert len(flow.pacs.asked) == 2
    assert not flow.happened(Defect)


async def test_a_study_between_two_claims_is_not_taken_by_another(flow: Flow) -> None:
    """Nothing of it is in flight while its association lingers, yet what arrives then comes over that one."""
    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await owe(flow, "A", study="1")
        async with flow.forwarding(replace(PER_STUDY, max_associations=4)):
            for name in "BCDEFGH":
                await anyio.sleep(1.5)
                await owe(flow, name, study="1")
            await anyio.sleep(1.5)
    assert flow.pacs.received == [*"ABCDEFGH"]
    assert len(flow.pacs.asked) == 1


async def test_an_association_does_not_end_while_something_of_its_study_is_converted(flow: Flow) -> None:
    """Neither because that takes longer than it lingers, nor for another study that is due."""
    flow.pacs.accepts = frozenset({IMPLICIT_VR_LITTLE_ENDIAN})
    flow.transcoder = Slow(5)
    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await owe(flow, [f"A{number}" for number in range(8)], study="1")
        await owe(flow, [f"B{number}" for number in range(8)], study="2", syntax=IMPLICIT_VR_LITTLE_ENDIAN)
        async with flow.forwarding(PER_STUDY):
            await anyio.sleep(60)
    assert [name[0] for name in flow.pacs.received] == [*"AAAAAAAABBBBBBBB"]
    assert len(flow.pacs.asked) == 2


@pytest.mark.parametrize("how", ["paused", "window"])
async def test_a_destination_in_trouble_is_not_tried_while_it_is_kept_back(flow: Flow, how: str) -> None:
    """Not with one instance either; when it may be sent to again, it is tried."""
    flow.pacs.respond = aborting
    now = flow.clock().astimezone()
    window = Window(frozenset(range(7)), now.time(), (now + 30 * SECOND).time())
    destination = replace(PACS, only=(window,)) if how == "window" else PACS
    async with flow.open(PACS):
        await owe(flow, "ABC", study="1")
        async with flow.forwarding(destination) as forwarder:
            await anyio.sleep(20)
            forwarder.pause(paused=how == "paused")
            await anyio.sleep(11)
            assert not forwarder.works
            sent = len(flow.pacs.received)
            await anyio.sleep(20 * MINUTE / SECOND)
            assert len(flow.pacs.received) == sent
            flow.pacs.respond = slowly
            forwarder.pause(paused=False)
            await anyio.sleep(24 * HOUR / SECOND)
            assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}


async def test_trouble_on_this_machine_does_not_show_that_a_destination_works(flow: Flow) -> None:
    """What could not even be sent says nothing of the peer; the next instance that can be sent does."""
    failures: list[Response] = [Answered(0xA700), Answered(0xA700), UNREADABLE, DAMAGED]

    async def respond(_: Outgoing) -> Response:
        return failures.pop(0) if failures else Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await owe(flow, "ABCD", study="1")
        async with flow.forwarding():
            await anyio.sleep(MINUTE / SECOND)
        states = [(await flow.entry(name)).state for name in "ABCD"]
        assert sorted(states) == [State.DEAD, *[State.DELIVERED] * 3]
    assert flow.pacs.received.index("D") < len(flow.pacs.received) - 1
    troubles = [type(event) for event in flow.events if isinstance(event, DestinationTrouble | DestinationRecovered)]
    assert troubles == [DestinationTrouble, DestinationRecovered]
    recovered, delivered = (flow.events.index(flow.happened(kind)[0]) for kind in (DestinationRecovered, Delivered))
    assert delivered == recovered + 1


async def test_a_time_that_is_over_is_not_waited_for(flow: Flow) -> None:
    """The clock goes on between the decision to wait and the wait."""
    breaker = Breaker(PACS, flow.queue.standings, journal=flow.journal, clock=flow.clock, chance=flow.chance)
    pacer = Pacer(PACS, breaker, clock=flow.clock)
    for reason in (Reason.BANDWIDTH, Reason.OUTSIDE_WINDOW):
        await pacer.wait(Wait(reason, flow.clock() - timedelta(microseconds=1)))
    assert flow.passed == timedelta()


async def test_what_is_deferred_under_a_new_name_wakes_its_forwarder(flow: Flow) -> None:
    """The destination is renamed while the instance is being sent, and the peer has no room for it."""
    answered = anyio.Event()

    async def respond(_: Outgoing) -> Response:
        if not answered.is_set():
            await answered.wait()
            return Answered(0xA700)
        return Answered(0)

    flow.pacs.respond = respond
    renamed = replace(PACS, name="RENAMED", renamed_from="PACS")
    async with flow.open(PACS), anyio.create_task_group() as group:
        await owe(flow, "A", study="1")
        old = flow.forwarder(PACS)
        group.start_soon(old.run)
        await anyio.sleep(1)
        await flow.queue.standings.configured({"RENAMED": "PACS"}, flow.clock())
        old.stop()
        group.start_soon(flow.forwarder(renamed).run)
        await anyio.sleep(1)
        answered.set()
        await anyio.sleep(MINUTE / SECOND)
        assert (await flow.entries("RENAMED"))["A"].state is State.DELIVERED
        group.cancel_scope.cancel()


async def test_an_error_of_ours_leaves_nothing_in_flight(flow: Flow) -> None:
    """Neither what has the destination's strategy nor what has an operator's."""
    faults = [ZeroDivisionError()]

    async def respond(_: Outgoing) -> Response:
        if faults:
            raise faults.pop()
        return Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await owe(flow, "AB", study="1")
        await flow.queue.interventions.revive([(await flow.entry("B")).id], flow.clock(), Strategy.UNIVERSAL)
        async with flow.forwarding():
            await anyio.sleep(MINUTE / SECOND)
        assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}


async def test_what_has_an_operators_strategy_is_kept_back_too(flow: Flow) -> None:
    """After a pause only what is being sent is finished."""
    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await owe(flow, "ABC", study="1")
        for name, strategy in (("B", Strategy.UNIVERSAL), ("C", Strategy.EXTENDED)):
            await flow.queue.interventions.revive([(await flow.entry(name)).id], flow.clock(), strategy)
        async with flow.forwarding() as forwarder:
            await anyio.sleep(0.5)
            forwarder.pause(paused=True)
            await anyio.sleep(MINUTE / SECOND)
            assert flow.pacs.received == ["A"]
            assert [(await flow.entry(name)).state for name in "BC"] == [State.QUEUED] * 2
            forwarder.pause(paused=False)
            await anyio.sleep(5)
    assert sorted(flow.pacs.received) == [*"ABC"]


async def test_a_reload_while_the_disk_is_full_ends_nothing(flow: Flow) -> None:
    """That the changed destination is to be tried at once is stored as soon as the disk takes it."""
    forwarders = Forwarders(flow.forwarder)
    async with flow.open(PACS), anyio.create_task_group() as moving:
        forwarders.configure([PACS], moving)
        await anyio.sleep(1)
        await flow.queue.standings.stand("PACS", Standing(3, flow.clock() + HOUR, held=True), flow.clock())
        flow.world.connection.execute("PRAGMA query_only=ON")
        forwarders.configure([replace(PACS, remote_port=105)], moving)
        await anyio.sleep(MINUTE / SECOND)
        flow.world.connection.execute("PRAGMA query_only=OFF")
        await anyio.sleep(MINUTE / SECOND)
        assert await flow.queue.standings.standing("PACS") == Standing()
        await owe(flow, "A", study="1")
        await anyio.sleep(1)
        assert flow.pacs.received == ["A"]
        moving.cancel_scope.cancel()


# Several destinations, of which an instance is owed to the first that works

BACKUP = replace(PACS, name="BACKUP")
EITHER = Target(("PACS", "BACKUP"), 10 * MINUTE)
ROUTES = Routes((Route("either", AllOf(()), (EITHER,)),))
TERMS = Terms(first_of=EITHER.first_of, failover_after=EITHER.failover_after)


async def test_a_destination_that_everything_was_moved_from_is_tried_with_what_comes(flow: Flow) -> None:
    """Its disk was full, which only another C-STORE shows to be over; a failure moves that one on at once."""
    full = True

    async def respond(_: Outgoing) -> Response:
        return Answered(0xA700 if full else 0)

    flow.pacs.respond = respond
    backup = Pacs()

    def make(destination: Destination) -> "object":
        return flow.forwarder(destination, backup if destination.name == "BACKUP" else flow.pacs)

    forwarders = Forwarders(make)  # type: ignore[arg-type]  # it is one
    choices = Choices(flow.world.desk, forwarders.avoided)
    failover = Failover(
        flow.queue,
        choices,
        routes=lambda: ROUTES,
        troubled_since=forwarders.troubled_since,
        journal=flow.journal,
        clock=flow.clock,
    )

    async def arrive(name: str) -> str:
        to = "BACKUP" if "PACS" in choices.in_trouble() else "PACS"
        await flow.queue.accept(flow.world.sealed(sop_instance=name, study=name), [Order(to, terms=TERMS)])
        await anyio.sleep(5)
        return to

    async with flow.open(PACS, BACKUP), anyio.create_task_group() as moving:
        forwarders.configure([PACS, BACKUP], moving)
        moving.start_soon(failover.run)
        assert [await arrive("A"), await arrive("B"), await arrive("C")] == ["PACS", "PACS", "BACKUP"]
        await anyio.sleep(15 * MINUTE / SECOND)
        assert sorted(backup.received) == [*"ABC"]
        assert forwarders.in_trouble() == {"PACS"}
        assert [await arrive("D"), await arrive("E")] == ["PACS", "BACKUP"]
        assert sorted(backup.received) == [*"ABCDE"]
        full = False
        await anyio.sleep(2 * MINUTE / SECOND)
        assert await arrive("F") == "PACS"
        assert flow.pacs.received[-1] == "F"
        assert not forwarders.in_trouble()
        moving.cancel_scope.cancel()
    assert flow.happened(FailedOver)


async def test_a_renamed_destination_waits_for_the_one_it_was(flow: Flow) -> None:
    """Under whatever name: never are more associations open than it takes."""

    async def respond(_: Outgoing) -> Response:
        await anyio.sleep(5)
        return Answered(0)

    flow.pacs.respond = respond
    renamed = replace(PACS, name="NEW", renamed_from="PACS")
    forwarders = Forwarders(flow.forwarder)
    async with flow.open(PACS), anyio.create_task_group() as moving:
        forwarders.configure([PACS], moving)
        await flow.owe("A", "B")
        await anyio.sleep(1)
        await flow.queue.standings.configured({"NEW": "PACS"}, flow.clock())
        forwarders.configure([renamed], moving)
        await flow.owe("C", to=("NEW",))
        await anyio.sleep(30)
        moving.cancel_scope.cancel()
    assert sorted(flow.pacs.received) == ["A", "B", "C"]
    assert flow.pacs.most_open == 1
