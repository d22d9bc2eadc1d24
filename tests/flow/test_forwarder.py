"""From the queue to one destination: whose fault a failure was, and how a destination in trouble is mended."""

from dataclasses import replace
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from router.dicom.content import Outgoing
from router.dicom.scu import AssociationFailedError
from router.durable.queue import QueueError
from router.flow.forwarder import OWNER
from router.journal import DeadLetter, DeliveryDeferred, DestinationRecovered, DestinationTrouble, SpoolTrouble
from router.model.delivery import Standing, State, Wanted
from router.model.destination import Retry
from router.model.outcome import Answered, Cause
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from router.rules.pacing import CLAIMED_AT_ONCE
from tests.durable.world import NOON
from tests.flow.pacs import ABORTED, NO_ANSWER, Asked, Response, connection_refused, rejected
from tests.flow.world import HOUR, MINUTE, PACS, SECOND, Flow

pytestmark = pytest.mark.unit

FULL = Answered(0xA700)
NOT_UNDERSTOOD = Answered(0xC000)
DUPLICATE = Answered(0x0111)


async def hours(number: float) -> None:
    """Let the mock clock run."""
    await anyio.sleep(number * 3600)


# What goes well


async def test_what_is_due_goes_over_one_association_which_is_released_after_it_lingered(flow: Flow) -> None:
    """Instances that wait share an association; when nothing more comes it lingers, then it is released."""
    async with flow.open(PACS):
        await flow.owe("1", "2", "3")
        async with flow.forwarding():
            await anyio.sleep(1.9)
            assert flow.pacs.received == ["1", "2", "3"]
            assert flow.pacs.open == 1
            await anyio.sleep(0.2)
            assert flow.pacs.open == 0
        assert [entry.state for entry in (await flow.entries()).values()] == [State.DELIVERED] * 3
    assert flow.pacs.associations[0].released
    assert len(flow.pacs.asked) == 1


async def test_an_instance_that_comes_while_the_association_lingers_uses_it(flow: Flow) -> None:
    """A series that trickles in does not open an association for each instance."""
    async with flow.open(PACS), flow.forwarding():
        for number in range(5):
            await flow.owe(f"{number}")
            await anyio.sleep(1)
        assert len(flow.pacs.received) == 5
        assert len(flow.pacs.asked) == 1


async def test_as_many_associations_as_configured_share_the_work(flow: Flow) -> None:
    """Two associations at most, and both are used when there is work for both."""

    async def slowly(instance: Outgoing) -> Response:
        await anyio.sleep(1)
        return Answered(0)

    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await flow.owe(*map(str, range(4 * CLAIMED_AT_ONCE)))
        async with flow.forwarding(replace(PACS, max_associations=2)):
            await anyio.sleep(2 * CLAIMED_AT_ONCE + 1)
            assert len(flow.pacs.received) == 4 * CLAIMED_AT_ONCE
    assert flow.pacs.most_open == 2


# Whose fault it was


async def test_an_instance_that_fails_before_another_one_is_stored_is_charged(flow: Flow) -> None:
    """A fails during its C-STORE and B is stored: the fault was A's; it has used up a try and waits a minute."""
    flow.pacs.script({"A": [ABORTED]})
    async with flow.open(PACS):
        await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "A", "B", "C")
        async with flow.forwarding():
            await anyio.sleep(1)
        entry = await flow.entry("A")
        assert await flow.tries("A") == 1
        assert await flow.uncertain("A")
        assert entry.cause is Cause.STORE_ABORTED
        assert entry.next_attempt_at == NOON + MINUTE
        assert [(await flow.entry(other)).state for other in "BC"] == [State.DELIVERED] * 2
    assert not flow.happened(DestinationTrouble)


async def test_when_two_different_instances_fail_the_destination_is_in_trouble(flow: Flow) -> None:
    """A and B fail: neither uses up a try, C is given back untouched, and the destination backs off."""
    flow.pacs.script({"A": [ABORTED], "B": [ABORTED]})
    async with flow.open(PACS):
        await flow.owe("A", "B", "C")
        async with flow.forwarding():
            await anyio.sleep(4)
        assert flow.pacs.received == ["A", "B"]
        assert [await flow.tries(each) for each in "ABC"] == [0, 0, 0]
        assert [(await flow.entry(each)).attempts for each in "ABC"] == [1, 1, 0]
        assert (await flow.entry("C")).next_attempt_at == NOON
        standing = await flow.queue.standings.standing("PACS")
        assert (standing.failures, standing.cause) == (1, Cause.STORE_ABORTED)
        assert standing.retry_at == NOON + 5 * SECOND
    assert len(flow.happened(DestinationTrouble)) == 1


async def test_two_different_instances_may_fail_in_different_claims(flow: Flow) -> None:
    """What trickles in to a PACS with a full disk shows its trouble too, though each instance fails alone."""
    flow.pacs.script({"A": [FULL], "B": [FULL]})
    async with flow.open(PACS), flow.forwarding():
        await flow.owe("A")
        await anyio.sleep(1)
        assert not flow.happened(DestinationTrouble)
        await flow.owe("B")
        await anyio.sleep(1)
        assert len(flow.happened(DestinationTrouble)) == 1


async def test_a_failure_is_forgotten_when_something_was_stored_since(flow: Flow) -> None:
    """A fails alone, B is stored, C fails alone: that proves nothing about the destination."""
    flow.pacs.script({"A": [FULL, Answered(0)], "C": [FULL, Answered(0)]})
    async with flow.open(PACS), flow.forwarding():
        for instance in "ABC":
            await flow.owe(instance)
            await anyio.sleep(1)
        assert not flow.happened(DestinationTrouble)


async def test_alone_an_instance_only_waits(flow: Flow) -> None:
    """Nothing else shows whose fault it is: nobody is charged, and the instance waits 5 s, doubling to 30 minutes."""
    times: list[float] = []

    async def silent(instance: Outgoing) -> Response:
        times.append(flow.passed.total_seconds())
        return NO_ANSWER

    flow.pacs.respond = silent
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await hours(5)
        assert await flow.tries("A") == 0
        assert (await flow.entry("A")).state is State.QUEUED
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:10] == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800]
    assert set(waits[10:]) == {1800}
    assert not flow.happened(DestinationTrouble)


async def test_a_poison_object_is_a_dead_letter_after_three_more_tries(flow: Flow) -> None:
    """A always aborts while others are stored: tried again after 1 min, 10 min and 1 h, then given up."""
    times: list[float] = []

    async def respond(instance: Outgoing) -> Response:
        if instance.identity.sop_instance == "A":
            times.append(flow.passed.total_seconds())
            return ABORTED
        await anyio.sleep(10 if instance.identity.sop_instance.startswith("long") else 0)
        return Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "A", "B")
        async with flow.forwarding():
            for wait in (60, 600, 3600):
                # When the line is free again, A is due and so is another one.
                await anyio.sleep(wait - 5)
                await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, f"long {wait}")
                await anyio.sleep(10)
                await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, f"after {wait}")
            await hours(2)
        entry = await flow.entry("A")
        assert (entry.state, entry.cause) == (State.DEAD, Cause.STORE_ABORTED)
        assert await flow.tries("A") == 4
    assert [round(time) for time in times] == [0, 65, 670, 4275]
    (dead,) = flow.happened(DeadLetter)
    assert isinstance(dead, DeadLetter)
    assert dead.instance == "A"
    assert not flow.happened(DestinationTrouble)


async def test_what_the_peer_cannot_understand_is_a_dead_letter_after_three_more_tries(flow: Flow) -> None:
    """C000H in every strategy: 1 min, 10 min, 1 h, then a dead letter with that cause and status."""
    flow.pacs.script({"A": [NOT_UNDERSTOOD]})
    async with flow.open(PACS):
        await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "A")
        async with flow.forwarding():
            await hours(1)
            assert len(flow.pacs.received) == 3
            assert (await flow.entry("A")).state is State.QUEUED
            await anyio.sleep(13 * 60)
        entry = await flow.entry("A")
        assert (entry.state, entry.cause, entry.status) == (State.DEAD, Cause.CANNOT_UNDERSTAND, 0xC000)
        assert len(flow.pacs.received) == 4
    assert len(flow.happened(DeliveryDeferred)) == 3
    assert not flow.happened(DestinationTrouble)


async def test_an_instance_that_the_peer_has_already_is_delivered_if_an_answer_was_lost(flow: Flow) -> None:
    """0111H after an attempt of unknown outcome means that the peer has it; otherwise it is refused."""
    flow.pacs.script({"A": [NO_ANSWER, DUPLICATE], "B": [DUPLICATE]})
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(10)
            await flow.owe("B")
            await anyio.sleep(10)
        assert (await flow.entry("A")).state is State.DELIVERED
        assert (await flow.entry("B")).state is State.DEAD


async def test_an_answer_lost_in_one_strategy_counts_in_the_next(flow: Flow) -> None:
    """A's answer is lost and B is stored, so A is sent again in Implicit: 0111H now means that the peer has it."""
    flow.pacs.script({"A": [NO_ANSWER, DUPLICATE]})
    async with flow.open(PACS):
        await flow.owe("A", "B")
        async with flow.forwarding():
            await anyio.sleep(1)
        assert (await flow.entry("A")).state is State.DELIVERED


async def test_an_answer_lost_in_one_strategy_is_remembered_though_the_next_was_refused(flow: Flow) -> None:
    """A's answer is lost in Explicit and it is refused in Implicit; a minute later the peer says that it has it."""
    flow.pacs.script({"A": [NO_ANSWER, NOT_UNDERSTOOD, DUPLICATE]})
    async with flow.open(PACS):
        await flow.owe("A", "B")
        async with flow.forwarding():
            await anyio.sleep(1)
            assert await flow.uncertain("A")
            await anyio.sleep(70)
        assert (await flow.entry("A")).state is State.DELIVERED


async def test_give_up_after_counts_only_while_the_destination_works(flow: Flow) -> None:
    """Two hours of back-off are no part of the lifetime; an hour of silence while others are stored is."""
    destination = replace(PACS, retry=Retry(5 * SECOND, MINUTE, give_up_after=HOUR))
    down = True
    flow.pacs.refusal = lambda _: connection_refused() if down else None
    flow.pacs.script({"A": [NO_ANSWER]})
    async with flow.open(destination):
        await flow.owe("A")
        async with flow.forwarding(destination):
            await hours(2)
            down = False
            await anyio.sleep(50 * 60)
            assert (await flow.entry("A")).state is State.QUEUED
            await anyio.sleep(15 * 60)
            entry = await flow.entry("A")
            assert (entry.state, entry.cause) == (State.DEAD, Cause.LIFETIME_ENDED)


# A destination in trouble


async def test_a_failure_of_the_destination_charges_nobody(flow: Flow) -> None:
    """Nobody listens for hours: no attempt is counted, no delivery is deferred, and all go when somebody does."""
    down = True
    flow.pacs.refusal = lambda _: connection_refused() if down else None
    async with flow.open(PACS):
        await flow.owe("A", "B")
        async with flow.forwarding():
            await hours(3)
            assert {(entry.attempts, entry.state) for entry in (await flow.entries()).values()} == {(0, State.QUEUED)}
            assert flow.pacs.sent == []
            down = False
            await anyio.sleep(60)
        assert flow.pacs.received == ["A", "B"]
    assert not flow.happened(DeliveryDeferred)
    assert len(flow.happened(DestinationRecovered)) == 1


async def test_a_destination_backs_off_from_five_seconds_to_a_minute(flow: Flow) -> None:
    """Its own waiting doubles with each failure in a row, to its maximum."""
    times: list[float] = []

    def refuse(asked: Asked) -> AssociationFailedError:
        times.append(flow.passed.total_seconds())
        return connection_refused()

    flow.pacs.refusal = refuse
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(300)
    assert [round(later - earlier) for earlier, later in pairwise(times)][:6] == [
        5, 10, 20, 40, 60, 60,
    ]  # fmt: skip


async def test_after_a_failed_connection_a_c_echo_shows_that_it_works_and_the_lines_wake_at_once(flow: Flow) -> None:
    """Half-open: a C-ECHO goes first; its answer wakes every line in the same instant."""
    flow.pacs.refusal = lambda _: connection_refused() if flow.passed < 4 * SECOND else None
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(5.001)
        assert flow.pacs.asked[1].pairs == ()
        assert flow.pacs.echoes == 1
        entry = await flow.entry("A")
        assert (entry.state, entry.last_attempt_at) == (State.DELIVERED, NOON + 5 * SECOND)


async def test_a_c_echo_that_fails_keeps_the_destination_in_trouble(flow: Flow) -> None:
    """It associates, and is silent: nothing is sent to it."""
    flow.pacs.refusal = lambda _: connection_refused() if flow.passed < SECOND else None
    flow.pacs.echo_response = replace(NO_ANSWER, cause=Cause.ASSOCIATION_TIMEOUT)
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(60)
    assert flow.pacs.sent == []
    assert flow.pacs.echoes > 2


async def test_a_peer_without_verification_is_not_asked_for_it(flow: Flow) -> None:
    """It associates: that has to do as a sign that it works."""
    flow.pacs.verifies = False
    flow.pacs.refusal = lambda _: connection_refused() if flow.passed < 4 * SECOND else None
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(6)
        assert (await flow.entry("A")).state is State.DELIVERED
    assert flow.pacs.echoes == 0


async def test_a_clock_that_is_set_is_noticed_within_a_minute(flow: Flow) -> None:
    """Times are times of day: an hour that is skipped is not waited for, neither by an instance nor a destination."""
    flow.pacs.script({"A": [NOT_UNDERSTOOD, NOT_UNDERSTOOD, Answered(0)]})
    flow.pacs.refusal = lambda _: rejected(1, 1, 7) if len(flow.pacs.asked) == 3 else None
    async with flow.open(PACS):
        await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "A")
        async with flow.forwarding():
            await anyio.sleep(65)
            assert len(flow.pacs.sent) == 2
            flow.clock.set_forward += HOUR
            await anyio.sleep(61)
            assert len(flow.pacs.asked) == 3
            assert (await flow.queue.standings.standing("PACS")).held
            flow.clock.set_forward += HOUR
            await anyio.sleep(61)
            assert (await flow.entry("A")).state is State.DELIVERED


async def test_the_failures_of_one_instance_are_its_own_once_others_were_stored_in_between(flow: Flow) -> None:
    """A fails alone, B is stored, A fails alone again: by then it is known that the destination works."""
    flow.pacs.script({"A": [ABORTED]})
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(1)
            await flow.owe("B")
            await anyio.sleep(1)
            assert await flow.tries("A") == 0
            await anyio.sleep(4)
            assert await flow.tries("A") == 1
            await anyio.sleep(62)
            assert len(flow.pacs.received) == 4
            assert await flow.tries("A") == 1
    assert not flow.happened(DestinationTrouble)


async def test_after_failed_c_stores_one_instance_shows_whether_it_works(flow: Flow) -> None:
    """A PACS with a full disk answers C-ECHO with success: a C-STORE it must be, one per back-off."""
    full = True

    async def respond(instance: Outgoing) -> Response:
        return FULL if full else Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await flow.owe(*"ABCDEFGHIJ")
        async with flow.forwarding():
            await anyio.sleep(4.9)
            assert len(flow.pacs.sent) == 2
            await anyio.sleep(0.2)
            assert len(flow.pacs.sent) == 3
            await hours(1)
            assert len(flow.pacs.sent) < 70
            full = False
            await anyio.sleep(61)
            assert (await flow.queue.standings.standing("PACS")).failures == 0
            await hours(0.5)
            states = {entry.state for entry in (await flow.entries()).values()}
        assert states == {State.DELIVERED}
        assert max([await flow.tries(each) for each in "ABCDEFGHIJ"]) == 0
    assert flow.pacs.echoes == 0
    assert len(flow.happened(DestinationRecovered)) == 1


async def test_a_destination_is_not_called_recovered_before_something_was_stored(flow: Flow) -> None:
    """Nothing is due when its time has come: it stays in trouble, and what arrives next is tried at once."""
    flow.pacs.script({"A": [FULL], "B": [FULL]})
    async with flow.open(PACS):
        await flow.owe("A", "B")
        async with flow.forwarding():
            await hours(6)
            assert not flow.happened(DestinationRecovered)
            failures = (await flow.queue.standings.standing("PACS")).failures
            assert failures > 10
            await anyio.sleep(61)
            await flow.owe("C")
            await anyio.sleep(61)
            assert len(flow.happened(DestinationRecovered)) == 1
            assert (await flow.entry("C")).state is State.DELIVERED


async def test_a_refusal_shows_that_the_destination_answers(flow: Flow) -> None:
    """Half-open, and the instance that was to show it is refused for its own sake: the others go."""
    flow.pacs.script({"A": [FULL, NOT_UNDERSTOOD], "B": [FULL, NOT_UNDERSTOOD]})
    async with flow.open(PACS):
        await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "A", "B")
        async with flow.forwarding():
            await anyio.sleep(6)
            assert len(flow.pacs.sent) == 4
        assert (await flow.queue.standings.standing("PACS")).failures == 0
    assert len(flow.happened(DestinationRecovered)) == 1


async def test_a_probe_that_fails_charges_nobody(flow: Flow) -> None:
    """Also not an instance that had failed before others were stored: the destination was known to be in trouble."""
    flow.pacs.script({instance: [ABORTED] for instance in "ACD"})
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(1)
            await flow.owe("B")
            await anyio.sleep(1)
            await flow.owe("C", "D")
            await hours(1)
            assert len(flow.pacs.received) > 10
        assert [await flow.tries(instance) for instance in "ACD"] == [0, 0, 0]
    assert not flow.happened(DestinationRecovered)


@pytest.mark.parametrize("restarted", [False, True], ids=["without a break", "restarted"])
async def test_a_probe_that_fails_is_the_destinations_trouble_though_it_is_the_only_one(
    flow: Flow, *, restarted: bool
) -> None:
    """One failure alone proves nothing, but nothing was to be proved: the destination did not work before."""
    destination = replace(PACS, local_ae_title=None)
    flow.pacs.refusal = lambda _: connection_refused() if flow.passed < 2 * SECOND else None
    flow.pacs.script({"A": [FULL]})
    async with flow.open(destination):
        await flow.owe("A")
        async with flow.forwarding(destination):
            await anyio.sleep(1 if restarted else 600)
        async with flow.forwarding(destination):
            await anyio.sleep(600)
        assert (await flow.queue.standings.standing("PACS")).cause is Cause.OUT_OF_RESOURCES
    assert len(flow.pacs.received) > 3
    assert not flow.happened(DestinationRecovered)


@pytest.mark.parametrize("reason", [3, 7], ids=["calling", "called"])
async def test_an_unknown_ae_title_holds_the_destination_and_is_probed_every_five_minutes(
    flow: Flow, reason: int
) -> None:
    """An administrator has to change something: no back-off, a hold; when the peer knows the title, all goes on."""
    times: list[float] = []

    def refuse(asked: Asked) -> AssociationFailedError | None:
        times.append(flow.passed.total_seconds())
        return rejected(1, 1, reason) if flow.passed < 12 * MINUTE else None

    flow.pacs.refusal = refuse
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(60)
            standing = await flow.queue.standings.standing("PACS")
            assert (standing.held, standing.cause) == (True, Cause.AE_TITLE_UNKNOWN)
            await anyio.sleep(15 * 60)
        assert (await flow.entry("A")).state is State.DELIVERED
    assert [round(time) for time in times] == [0, 300, 600, 900, 900]


async def test_one_modality_whose_title_the_peer_does_not_know_holds_up_nobody_else(flow: Flow) -> None:
    """With `local_ae_title: received` the title is the instance's own: it waits, other modalities' instances go."""
    destination = replace(PACS, local_ae_title=None)
    flow.pacs.refusal = lambda asked: rejected(1, 1, 3) if asked.calling_ae_title == "STRANGER" else None
    async with flow.open(destination):
        await flow.owe("A", calling="STRANGER")
        await flow.owe("B", calling="CT1")
        async with flow.forwarding(destination):
            await anyio.sleep(1)
        assert (await flow.entry("B")).state is State.DELIVERED
        entry = await flow.entry("A")
        assert (entry.state, entry.cause, entry.attempts) == (State.QUEUED, Cause.AE_TITLE_UNKNOWN, 1)
    assert not flow.happened(DestinationTrouble)


async def test_with_received_titles_a_destination_is_never_probed_by_another_title(flow: Flow) -> None:
    """A PACS that knows modalities by their titles would refuse our C-ECHO; an instance goes instead."""
    destination = replace(PACS, local_ae_title=None)

    def refuse(asked: Asked) -> AssociationFailedError | None:
        if flow.passed < MINUTE:
            return connection_refused()
        return None if asked.calling_ae_title == "CT1" else rejected(1, 1, 3)

    flow.pacs.refusal = refuse
    async with flow.open(destination):
        await flow.owe("A", "B")
        async with flow.forwarding(destination):
            await anyio.sleep(130)
        assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}
    assert {asked.calling_ae_title for asked in flow.pacs.asked} == {"CT1"}


async def test_a_line_that_has_success_meanwhile_closes_the_breaker(flow: Flow) -> None:
    """Two lines; one sees two aborts while the other is sending: its success ends the trouble."""
    destination = replace(PACS, max_associations=2)

    async def respond(instance: Outgoing) -> Response:
        if instance.identity.sop_instance == "long":
            await anyio.sleep(3)
            return Answered(0)
        return ABORTED if flow.passed < 2 * SECOND else Answered(0)

    flow.pacs.respond = respond
    async with flow.open(destination), flow.forwarding(destination):
        await flow.owe("long")
        await anyio.sleep(0.5)
        await flow.owe("A", "B")
        await anyio.sleep(1)
        assert (await flow.queue.standings.standing("PACS")).failures == 1
        await anyio.sleep(2)
        assert (await flow.queue.standings.standing("PACS")).failures == 0
        await anyio.sleep(10)
        assert {entry.state for entry in (await flow.entries()).values()} == {State.DELIVERED}


async def test_an_association_that_is_slow_to_end_still_counts(flow: Flow) -> None:
    """One association is one association, also when the line is not rid of the old one when the probe is due."""
    flow.chance = lambda: 0.0
    flow.pacs.seconds_to_release = 4
    flow.pacs.script({instance: [FULL] for instance in "ABC"})
    async with flow.open(PACS):
        await flow.owe("A", "B", "C")
        async with flow.forwarding():
            await anyio.sleep(30)
    assert len(flow.pacs.asked) > 2
    assert flow.pacs.most_open == 1


# Restart, stop, cancellation


async def test_a_new_forwarder_goes_on_where_the_last_one_was(flow: Flow) -> None:
    """A restart changes no time: neither the destination's nor an instance's."""
    flow.pacs.refusal = lambda _: rejected(1, 1, 7)
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(60)
        before = await flow.queue.standings.standing("PACS")
        assert before.retry_at == NOON + 5 * MINUTE
        async with flow.forwarding():
            await anyio.sleep(200)
            assert len(flow.pacs.asked) == 1
            assert await flow.queue.standings.standing("PACS") == before
            await anyio.sleep(50)
            assert len(flow.pacs.asked) == 2


async def test_a_restart_keeps_an_instances_own_times(flow: Flow) -> None:
    """What was to be tried in ten minutes is not tried earlier."""
    flow.pacs.script({"A": [NOT_UNDERSTOOD]})
    async with flow.open(PACS):
        await flow.stored_as(IMPLICIT_VR_LITTLE_ENDIAN, "A")
        async with flow.forwarding():
            await anyio.sleep(61)
        async with flow.forwarding():
            await anyio.sleep(590)
            assert len(flow.pacs.sent) == 2
            await anyio.sleep(15)
            assert len(flow.pacs.sent) == 3


async def test_stop_finishes_what_is_being_sent_and_gives_back_the_rest(flow: Flow) -> None:
    """The instance under way gets its outcome; the others are due again, and were not tried."""

    async def slowly(instance: Outgoing) -> Response:
        await anyio.sleep(10)
        return Answered(0)

    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await flow.owe("A", "B", "C")
        async with anyio.create_task_group() as group:
            forwarder = flow.forwarder(PACS)
            group.start_soon(forwarder.run)
            await anyio.sleep(15)
            forwarder.stop()
        assert flow.passed == 20 * SECOND
        states = [(await flow.entry(each)).state for each in "ABC"]
        assert states == [State.DELIVERED, State.DELIVERED, State.QUEUED]
        assert not await flow.uncertain("C")
    assert flow.pacs.associations[0].released


@pytest.mark.parametrize("trouble", [False, True], ids=["idle", "in trouble"])
async def test_stop_ends_every_wait_at_once(flow: Flow, *, trouble: bool) -> None:
    """Nothing is due, or the destination is left alone: there is nothing to finish."""
    flow.pacs.refusal = lambda _: rejected(1, 1, 7) if trouble else None
    async with flow.open(PACS):
        await flow.owe("A")
        async with anyio.create_task_group() as group:
            forwarder = flow.forwarder(PACS)
            group.start_soon(forwarder.run)
            await anyio.sleep(20)
            forwarder.stop()
        assert flow.passed == 20 * SECOND


@pytest.mark.parametrize("trouble", [False, True], ids=["idle", "in trouble"])
async def test_stop_ends_a_forwarder_wherever_it_is(flow: Flow, *, trouble: bool) -> None:
    """Stopped at any of its first steps it ends at once: no wait is entered afterwards."""
    flow.pacs.refusal = lambda _: connection_refused() if trouble else None
    async with flow.open(PACS):
        await flow.owe("A")
        for steps in range(60):
            await flow.queue.standings.stand("PACS", Standing(), flow.clock())
            began = flow.passed
            with anyio.fail_after(1):
                async with anyio.create_task_group() as group:
                    forwarder = flow.forwarder(PACS)
                    group.start_soon(forwarder.run)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    forwarder.stop()
            assert flow.passed == began


async def test_cancelled_in_the_middle_it_gives_back_and_remembers_what_was_under_way(flow: Flow) -> None:
    """The peer may have the instance that was being sent: a duplicate answer later means delivered."""

    async def slowly(instance: Outgoing) -> Response:
        await anyio.sleep(10)
        return DUPLICATE if flow.passed > MINUTE else Answered(0)

    flow.pacs.respond = slowly
    async with flow.open(PACS):
        await flow.owe("A", "B")
        async with flow.forwarding():
            await anyio.sleep(5)
        assert flow.pacs.open == 0
        assert [entry.state for entry in (await flow.entries()).values()] == [State.QUEUED] * 2
        assert [entry.attempts for entry in (await flow.entries()).values()] == [0, 0]
        assert await flow.uncertain("A")
        assert not await flow.uncertain("B")
        await anyio.sleep(60)
        async with flow.forwarding():
            await anyio.sleep(30)
        assert (await flow.entry("A")).state is State.DELIVERED


async def test_nothing_is_in_flight_after_a_cancellation_at_any_step(flow: Flow) -> None:
    """Wherever the forwarder is when it is cancelled, whatever it had claimed is queued or has its outcome."""
    async with flow.open(PACS):
        for steps in range(60):
            await flow.owe(f"{steps}.A", f"{steps}.B")
            async with flow.forwarding():
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
            assert State.IN_FLIGHT not in {entry.state for entry in (await flow.entries()).values()}
            assert flow.pacs.open == 0


# A queue that fails


async def test_a_queue_that_cannot_commit_ends_nothing(flow: Flow) -> None:
    """The disk fails for a while after an instance was stored: it is recorded in the end, and not sent again."""

    async def respond(instance: Outgoing) -> Response:
        flow.world.connection.execute("PRAGMA query_only=ON")
        return Answered(0)

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding():
            await anyio.sleep(60)
            assert flow.happened(SpoolTrouble)
            with pytest.raises(QueueError):
                await flow.queue.standings.stand("PACS", Standing(), flow.clock())
            flow.world.connection.execute("PRAGMA query_only=OFF")
            await anyio.sleep(6)
        assert (await flow.entry("A")).state is State.DELIVERED
    assert flow.pacs.received == ["A"]


# Signs of life


async def test_a_line_that_hangs_is_noticed(flow: Flow) -> None:
    """Its peer's answer has a deadline; what does not end after that and half an hour more never ends."""

    async def respond(_: Outgoing) -> Response:
        await anyio.sleep_forever()
        raise AssertionError

    flow.pacs.respond = respond
    async with flow.open(PACS):
        await flow.owe("A")
        async with flow.forwarding() as forwarder:
            await hours(0.5)
            assert not forwarder.hangs
            await hours(0.1)
            assert forwarder.hangs


@pytest.mark.parametrize("waits", ["nothing to do", "paused", "in trouble", "conversion", "queue"])
async def test_a_wait_is_no_hang(flow: Flow, waits: str) -> None:
    """For work, an operator, the peer, those who are converted before, a disk: however long it lasts."""
    match waits:
        case "in trouble":
            flow.pacs.refusal = lambda _: connection_refused()
        case "conversion":
            flow.pacs.accepts = frozenset({IMPLICIT_VR_LITTLE_ENDIAN})
            flow.transcoder.held["A"] = anyio.Event()
    async with flow.open(PACS), flow.forwarding() as forwarder:
        await anyio.sleep(1)
        forwarder.pause(paused=waits == "paused")
        if waits != "nothing to do":
            await flow.owe("A")
        if waits == "queue":
            flow.world.connection.execute("PRAGMA query_only=ON")
        for _ in range(24):
            await hours(1)
            assert not forwarder.hangs
        flow.world.connection.execute("PRAGMA query_only=OFF")


async def test_what_a_crash_left_in_flight_is_due_again_and_may_be_there_already(flow: Flow) -> None:
    """After `recover` a duplicate answer means delivered."""
    flow.pacs.script({"A": [DUPLICATE]})
    async with flow.open(PACS):
        await flow.owe("A")
        await flow.queue.claim("PACS", OWNER, Wanted(1), flow.clock())
        assert await flow.queue.recover(OWNER, flow.clock()) == 1
        async with flow.forwarding():
            await anyio.sleep(1)
        assert (await flow.entry("A")).state is State.DELIVERED
