"""Strategies in turn until each instance has an outcome, with a scripted PACS at the other end."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import pytest

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.scu import AssociationFailedError
from router.flow.attempt import FALLBACK_AE_TITLE, Attempt
from router.flow.conversions import AHEAD
from router.flow.pending import Result
from router.journal import Event, Fallback, Journal, SpoolTrouble, StoreSucceeded, StrategiesFailed
from router.model.destination import Destination, Strategy
from router.model.instance import Identity
from router.model.outcome import Answered, Cause, Deferred, Failed, Refused, Scope, Stored
from router.model.presentation_context import ContextResult
from router.model.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN as EXPLICIT
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN as IMPLICIT
from tests.flow.pacs import (
    ABORTED,
    DAMAGED,
    NO_ANSWER,
    UNREADABLE,
    Asked,
    Pacs,
    Relabels,
    aborted,
    connection_refused,
    rejected,
)

pytestmark = pytest.mark.unit

CT = "1.2.840.10008.5.1.4.1.1.2"
PACS = Destination("PACS", "PACS_SCP", "pacs.invalid", 104)
NOT_UNDERSTOOD = Answered(0xC000, "patient data, perhaps")
FULL = Answered(0xA700)
CONSERVATIVE, UNIVERSAL = Strategy.CONSERVATIVE, Strategy.UNIVERSAL


def instance(
    name: str, syntax: str = EXPLICIT, *, sop_class: str = CT, number: int = 0, calling: str | None = "CT1"
) -> Outgoing:
    """One that is due; nobody reads its payload here."""
    return Outgoing(
        number=number or ord(name[0]),
        identity=Identity(sop_class, name, syntax),
        path=Path(f"{name}.dcm"),
        header_size=0,
        size=10,
        digest=None,
        calling_ae_title=calling,
    )


class Sending:
    """An attempt with a scripted PACS, and what it says."""

    def __init__(self, destination: Destination = PACS) -> None:
        self.pacs = Pacs()
        self.events: list[Event] = []
        self.transcoder = Relabels()
        self.attempt = Attempt(
            destination,
            transcoder=self.transcoder,
            buffers=Buffers(1),
            journal=Journal(self.events.append),
            associate=self.pacs,
        )

    async def __aenter__(self) -> Self:
        await self.attempt.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.attempt.__aexit__(kind, error, trace)
        assert self.transcoder.files == 0, "a converted file stays"

    async def send(
        self, *instances: Outgoing, uncertain: frozenset[int] = frozenset(), leave_converting: bool = False
    ) -> dict[str, Result]:
        """Results by SOP instance."""
        found: dict[str, Result] = {}
        outcomes = self.attempt.outcomes(instances, uncertain, leave_converting=leave_converting)
        async with aclosing(outcomes) as results:
            async for result in results:
                assert result.instance.identity.sop_instance not in found
                found[result.instance.identity.sop_instance] = result
        return found

    @property
    def proposed(self) -> Sequence[str]:
        """What each association asked for, by first letters."""
        return [asked.syntaxes for asked in self.pacs.asked]

    @property
    def said(self) -> Sequence[str]:
        """The texts of what was published."""
        return [event.event for event in self.events]


# Strategies in turn


async def test_an_instance_goes_as_it_is_stored() -> None:
    """Over one association, by the configured strategy; the result and the event say so."""
    async with Sending() as sending:
        found = await sending.send(instance("A"))
        assert found["A"] == Result(
            instance("A"),
            Stored(0),
            blamed=False,
            strategy=CONSERVATIVE,
            strategies_tried=(CONSERVATIVE,),
            associations=1,
            transfer_syntax=EXPLICIT,
        )
        assert sending.proposed == ["EI"]
        assert sending.events == [
            StoreSucceeded(
                destination="PACS",
                instance="A",
                sop_class=CT,
                stored_transfer_syntax=EXPLICIT,
                transfer_syntax=EXPLICIT,
                converted=False,
                strategy="conservative",
                attempts=1,
                bytes=10,
                status="0000H",
                accepted_contexts=3,
                rejected_contexts=0,
            )
        ]
        assert sending.said == ["C-STORE successful"]


@pytest.mark.parametrize("failure", [aborted(), rejected(1, 1, 1)], ids=["A-ABORT", "RJ 1/1/1"])
async def test_a_proposal_that_the_peer_does_not_like_is_followed_by_a_smaller_one(
    failure: AssociationFailedError,
) -> None:
    """An association aborted before its A-ASSOCIATE-AC, or rejected without a reason, is tried again universally."""
    async with Sending() as sending:
        sending.pacs.refusal = lambda asked: failure if asked.syntaxes == "EI" else None
        found = await sending.send(instance("A"), instance("B", IMPLICIT))
        assert sending.proposed == ["EI", "I"]
        for result in found.values():
            assert result.outcome == Stored(0)
            assert (result.strategy, result.strategies_tried) == (UNIVERSAL, (CONSERVATIVE, UNIVERSAL))
            assert (result.associations, result.transfer_syntax) == (2, IMPLICIT)
        assert sending.said == ["Using universal fallback", "C-STORE successful", "C-STORE successful"]
        assert sending.events[0] == Fallback(
            destination="PACS", strategy="universal", strategies_tried=("conservative",), error=failure.failure.error
        )


async def test_the_chain_of_standard_has_three_associations() -> None:
    """Standard, conservative, universal: all aborted, so it is the destination's trouble, and nobody's fault."""
    async with Sending(replace(PACS, transfer_syntax_strategy=Strategy.STANDARD)) as sending:
        sending.pacs.refusal = lambda _: aborted()
        found = await sending.send(instance("A"), instance("B"))
        assert len(sending.pacs.asked) == 3
        for result in found.values():
            assert isinstance(result.outcome, Deferred)
            assert (result.outcome.scope, result.outcome.cause) == (Scope.DESTINATION, Cause.ASSOCIATION_ABORTED)
            assert result.strategies_tried == (Strategy.STANDARD, CONSERVATIVE, UNIVERSAL)
            assert result.associations == 3
            assert not result.blamed
        assert sending.said == ["Using conservative fallback", "Using universal fallback"]


@pytest.mark.parametrize(
    "failure",
    [connection_refused(), rejected(1, 1, 3), rejected(1, 1, 7), rejected(2, 3, 1), rejected(1, 1, 2)],
    ids=["connect", "calling AE title", "called AE title", "congestion", "application context"],
)
async def test_no_other_strategy_for_what_it_cannot_help(failure: AssociationFailedError) -> None:
    """A peer that is unreachable, out of resources or does not know the title: one association, the destination's."""
    async with Sending() as sending:
        sending.pacs.refusal = lambda _: failure
        found = await sending.send(instance("A"), instance("B"))
        assert len(sending.pacs.asked) == 1
        for result in found.values():
            assert isinstance(result.outcome, Deferred)
            assert result.outcome.scope is Scope.DESTINATION
            assert result.outcome.hold is (failure.failure.cause is Cause.AE_TITLE_UNKNOWN)
        assert sending.said == []


@pytest.mark.parametrize("status", [0xC000, 0xA900, 0xCFFF])
async def test_an_answer_that_may_mean_the_transfer_syntax_is_followed_by_another_strategy(status: int) -> None:
    """C000H or A900H in Explicit, stored in Implicit: other instances of the claim keep their association."""
    async with Sending() as sending:
        sending.pacs.script({"A": [Answered(status), Answered(0)]})
        found = await sending.send(instance("A"), instance("B"))
        assert sending.pacs.sent == [("A", EXPLICIT), ("B", EXPLICIT), ("A", IMPLICIT)]
        assert sending.proposed == ["EI", "I"]
        assert (found["B"].strategies_tried, found["B"].associations) == ((CONSERVATIVE,), 1)
        assert (found["A"].strategies_tried, found["A"].associations) == ((CONSERVATIVE, UNIVERSAL), 2)
        assert found["A"].transfer_syntax == IMPLICIT
        assert sending.said == ["C-STORE successful", "Using universal fallback", "C-STORE successful"]
        success = sending.events[-1]
        assert isinstance(success, StoreSucceeded)
        assert success.converted


async def test_when_no_strategy_helps_it_says_so_with_the_last_answer() -> None:
    """C000H in each: refused, with the status, the error comment for the operator, and every strategy tried."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD]})
        found = await sending.send(instance("A"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert (outcome.cause, outcome.status) == (Cause.CANNOT_UNDERSTAND, 0xC000)
        assert found["A"].error_comment == "patient data, perhaps"
        assert sending.said == ["Using universal fallback", "All C-STORE strategies failed"]
        failed = sending.events[-1]
        assert isinstance(failed, StrategiesFailed)
        assert failed.strategies_tried == ("conservative", "universal")
        assert failed.attempts == 2
        assert "patient data" not in failed.error


async def test_a_strategy_that_adds_nothing_is_skipped() -> None:
    """What was refused in Implicit is not sent in Implicit again; its result names only what was tried for it."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD], "B": [NOT_UNDERSTOOD]})
        found = await sending.send(instance("A", IMPLICIT), instance("B", EXPLICIT))
        assert sending.pacs.sent == [("A", IMPLICIT), ("B", EXPLICIT), ("B", IMPLICIT)]
        assert found["A"].strategies_tried == (CONSERVATIVE,)
        assert found["A"].strategy is CONSERVATIVE
        assert found["B"].strategies_tried == (CONSERVATIVE, UNIVERSAL)


async def test_a_peer_that_takes_only_implicit_gets_a_conversion_at_once() -> None:
    """No fallback is needed for that: both were proposed, one was accepted."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        found = await sending.send(instance("A"))
        assert sending.pacs.sent == [("A", IMPLICIT)]
        assert found["A"].strategies_tried == (CONSERVATIVE,)


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, Cause.NO_CONTEXT),
        (ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, Cause.SOP_CLASS_NOT_SUPPORTED),
    ],
)
async def test_without_a_usable_context_an_instance_is_refused(result: ContextResult, cause: Cause) -> None:
    """Nothing is sent, no strategy has another pair, and the error recommends what would help."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset()
        sending.pacs.refused_result = result
        found = await sending.send(instance("A"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert outcome.cause is cause
        assert outcome.error.startswith(f"No compatible presentation context for '{CT}'")
        assert "Recommendation: " in outcome.error
        assert found["A"].transfer_syntax == ""
        assert sending.pacs.sent == []
        assert len(sending.pacs.asked) == 1
        assert sending.said == ["All C-STORE strategies failed"]


async def test_a_first_refusal_stays_when_the_next_strategy_has_no_context() -> None:
    """C000H in Explicit, and no context for Implicit: the peer's answer is what the operator has to know."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({EXPLICIT})
        sending.pacs.script({"A": [NOT_UNDERSTOOD]})
        found = await sending.send(instance("A"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert outcome.cause is Cause.CANNOT_UNDERSTAND


@pytest.mark.parametrize(
    "cause", [Cause.CANNOT_CONVERT, Cause.CONVERSION_DIED, Cause.PAYLOAD_DAMAGED, Cause.PAYLOAD_MISSING]
)
async def test_a_conversion_that_fails_is_the_instances_own(cause: Cause) -> None:
    """The others go; nothing was sent of this one."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        sending.transcoder.failure = Failed(cause, "no")
        found = await sending.send(instance("A"), instance("B", IMPLICIT))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert outcome.cause is cause
        assert found["A"].transfer_syntax == ""
        assert found["B"].outcome == Stored(0)
        assert sending.attempt.in_doubt == set()


async def test_a_first_refusal_stays_when_there_is_no_conversion_for_the_next_strategy() -> None:
    """C000H as stored, and no other way: the peer's answer is what the operator has to know, and it is tried again."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD]})
        sending.transcoder.failure = Failed(Cause.CANNOT_CONVERT, "no")
        found = await sending.send(instance("A"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert (outcome.cause, outcome.status, outcome.tries) == (Cause.CANNOT_UNDERSTAND, 0xC000, 3)
        assert found["A"].strategies_tried == (CONSERVATIVE, UNIVERSAL)
        assert found["A"].transfer_syntax == EXPLICIT


async def test_a_damaged_payload_is_refused_at_once() -> None:
    """No strategy helps, nobody else is concerned, and no tries are left."""
    async with Sending() as sending:
        sending.pacs.script({"A": [DAMAGED]})
        found = await sending.send(instance("A"), instance("B"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert (outcome.cause, outcome.tries) == (Cause.PAYLOAD_DAMAGED, 0)
        assert not found["A"].uncertain
        assert found["B"].outcome == Stored(0)
        assert sending.pacs.received == ["A", "B"]


async def test_a_destination_that_goes_away_between_two_strategies_refused_nobody() -> None:
    """C000H in Explicit, then nobody listens any more: it is the destination's trouble, as Implicit was not tried."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD]})
        sending.pacs.refusal = lambda asked: connection_refused() if asked.syntaxes == "I" else None
        found = await sending.send(instance("A"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Deferred)
        assert (outcome.scope, outcome.cause) == (Scope.DESTINATION, Cause.CONNECT_FAILED)
        assert "All C-STORE strategies failed" not in sending.said


async def test_a_proposal_that_the_peer_does_not_like_leaves_the_answer_of_the_one_before() -> None:
    """C000H in Explicit, and an A-ABORT for a proposal of Implicit alone: that peer works, and refused the instance."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD]})
        sending.pacs.refusal = lambda asked: aborted() if asked.syntaxes == "I" else None
        found = await sending.send(instance("A"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Refused)
        assert outcome.cause is Cause.CANNOT_UNDERSTAND


async def test_who_was_blamed_is_acquitted_when_the_destination_goes_away() -> None:
    """A aborts, B is stored, then nobody listens any more: A has a next strategy, which was not tried."""
    async with Sending() as sending:
        sending.pacs.script({"A": [ABORTED]})
        sending.pacs.refusal = lambda asked: connection_refused() if asked.syntaxes == "I" else None
        found = await sending.send(instance("A"), instance("B"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Deferred)
        assert outcome.scope is Scope.DESTINATION
        assert not found["A"].blamed
        assert found["A"].uncertain


async def test_trouble_on_this_machine_is_nobodys_fault() -> None:
    """Too many open files: no other strategy, no suspicion, nobody blamed; the log is told, and the others go."""
    async with Sending() as sending:
        sending.pacs.script({"A": [UNREADABLE], "B": [UNREADABLE]})
        found = await sending.send(*(instance(name) for name in "ABC"))
        for name in "AB":
            assert found[name].outcome == Deferred(Scope.INSTANCE, Cause.LOCAL_TROUBLE, UNREADABLE.error)
            assert not found[name].blamed
            assert not found[name].uncertain
            assert found[name].strategies_tried == (CONSERVATIVE,)
        assert found["C"].outcome == Stored(0)
        assert sending.events[:1] == [SpoolTrouble(error=UNREADABLE.error)]


async def test_a_conversion_that_this_machine_cannot_make_now_leads_to_no_other_strategy() -> None:
    """A full disk: it waits, although the peer refused it before as stored."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD]})
        sending.transcoder.failure = Failed(Cause.LOCAL_TROUBLE, "No space left on device")
        found = await sending.send(instance("A"), instance("B"))
        assert found["A"].outcome == Deferred(Scope.INSTANCE, Cause.LOCAL_TROUBLE, "No space left on device")
        assert found["B"].outcome == Stored(0)


# Converting ahead


async def test_what_needs_no_conversion_does_not_wait_for_what_does() -> None:
    """A is being converted while B and C go; then it goes too, over the same association."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        sending.transcoder.held["A"] = anyio.Event()

        async def respond(sent: Outgoing) -> Answered:
            if sent.identity.sop_instance == "C":
                sending.transcoder.held["A"].set()
            return Answered(0)

        sending.pacs.respond = respond
        found = await sending.send(instance("A"), instance("B", IMPLICIT), instance("C", IMPLICIT))
        assert sending.pacs.received == ["B", "C", "A"]
        assert {result.outcome for result in found.values()} == {Stored(0)}
        assert len(sending.pacs.asked) == 1


async def test_a_conversion_that_is_ready_goes_before_those_that_need_none() -> None:
    """Its file takes room, and others wait for that."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})

        async def respond(_: Outgoing) -> Answered:
            await anyio.sleep(1)
            return Answered(0)

        sending.pacs.respond = respond
        await sending.send(instance("A"), *(instance(name, IMPLICIT) for name in "BCD"))
        assert sending.pacs.received == ["B", "A", "C", "D"]


async def test_so_many_are_converted_ahead_and_not_more() -> None:
    """Each has a file as long as it waits for its turn."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})

        async def respond(_: Outgoing) -> Answered:
            await anyio.sleep(1)
            return Answered(0)

        sending.pacs.respond = respond
        found = await sending.send(*(instance(f"{number}", number=number + 1) for number in range(4 * AHEAD)))
        assert {result.outcome for result in found.values()} == {Stored(0)}
        assert sending.transcoder.most_files == AHEAD


async def test_what_is_still_being_converted_is_left_to_the_next_call() -> None:
    """The next instances go meanwhile; without further ones it is waited for."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        held = sending.transcoder.held["A"] = anyio.Event()
        assert not await sending.send(instance("A"), leave_converting=True)
        assert (await sending.send(instance("B", IMPLICIT), leave_converting=True)).keys() == {"B"}
        assert not await sending.send(leave_converting=True)
        assert list(sending.attempt.left) == [ord("A")]
        held.set()
        await sending.attempt.converted()
        found = await sending.send(leave_converting=True)
        assert found["A"].outcome == Stored(0)
        assert found["A"].associations == 1
        assert not sending.attempt.left


async def test_a_fallback_that_waits_for_its_conversion_is_reported_once() -> None:
    """C000H in Explicit, then Implicit, which takes a while: it does not begin anew with the first strategy."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD, Answered(0)]})
        held = sending.transcoder.held["A"] = anyio.Event()
        await sending.send(instance("A"), leave_converting=True)
        await sending.send(instance("B"), leave_converting=True)
        held.set()
        await sending.attempt.converted()
        found = await sending.send(leave_converting=True)
        assert found["A"].outcome == Stored(0)
        assert found["A"].strategies_tried == (CONSERVATIVE, UNIVERSAL)
        assert sending.pacs.sent == [("A", EXPLICIT), ("B", EXPLICIT), ("A", IMPLICIT)]
        assert sending.said == ["Using universal fallback", "C-STORE successful", "C-STORE successful"]


async def test_no_strategy_has_its_turn_twice() -> None:
    """Neither one that opened no association, after a conversion that failed, nor one whose pairs were all refused."""
    async with Sending(replace(PACS, transfer_syntax_strategy=Strategy.STANDARD)) as sending:
        sending.pacs.refusal = lambda asked: aborted() if len(asked.pairs) > 2 else None
        sending.transcoder.failure = Failed(Cause.CANNOT_CONVERT, "no")
        found = await sending.send(instance("A", EXPLICIT_VR_BIG_ENDIAN))
        assert found["A"].strategies_tried == (Strategy.STANDARD, CONSERVATIVE, UNIVERSAL)
        assert sending.proposed == ["EI", "EI", "I"]
        assert found["A"].associations == 3


async def test_pairs_that_the_peer_refused_beside_the_one_that_failed_need_no_other_strategy() -> None:
    """Implicit was refused, Big Endian cannot be made: no smaller proposal has anything else."""
    async with Sending(replace(PACS, transfer_syntax_strategy=Strategy.STANDARD)) as sending:
        sending.pacs.accepts = frozenset({EXPLICIT_VR_BIG_ENDIAN})
        sending.transcoder.failure = Failed(Cause.CANNOT_CONVERT, "no")
        found = await sending.send(instance("A"))
        assert found["A"].strategies_tried == (Strategy.STANDARD,)
        assert len(sending.pacs.asked) == 1


async def test_trouble_of_the_destination_ends_conversions_too() -> None:
    """Two failures in a row: what is being converted has no result, and is not left to anybody."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        sending.transcoder.held["A"] = anyio.Event()

        async def respond(_: Outgoing) -> Answered:
            await anyio.sleep(1)
            return FULL

        sending.pacs.respond = respond
        found = await sending.send(
            instance("A"), instance("B", IMPLICIT), instance("C", IMPLICIT), leave_converting=True
        )
        assert found.keys() == {"B", "C"}
        assert not sending.attempt.left
        await anyio.sleep(1)
        assert sending.transcoder.stopped == ["A"]


async def test_what_is_left_stays_in_doubt() -> None:
    """A aborted, B was stored, and A is being converted for the next strategy: the peer may have it all the time."""
    async with Sending() as sending:
        sending.pacs.script({"A": [ABORTED]})
        sending.transcoder.held["A"] = anyio.Event()
        for name in "BC":
            await sending.send(*([instance("A")] if name == "B" else []), instance(name), leave_converting=True)
            assert sending.attempt.in_doubt == {ord("A")}


async def test_a_conversion_that_no_association_carries_any_more_is_made_anew() -> None:
    """Implicit was accepted, and when it was converted so, another association accepts Explicit alone."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        held = sending.transcoder.held["A"] = anyio.Event()
        await sending.send(instance("A", EXPLICIT_VR_BIG_ENDIAN), leave_converting=True)
        sending.pacs.associations[0].closed_by_peer = True
        sending.pacs.accepts = frozenset({EXPLICIT})
        held.set()
        found = await sending.send()
        assert found["A"].outcome == Stored(0)
        assert sending.pacs.sent == [("A", EXPLICIT)]


async def test_an_association_that_cannot_be_opened_again_ends_conversions_too() -> None:
    """B aborts, then nobody listens: A was not tried, for the destination's sake."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        sending.transcoder.held["A"] = anyio.Event()
        sending.pacs.script({"B": [ABORTED]})
        sending.pacs.refusal = lambda _: connection_refused() if sending.pacs.sent else None
        found = await sending.send(instance("A"), *(instance(name, IMPLICIT) for name in "BC"))
        assert {name: type(result.outcome) for name, result in found.items()} == dict.fromkeys("ABC", Deferred)
        assert not found["A"].uncertain


async def test_cancelled_while_it_converts() -> None:
    """Nothing is in doubt: it was not sent. Its conversion ends."""
    async with Sending() as sending:
        sending.pacs.accepts = frozenset({IMPLICIT})
        sending.transcoder.held["A"] = anyio.Event()
        with anyio.move_on_after(5):
            await sending.send(instance("A"))
        assert sending.attempt.in_doubt == set()
        assert sending.transcoder.begun == ["A"]


# Whose fault


async def test_who_aborts_before_another_one_is_stored_is_blamed_and_tried_in_another_strategy() -> None:
    """The peer breaks off in mid-object and stores another: it may be the transfer syntax, so Implicit is tried."""
    async with Sending() as sending:
        sending.pacs.script({"A": [ABORTED, Answered(0)]})
        found = await sending.send(instance("A"), instance("B"))
        assert sending.pacs.sent == [("A", EXPLICIT), ("B", EXPLICIT), ("A", IMPLICIT)]
        assert found["A"].outcome == Stored(0)


async def test_two_poison_objects_among_good_ones_are_both_blamed() -> None:
    """In the next strategy both fail again, one after the other: that is no trouble of the destination any more."""
    async with Sending() as sending:
        sending.pacs.script({"A": [ABORTED], "C": [ABORTED], "E": [NOT_UNDERSTOOD, Answered(0)]})
        found = await sending.send(*(instance(name) for name in "ABCDE"))
        assert found["A"].blamed
        assert found["C"].blamed
        assert found["A"].uncertain
        assert [found[name].outcome for name in "BDE"] == [Stored(0)] * 3


async def test_two_failures_in_a_row_leave_the_others_alone() -> None:
    """Nobody is blamed, the rest has no result, and what was refused before is not tried further."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD], "B": [FULL], "C": [NO_ANSWER]})
        found = await sending.send(*(instance(name) for name in "ABCD"))
        assert found.keys() == {"B", "C"}
        assert not found["B"].blamed
        assert not found["C"].blamed
        assert (found["B"].uncertain, found["C"].uncertain) == (False, True)
        assert len(sending.pacs.sent) == 3


async def test_two_failures_in_a_row_in_a_later_strategy_leave_the_others_alone_too() -> None:
    """C000H for all in Explicit, and in Implicit the peer breaks down: what was not tried is not called refused."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NOT_UNDERSTOOD, ABORTED], "B": [NOT_UNDERSTOOD, ABORTED], "C": [NOT_UNDERSTOOD]})
        found = await sending.send(*(instance(name) for name in "ABC"))
        assert found.keys() == {"A", "B"}
        assert "All C-STORE strategies failed" not in sending.said


async def test_a_refusal_in_between_acquits_nobody() -> None:
    """A aborts, B is refused for itself, C is stored: A is blamed. A definite refusal proves nothing about A."""
    async with Sending() as sending:
        sending.pacs.script({"A": [ABORTED], "B": [Answered(0x0122)]})
        found = await sending.send(*(instance(name, IMPLICIT) for name in "ABC"))
        assert found["A"].blamed
        assert isinstance(found["B"].outcome, Refused)


async def test_alone_nobody_is_blamed() -> None:
    """One failure and nothing else to try."""
    async with Sending() as sending:
        sending.pacs.script({"A": [NO_ANSWER]})
        found = await sending.send(instance("A"))
        assert not found["A"].blamed
        assert found["A"].uncertain
        assert sending.pacs.received == ["A"]


async def test_when_the_association_cannot_be_opened_again_the_failure_before_keeps_its_outcome() -> None:
    """A aborts, then nobody listens: A failed during its C-STORE, B only for the destination's sake."""
    async with Sending() as sending:
        sending.pacs.script({"A": [ABORTED]})
        sending.pacs.refusal = lambda _: connection_refused() if sending.pacs.sent else None
        found = await sending.send(instance("A"), instance("B"))
        first, second = found["A"].outcome, found["B"].outcome
        assert isinstance(first, Deferred)
        assert isinstance(second, Deferred)
        assert (first.scope, second.scope) == (Scope.UNDECIDED, Scope.DESTINATION)
        assert (found["A"].uncertain, found["B"].uncertain) == (True, False)


async def test_a_duplicate_is_delivered_only_after_an_unknown_outcome() -> None:
    """0111H: stored if an answer was lost before, refused if not."""
    async with Sending() as sending:
        sending.pacs.script({"A": [Answered(0x0111)], "B": [Answered(0x0111)]})
        found = await sending.send(instance("A"), instance("B"), uncertain=frozenset({ord("A")}))
        assert found["A"].outcome == Stored(0x0111, already_there=True)
        assert isinstance(found["B"].outcome, Refused)


# Associations


async def test_the_association_is_used_again_by_the_next_claim() -> None:
    """It counts as one association tried."""
    async with Sending() as sending:
        await sending.send(instance("A"))
        assert sending.pacs.open == 1
        found = await sending.send(instance("B"))
        assert len(sending.pacs.asked) == 1
        assert found["B"].associations == 1
        await sending.attempt.release()
        assert not sending.attempt.associated
        assert sending.pacs.associations[0].released
        await sending.attempt.release()
        await sending.attempt.abort()


async def test_an_association_that_the_peer_closed_meanwhile_is_opened_again() -> None:
    """The instance notices nothing of it."""
    async with Sending() as sending:
        await sending.send(instance("A"))
        sending.pacs.associations[0].closed_by_peer = True
        found = await sending.send(instance("B"))
        assert found["B"].outcome == Stored(0)
        assert len(sending.pacs.asked) == 2
        assert sending.pacs.open == 1


async def test_pairs_that_were_not_proposed_need_a_new_association() -> None:
    """Another SOP class: the old association is released first, so that there is never one too many."""
    async with Sending() as sending:
        await sending.send(instance("A"))
        await sending.send(instance("B", sop_class="1.2.840.10008.5.1.4.1.1.4"))
        assert len(sending.pacs.asked) == 2
        assert sending.pacs.associations[0].released
        assert sending.pacs.most_open == 1


async def test_what_finds_no_room_waits_for_the_next_association() -> None:
    """65 SOP classes in two transfer syntaxes are 130 pairs: 127 fit beside Verification, the rest comes after."""
    async with Sending() as sending:
        instances = [instance(f"{number}", sop_class=f"1.2.3.{number}", number=number + 1) for number in range(65)]
        found = await sending.send(*instances)
        assert {result.outcome for result in found.values()} == {Stored(0)}
        assert [len(asked.pairs) for asked in sending.pacs.asked] == [127, 4]
        assert sending.pacs.most_open == 1


async def test_each_modality_is_called_by_its_own_title() -> None:
    """`local_ae_title: received`: one association for each title, and ours where there is none."""
    async with Sending(replace(PACS, local_ae_title=None)) as sending:
        found = await sending.send(
            instance("A", calling="CT1"),
            instance("B", calling="MR1"),
            instance("C", calling="CT1"),
            instance("D", calling=None),
            instance("E", calling=""),
        )
        assert [asked.calling_ae_title for asked in sending.pacs.asked] == ["CT1", "MR1", FALLBACK_AE_TITLE]
        assert sending.pacs.received == ["A", "C", "B", "D", "E"]
        assert {result.associations for result in found.values()} == {1}
        assert sending.pacs.most_open == 1


@pytest.mark.parametrize(
    "failure",
    [
        rejected(1, 1, 3),
        AssociationFailedError(Failed(Cause.ASSOCIATION_REJECTED, "at most 16 ASCII characters")),
    ],
    ids=["not recognized", "cannot be written"],
)
async def test_one_title_that_will_not_do_is_its_instances_affair(failure: AssociationFailedError) -> None:
    """The others go by their own titles, and no administrator is called for the destination."""
    async with Sending(replace(PACS, local_ae_title=None)) as sending:
        sending.pacs.refusal = lambda asked: failure if asked.calling_ae_title == "STRANGER" else None
        found = await sending.send(instance("A", calling="STRANGER"), instance("B"))
        outcome = found["A"].outcome
        assert isinstance(outcome, Deferred)
        assert (outcome.scope, outcome.hold) == (Scope.INSTANCE, False)
        assert found["B"].outcome == Stored(0)


async def test_a_destination_in_trouble_is_not_asked_again_by_another_title() -> None:
    """Nobody listens: one association, and the second modality's instances have no result."""
    async with Sending(replace(PACS, local_ae_title=None)) as sending:
        sending.pacs.refusal = lambda _: connection_refused()
        found = await sending.send(instance("A", calling="CT1"), instance("B", calling="MR1"))
        assert found.keys() == {"A"}
        assert len(sending.pacs.asked) == 1


# Who ends it early


async def test_cancelled_in_a_c_store_it_is_in_doubt() -> None:
    """The answers that are still awaited or were lost: the peer may have these, and only these."""
    async with Sending() as sending:
        answered = anyio.Event()

        async def respond(each: Outgoing) -> Answered | Failed:
            if each.identity.sop_instance == "C":
                answered.set()
                await anyio.sleep_forever()
            return NO_ANSWER if each.identity.sop_instance == "B" else Answered(0)

        sending.pacs.respond = respond
        async with anyio.create_task_group() as group:
            group.start_soon(sending.send, *(instance(name) for name in "ABCD"))
            await answered.wait()
            group.cancel_scope.cancel()
        assert sending.attempt.in_doubt == {ord("B"), ord("C")}
        assert sending.pacs.open == 0


async def test_abort_ends_the_association_under_cancellation() -> None:
    """The A-ABORT is sent, whoever cancels."""
    async with Sending() as sending:
        await sending.send(instance("A"))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await sending.attempt.abort()
        assert sending.pacs.open == 0
        assert not sending.pacs.associations[0].released


async def test_the_callers_of_refusals_see_the_title_we_use() -> None:
    """Our own title for every modality, as configured by default."""
    async with Sending() as sending:
        await sending.send(instance("A", calling="CT1"), instance("B", calling="MR1"))
        assert sending.pacs.asked == [Asked("ROUTER", ((CT, EXPLICIT), (CT, IMPLICIT)))]
