"""What holds a destination back, or puts one delivery before another: the forwarder with every limit of its own."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from router.dicom.content import Outgoing
from router.dicom.scu import AssociationFailedError
from router.flow.choices import Choices
from router.flow.failover import Failover
from router.flow.forwarders import Forwarders
from router.journal import Defect, DestinationTrouble, FailedOver
from router.model.delivery import Order, Priority, State, Terms
from router.model.destination import AssociationPer, Destination, Strategy, Window
from router.model.outcome import Answered, Cause, Failed
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from router.rules.conditions import AllOf
from router.rules.pacing import CLAIMED_AT_ONCE, Go, Reason, Wait
from router.rules.routing import Route, Routes, Target
from tests.flow.pacs import Pacs, Response, connection_refused
from tests.flow.world import HOUR, MINUTE, PACS, SECOND, Flow

pytestmark = pytest.mark.delivery

LOCAL_LIMIT = AssociationFailedError(Failed(Cause.LOCAL_LIMIT, "The peer takes no more associations"), (2, 3, 2))


USUAL = Terms()


async def owe(flow: Flow, names: Sequence[str], *, to: str = "PACS", study: str = "1", terms: Terms = USUAL) -> None:
    """Instances of one study, on some terms."""
    for name in names:
        arrival = flow.world.sealed(sop_instance=name, study=study, series=study)
        await flow.queue.accept(arrival, [Order(to, terms=terms)])


async def slowly(_: Outgoing) -> Response:
    """A PACS that takes a second for an instance."""
    await anyio.sleep(1)
    return Answered(0)


async def test_urgent_ones_pass_a_backlog_and_bulk_is_not_starved(flow: Flow) -> None:
    """What is urgent is sent with the next claim; bulk has every seventh claim, however much else there is."""
    flow.pacs.respond = slowly
    normal = [f"normal {number}" for number in range(12 * CLAIMED_AT_ONCE)]
    async with flow.open(PACS):
        await owe(flow, ["bulk"], terms=Terms(Priority.BULK))
        await owe(flow, normal)
        async with flow.forwarding():
            await anyio.sleep(CLAIMED_AT_ONCE + 0.5)
            await owe(flow, ["urgent"], terms=Terms(Priority.URGENT))
            await anyio.sleep(8 * CLAIMED_AT_ONCE)
    sent = flow.pacs.received
    assert sent.index("urgent") <= 2 * CLAIMED_AT_ONCE
    assert sent.index("bulk") <= 4 * CLAIMED_AT_ONCE


async def test_fresh_ones_have_their_share_beside_a_backlog(flow: Flow) -> None:
    """After an outage the oldest and the newest take turns: what arrives now does not wait for all of yesterday."""
    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await owe(flow, [str(number) for number in range(40 * CLAIMED_AT_ONCE)])
        await anyio.sleep(3600)
        async with flow.forwarding():
            await anyio.sleep(1)
            await owe(flow, ["fresh"], study="2")
            await anyio.sleep(15 * CLAIMED_AT_ONCE)
    assert flow.pacs.received[0] == "0"
    assert "fresh" in flow.pacs.received


async def test_an_association_carries_so_many_instances(flow: Flow) -> None:
    """Then it is released, and the next one begins."""
    async with flow.open(PACS):
        await owe(flow, "ABCDEFG")
        async with flow.forwarding(replace(PACS, max_instances_per_association=3)):
            await anyio.sleep(1)
            assert flow.pacs.received == [*"ABCDEFG"]
            assert len(flow.pacs.asked) == 3
            assert [association.released for association in flow.pacs.associations] == [True, True, False]


@pytest.mark.parametrize("per", [AssociationPer.STUDY, AssociationPer.SERIES])
async def test_an_association_for_each_study_or_series(flow: Flow, per: AssociationPer) -> None:
    """One study is never on two associations at the same time, and none carries two."""
    async with flow.open(PACS):
        for name in "ABCDEF":
            await owe(flow, [name], study="even" if name in "BDF" else "odd")
        async with flow.forwarding(replace(PACS, association_per=per, max_associations=3)):
            flow.pacs.respond = slowly
            await anyio.sleep(8)
            assert sorted(flow.pacs.received) == [*"ABCDEF"]
            assert flow.pacs.most_open == len(flow.pacs.asked) == 2
            # More of a study whose association lingers comes over it; the other one has been released meanwhile.
            await owe(flow, ["G"], study="odd")
            await anyio.sleep(2)
            assert flow.pacs.received[-1] == "G"


async def test_a_study_is_sent_when_it_is_quiet(flow: Flow) -> None:
    """Nothing goes out while something of the study arrives within the time, then all of it on one association."""
    terms = Terms(wait_for_quiet=MINUTE)
    async with flow.open(PACS), flow.forwarding():
        for name in "ABC":
            await owe(flow, [name], terms=terms)
            await anyio.sleep(50)
        assert flow.pacs.received == []
        assert (await flow.entry("A")).next_attempt_at == (await flow.entry("C")).next_attempt_at
        await anyio.sleep(11)
        assert flow.pacs.received == [*"ABC"]
        assert len(flow.pacs.asked) == 1


async def test_nothing_is_sent_outside_of_the_window(flow: Flow) -> None:
    """It waits for the window to open, in local time, says until when, and stops when it closes."""
    flow.pacs.respond = slowly
    now = flow.clock().astimezone()
    window = Window(frozenset(range(7)), (now + HOUR).time(), (now + HOUR + 3 * SECOND).time())
    async with flow.open(PACS):
        await owe(flow, "ABCDEF")
        async with flow.forwarding(replace(PACS, only=(window,))) as forwarder:
            await anyio.sleep(3599)
            assert flow.pacs.received == []
            assert forwarder.pace() == Wait(Reason.OUTSIDE_WINDOW, now + HOUR)
            await anyio.sleep(20)
            assert flow.pacs.received == [*"ABC"]
            assert [(await flow.entry(name)).state for name in "DEF"] == [State.QUEUED] * 3


async def test_bandwidth(flow: Flow) -> None:
    """So many bytes in a second, on the average, over one association."""
    async with flow.open(PACS):
        await owe(flow, "ABCDE")
        size = (await flow.entry("A")).size
        async with flow.forwarding(replace(PACS, max_bytes_per_second=size)):
            await anyio.sleep(2.5)
            assert flow.pacs.received == [*"ABC"]
            await anyio.sleep(2)
            assert flow.pacs.received == [*"ABCDE"]
            assert len(flow.pacs.asked) == 1


async def test_pause_outlives_a_restart(flow: Flow) -> None:
    """What is being sent is finished, the rest stays, also for the next run, until somebody resumes."""
    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await owe(flow, "ABCD")
        async with flow.forwarding() as forwarder:
            await anyio.sleep(1.5)
            await flow.queue.interventions.pause("PACS", flow.clock(), paused=True)
            forwarder.pause(paused=True)
            await anyio.sleep(60)
            assert flow.pacs.received == [*"AB"]
            assert forwarder.pace() == Wait(Reason.PAUSED)
            assert flow.pacs.open == 0
        async with flow.forwarding() as forwarder:
            await anyio.sleep(60)
            assert flow.pacs.received == [*"AB"]
            await flow.queue.interventions.pause("PACS", flow.clock(), paused=False)
            forwarder.pause(paused=False)
            await anyio.sleep(3)
            assert flow.pacs.received == [*"ABCD"]


async def test_a_peer_with_a_limit_is_no_destination_in_trouble(flow: Flow) -> None:
    """It takes one association at a time: half as many are tried, the one that is open goes on."""
    flow.pacs.respond = slowly
    flow.pacs.refusal = lambda _: LOCAL_LIMIT if flow.pacs.open else None
    async with flow.open(PACS):
        await owe(flow, [str(number) for number in range(3 * CLAIMED_AT_ONCE)])
        async with flow.forwarding(replace(PACS, max_associations=4)) as forwarder:
            await anyio.sleep(4)
            assert forwarder.associations == (1, 1)
            assert forwarder.works
            await anyio.sleep(3 * CLAIMED_AT_ONCE)
            assert len(flow.pacs.received) == 3 * CLAIMED_AT_ONCE
    assert not flow.happened(DestinationTrouble)
    assert flow.pacs.most_open == 1


async def test_a_peer_that_takes_more_again_gets_more(flow: Flow) -> None:
    """Each claim that went through allows one association more, up to the configured number."""
    flow.pacs.respond = slowly
    limit = [1]
    flow.pacs.refusal = lambda _: LOCAL_LIMIT if flow.pacs.open >= limit[0] else None
    async with flow.open(PACS):
        await owe(flow, [str(number) for number in range(20 * CLAIMED_AT_ONCE)])
        async with flow.forwarding(replace(PACS, max_associations=3)) as forwarder:
            await anyio.sleep(4)
            limit[0] = 3
            await anyio.sleep(6 * CLAIMED_AT_ONCE)
            assert forwarder.associations == (3, 3)


async def test_a_peer_that_takes_no_association_at_all_is_in_trouble(flow: Flow) -> None:
    """Its limit may be used up by others: then it is waited for as for any other trouble."""
    flow.pacs.refusal = lambda _: LOCAL_LIMIT
    async with flow.open(PACS):
        await owe(flow, "A")
        async with flow.forwarding(replace(PACS, max_associations=2)) as forwarder:
            await anyio.sleep(1)
            assert not forwarder.works
    assert flow.happened(DestinationTrouble)


async def test_an_operators_strategy_counts_for_one_delivery(flow: Flow) -> None:
    """It is sent over an association of its own, with that strategy; the others go as configured."""
    async with flow.open(PACS):
        await owe(flow, "ABC")
        number = (await flow.entry("B")).id
        await flow.queue.interventions.revive([number], flow.clock(), Strategy.UNIVERSAL)
        async with flow.forwarding():
            await anyio.sleep(1)
        assert sorted(flow.pacs.received) == [*"ABC"]
        assert (await flow.entry("B")).strategy == Strategy.UNIVERSAL
        assert [asked.syntaxes for asked in flow.pacs.asked] == ["EI", "I"]
        assert ("B", IMPLICIT_VR_LITTLE_ENDIAN) in flow.pacs.sent
    assert flow.pacs.most_open == 1


async def test_a_destination_in_trouble_can_be_tried_at_once(flow: Flow) -> None:
    """An operator who has put it right need not wait, even where it is held."""
    flow.pacs.refusal = lambda _: connection_refused()
    async with flow.open(PACS):
        await owe(flow, "A")
        async with flow.forwarding() as forwarder:
            await anyio.sleep(40)
            flow.pacs.refusal = lambda _: None
            standing = await flow.queue.standings.standing("PACS")
            assert standing.retry_at is not None
            assert standing.retry_at > flow.clock() + SECOND
            await forwarder.retry_now()
            await anyio.sleep(0.5)
            assert flow.pacs.received == ["A"]


async def test_an_error_of_ours_costs_a_pause(flow: Flow) -> None:
    """A defect in one line is told with its place; the delivery is given back, and the line goes on."""
    faults = [ZeroDivisionError("a patient's name")]

    async def respond(_: Outgoing) -> Response:
        if faults:
            raise faults.pop()
        return Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await owe(flow, "AB")
        async with flow.forwarding():
            await anyio.sleep(1)
            assert {entry.state for entry in (await flow.entries()).values()} == {State.QUEUED}
            await anyio.sleep(20)
            assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}
    (defect,) = flow.happened(Defect)
    assert isinstance(defect, Defect)
    assert defect.destination == "PACS"
    assert defect.error.startswith("ZeroDivisionError at ")
    assert "patient" not in defect.error


# Several destinations, of which an instance is owed to the first that works

BACKUP = replace(PACS, name="BACKUP")
EITHER = Target(("PACS", "BACKUP"), 10 * MINUTE)
ROUTES = Routes((Route("either", AllOf(()), (EITHER,)),))
TERMS = Terms(first_of=EITHER.first_of, failover_after=EITHER.failover_after)


async def test_what_waits_moves_to_the_next_that_works(flow: Flow) -> None:
    """After ``failover_after`` of trouble, with a line in the log; what arrives for that study goes there too."""
    flow.pacs.refusal = lambda _: connection_refused()
    backup = Pacs()

    def make(destination: Destination) -> "object":
        return flow.forwarder(destination, backup if destination.name == "BACKUP" else flow.pacs)

    forwarders = Forwarders(make)  # type: ignore[arg-type]  # it is one
    choices = Choices(flow.world.desk, forwarders.in_trouble)
    failover = Failover(
        flow.queue,
        choices,
        routes=lambda: ROUTES,
        troubled_since=forwarders.troubled_since,
        journal=flow.journal,
        clock=flow.clock,
    )
    async with flow.open(PACS, BACKUP), anyio.create_task_group() as moving:
        forwarders.configure([PACS, BACKUP], moving)
        moving.start_soon(failover.run)
        await owe(flow, "AB", terms=TERMS)
        await owe(flow, "C", study="2")
        await anyio.sleep(5)
        assert await choices.of("1", [EITHER]) == {EITHER.first_of: "PACS"}
        assert await choices.of("3", [EITHER]) == {}
        assert choices.in_trouble() == {"PACS"}
        await anyio.sleep(timedelta(minutes=9, seconds=50).total_seconds())
        assert backup.received == []
        await anyio.sleep(20)
        assert backup.received == [*"AB"]
        assert [entry.identity.sop_instance for entry in (await flow.entries("PACS")).values()] == ["C"]
        assert await choices.of("1", [EITHER]) == {EITHER.first_of: "BACKUP"}
        moving.cancel_scope.cancel()
    (event,) = flow.happened(FailedOver)
    assert event == FailedOver(destination=("PACS", "BACKUP"), outcome=2)


async def test_a_study_that_is_remembered_needs_no_question(flow: Flow) -> None:
    """The latest choice counts, of a bounded number of studies; targets of one destination have none."""
    async with flow.open(PACS):
        choices = Choices(flow.world.desk, frozenset)
        choices.note("1", EITHER.first_of, "BACKUP")
        choices.note("", EITHER.first_of, "BACKUP")
        choices.note("1", (), "PACS")
        assert await choices.of("1", [EITHER, Target(("PACS",))]) == {EITHER.first_of: "BACKUP"}
        assert await choices.of("", [EITHER]) == {}
        for number in range(5000):
            choices.note(f"other {number}", EITHER.first_of, "PACS")
        assert await choices.of("1", [EITHER]) == {}
        assert await choices.of("other 4999", [EITHER]) == {EITHER.first_of: "PACS"}
        choices.forget()
        assert await choices.of("other 4999", [EITHER]) == {}


async def test_claims_are_as_large_as_they_may_be(flow: Flow) -> None:
    """Nothing holds the destination back: that is what an operator is told."""
    async with flow.open(PACS), flow.forwarding() as forwarder:
        assert forwarder.pace() == Go(CLAIMED_AT_ONCE)
        assert forwarder.associations == (0, 1)
