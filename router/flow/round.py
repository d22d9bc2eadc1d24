"""One round of an attempt: one strategy, for all of those that are due for it."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import assert_never

from router.dicom.content import Outgoing
from router.dicom.sop_classes import name_of
from router.dicom.transcode import converts
from router.flow.conversions import Conversions
from router.flow.learned import Learned
from router.flow.line import Line, Opened
from router.flow.pending import Pending
from router.flow.reports import Reports
from router.model.destination import Destination, Strategy
from router.model.instance import Identity
from router.model.outcome import Answered, Cause, Deferred, Failed, Outcome, Refused, Scope, Stored
from router.model.transfer_syntax import transfer_syntax
from router.rules import negotiation, retry
from router.rules.negotiation import AsIs, Convert, Plan, Unsupported

NO_OTHER_WAY = frozenset({Cause.CANNOT_CONVERT, Cause.CONVERSION_DIED})
"""What the peer said to an earlier strategy is more than this."""


class BrokenOffError(Exception):
    """The destination is in trouble, as two failures in a row show, or its associations: the others are left alone."""


class Round:
    """Sends what needs no conversion while the rest is being converted; ends when all that is left is that rest."""

    def __init__(
        self,
        destination: Destination,
        strategy: Strategy,
        due: Sequence[Pending],
        *,
        line: Line,
        conversions: Conversions,
        learned: Learned,
        reports: Reports,
        in_doubt: set[int],
    ) -> None:
        self._destination = destination
        self._strategy = strategy
        self._line = line
        self._conversions = conversions
        self._learned = learned
        self._reports = reports
        self._in_doubt = in_doubt
        self._waiting = [each for each in due if not each.waits]
        self._converting = [each for each in due if each.waits]

    async def ended(self) -> AsyncGenerator[Pending, None]:
        """Those that have their outcome; the others may do better with the next strategy, or are being converted.

        Whose fault a failure during a C-STORE is, the next instance shows: if that one is stored, it was the
        instance's own; if it fails too, the destination is in trouble and the rest is left alone.

        Raises:
            AssociationFailedError: the association was not opened.
            BrokenOffError: the destination is in trouble; those that were not tried have no outcome.
        """
        suspect: Pending | None = None
        while (turn := await self._next()) is not None:
            each, opened, plan = turn
            outcome = each.outcome = await self._try(opened, plan, each)
            each.drop_conversion()
            match outcome:
                case Stored():
                    for settled in _after_success(each, suspect):
                        yield settled
                    suspect = None
                case Refused(next_strategy=True):
                    pass
                case Deferred(scope=Scope.UNDECIDED) if not each.blamed and suspect is None:
                    suspect = each
                case Deferred(scope=Scope.UNDECIDED) if not each.blamed and suspect is not None:
                    yield suspect
                    yield each
                    raise BrokenOffError
                case Refused() | Deferred():
                    yield each
                case _:
                    assert_never(outcome)
        if suspect is not None:
            yield suspect

    # Whose turn it is

    async def _next(self) -> tuple[Pending, Opened, Plan] | None:
        """Who can be sent now, over what, and how; None: nobody, whoever is left is being converted."""
        while (each := self._first()) is not None:
            opened = await self._line.open(self._strategy, [each, *self._waiting, *self._converting])
            plan = self._plan(opened, each)
            if isinstance(plan, Convert):
                self._convert(each, plan.transfer_syntax)
            if not each.waits:
                return each, opened, plan
            self._converting.append(each)
        return None

    def _first(self) -> Pending | None:
        """A conversion that has ended goes before those that need none: its file takes room, and others wait for it."""
        for each in self._converting:
            if not each.waits:
                self._converting.remove(each)
                return each
        return self._waiting.pop(0) if self._waiting else None

    def _plan(self, opened: Opened, each: Pending) -> Plan:
        return negotiation.plan(
            each.identity,
            opened.association.contexts,
            self._strategy,
            self._destination,
            converts,
            failed=frozenset(each.failed),
            avoided=self._learned.avoided(each.identity.sop_class),
        )

    def _convert(self, each: Pending, transfer_syntax: str) -> None:
        if each.conversion is None or each.conversion.transfer_syntax != transfer_syntax:
            each.drop_conversion()
            each.conversion = self._conversions.begin(each.instance, transfer_syntax)

    # One instance

    async def _try(self, opened: Opened, plan: Plan, each: Pending) -> Outcome:
        match plan:
            case Unsupported():
                self._rule_out(opened, each)
                return each.outcome or retry.outcome_of_failure(self._no_context(each.identity, plan))
            case AsIs():
                answer = await self._store(opened, plan, each, each.instance)
            case Convert():
                assert each.conversion is not None, "planned before"
                converted = each.conversion.result
                assert converted is not None, "it is its turn only when it has been converted"
                if isinstance(converted, Failed):
                    answer = converted
                else:
                    answer = await self._store(opened, plan, each, converted)
            case _:
                assert_never(plan)
        outcome = self._judge(answer, each)
        if each.outcome is not None and isinstance(answer, Failed) and answer.cause in NO_OTHER_WAY:
            outcome = each.outcome
        if not each.uncertain:
            self._in_doubt.discard(each.instance.number)
        if isinstance(outcome, Stored):
            self._reports.stored(opened, each, outcome)
            await self._learned.stored(each.identity.sop_class, plan.transfer_syntax, refused=frozenset(each.refused))
        else:
            if isinstance(answer, Answered) and isinstance(outcome, Refused):
                each.refused.add(plan.transfer_syntax)
            each.failed.add(plan.transfer_syntax)
            self._rule_out(opened, each)
        return outcome

    def _rule_out(self, opened: Opened, each: Pending) -> None:
        """What was proposed for it and refused as a context, or failed, is no reason for another strategy."""
        sop_class = each.identity.sop_class
        accepted = {
            answer.transfer_syntax
            for answer in opened.association.contexts
            if answer.abstract_syntax == sop_class and answer.transfer_syntax not in each.failed
        }
        wanted = negotiation.candidates(each.identity, self._strategy, self._destination, converts)
        each.tested.update((sop_class, syntax) for syntax in wanted if syntax not in accepted)

    async def _store(
        self, opened: Opened, plan: AsIs | Convert, each: Pending, instance: Outgoing
    ) -> Answered | Failed:
        self._in_doubt.add(instance.number)
        each.transfer_syntax = plan.transfer_syntax
        answer = await opened.association.store(plan.context_id, instance)
        self._line.used()
        return answer

    def _judge(self, answer: Answered | Failed, each: Pending) -> Outcome:
        match answer:
            case Answered():
                each.error_comment = answer.error_comment
                return retry.outcome_of_answer(
                    answer,
                    uncertain=each.uncertain,
                    duplicate_is_delivered=self._destination.duplicate_is_delivered,
                    rules=self._destination.status_rules,
                )
            case Failed():
                each.uncertain |= answer.cause in retry.DURING_STORE
                return retry.outcome_of_failure(answer)
            case _:
                assert_never(answer)

    def _no_context(self, identity: Identity, plan: Unsupported) -> Failed:
        cause = Cause.SOP_CLASS_NOT_SUPPORTED if plan.sop_class_refused else Cause.NO_CONTEXT
        sentence = negotiation.no_context(
            identity, plan, strategy=self._strategy, destination=self._destination, converts=converts
        )
        # The sentence stays word for word, as people search for it; the names of its UIDs follow.
        accepted = ", ".join(transfer_syntax(syntax).name for syntax in plan.accepted) or "none"
        stored = transfer_syntax(identity.transfer_syntax).name
        return Failed(cause, f"{sentence} ({name_of(identity.sop_class)}, stored in {stored}; accepted: {accepted})")


def _after_success(stored: Pending, suspect: Pending | None) -> Iterator[Pending]:
    """What has its outcome now; the failure before was the suspect's own.

    A peer that breaks off in mid-object may do so for the transfer syntax: another strategy is worth a try. One that
    answered "not now" is not helped by a conversion.
    """
    yield stored
    if suspect is not None:
        suspect.blamed = True
        assert isinstance(suspect.outcome, Deferred), "who failed definitely is no suspect"
        if suspect.outcome.cause not in retry.DURING_STORE:
            yield suspect
