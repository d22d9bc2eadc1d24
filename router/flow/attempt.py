"""One attempt: strategies in turn until each instance has an outcome. For the forwarder, and for ``send``."""

import math
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import assert_never

import anyio

from router.dicom.buffers import Buffers
from router.dicom.content import ContentError, Outgoing
from router.dicom.scu import Address, AssociationFailedError, associate
from router.dicom.sop_classes import name_of
from router.dicom.transcode import converts
from router.dicom.transcode.header import ConversionError
from router.flow.learned import Learned, forget
from router.flow.ports import Associate, Association, Transcoder
from router.journal import Fallback, Journal, StoreSucceeded, StrategiesFailed
from router.model.destination import Destination, Strategy
from router.model.instance import Identity
from router.model.outcome import Answered, Cause, Deferred, Failed, Outcome, Refused, Scope, Stored
from router.model.transfer_syntax import transfer_syntax
from router.rules import negotiation, retry
from router.rules.negotiation import AsIs, Convert, Pair, Proposal, Unsupported

FALLBACK_AE_TITLE = "ROUTER"
"""What we call ourselves when a destination wants the modality's title, and there is none."""

FRESH = 0.1
"""Seconds in which a peer hardly ends an association between two instances: it is not asked."""

CALLING_AE_TITLE_NOT_RECOGNIZED = (1, 3)
"""Source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one instance in one attempt."""

    instance: Outgoing
    outcome: Outcome
    blamed: bool
    """A failure of undecided fault was the instance's own: another one was stored after it."""
    strategy: Strategy
    strategies_tried: tuple[Strategy, ...]
    associations: int
    """Associations tried in this attempt (the seed's ``attempts_made``)."""
    transfer_syntax: str = ""
    """In which it was sent last; empty: it was not."""
    uncertain: bool = False
    """An answer was lost: the peer may have it."""
    error_comment: str = ""
    """The peer's, for the operator alone."""


@dataclass(slots=True, eq=False)
class _Pending:
    """An instance without a result yet."""

    instance: Outgoing
    uncertain: bool
    """An answer was lost, in this attempt or before: the peer may have it."""
    outcome: Outcome | None = None
    """Of the last strategy, if another one may do better."""
    strategies: list[Strategy] = field(default_factory=list)
    """Those that were tried for it."""
    blamed: bool = False
    failed: set[str] = field(default_factory=set)
    """Transfer syntaxes in which this very instance could not be sent."""
    refused: set[str] = field(default_factory=set)
    """Those of them in which the peer answered its C-STORE with a failure."""
    tested: set[Pair] = field(default_factory=set)
    """Pairs that did not work for it: refused as a context, or failed."""
    transfer_syntax: str = ""
    error_comment: str = ""

    @property
    def identity(self) -> Identity:
        return self.instance.identity


@dataclass(frozen=True, slots=True)
class _Line:
    """An open association, and what it was opened for."""

    association: Association
    proposal: Proposal
    strategy: Strategy
    calling_ae_title: str


class _BrokenOffError(Exception):
    """Two instances in a row failed: the destination is in trouble, the others are left alone."""


class Attempt:
    """Sends instances to one destination, one after another. Its association lives on between attempts."""

    def __init__(
        self,
        destination: Destination,
        *,
        transcoder: Transcoder,
        buffers: Buffers,
        journal: Journal,
        associate: Associate = associate,
        learned: Learned | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            destination: where to.
            transcoder: converts.
            buffers: shared with others.
            journal: what happened is published here.
            associate: opens associations.
            learned: what is known of the destination; None: nothing is known, and nothing is kept.
        """
        self.destination = destination
        self.in_doubt: set[int] = set()
        """Numbers of instances that were sent, and whose answer was lost or is still awaited: the peer may have them.

        For whoever ends ``outcomes`` before it has given the result.
        """
        self._transcoder = transcoder
        self._buffers = buffers
        self._journal = journal
        self._associate = associate
        self._learned = learned or Learned(forget)
        self._line: _Line | None = None
        self._used_at = -math.inf
        """When an instance was last sent over it, in this attempt."""
        self._associations = 0
        self._unopened: list[Strategy] = []
        """Strategies of this attempt whose association failed as a whole."""

    @property
    def associated(self) -> bool:
        """Whether an association is open, waiting for the next instance."""
        return self._line is not None and not self._line.association.over

    async def outcomes(
        self, instances: Sequence[Outgoing], uncertain: frozenset[int] = frozenset()
    ) -> AsyncGenerator[Result, None]:
        """Try each instance, and yield what became of it, in any order.

        Ends early, leaving instances out, when the destination itself is in trouble; the last results say so.

        Args:
            instances: what is due.
            uncertain: numbers of those that the peer may have already, because an answer was lost.
        """
        self.in_doubt.clear()
        self._used_at = -math.inf
        for calling_ae_title, group in self._by_title(instances).items():
            pending = [_Pending(instance, instance.number in uncertain) for instance in group]
            trouble = False
            self._associations, self._unopened = 0, []
            async with aclosing(self._strategies(calling_ae_title, pending)) as results:
                async for result in results:
                    yield result
                    trouble = isinstance(result.outcome, Deferred) and result.outcome.scope is Scope.DESTINATION
            if pending or trouble:
                return

    async def release(self) -> None:
        """End the association that waits for the next instance, if there is one."""
        line, self._line = self._line, None
        if line is not None:
            await line.association.release()

    async def abort(self) -> None:
        """End the association at once."""
        line, self._line = self._line, None
        if line is not None:
            with anyio.CancelScope(shield=True):
                await line.association.abort()

    def _by_title(self, instances: Iterable[Outgoing]) -> dict[str, list[Outgoing]]:
        """Grouped by the AE title that we call ourselves by: our own, or the one of the modality it came from."""
        groups: dict[str, list[Outgoing]] = {}
        for instance in instances:
            title = self.destination.local_ae_title or instance.calling_ae_title or FALLBACK_AE_TITLE
            groups.setdefault(title, []).append(instance)
        return groups

    # Strategies in turn

    async def _strategies(self, calling_ae_title: str, pending: list[_Pending]) -> AsyncGenerator[Result, None]:
        """Take each instance out of ``pending`` with its result; what is left in the end was not tried."""
        destination = self.destination
        failure: Deferred | None = None
        tried: list[Strategy] = []
        chain = negotiation.chain(destination.transfer_syntax_strategy, destination.max_association_retries)
        for strategy in self._learned.in_order(chain):
            if not (due := self._due(strategy, pending, all_of_them=not tried or failure is not None)):
                continue
            if tried:
                self._report_fallback(strategy, tried, failure or due[0].outcome)
            tried.append(strategy)
            for each in due:
                each.strategies.append(strategy)
            failure = None
            try:
                async with aclosing(self._round(strategy, calling_ae_title, due)) as ended:
                    async for each in ended:
                        pending.remove(each)
                        yield self._result(each)
            except AssociationFailedError as failed:
                failure = self._not_opened(failed)
                self._unopened.append(strategy)
                if not negotiation.another_strategy(failed.failure, failed.rejection):
                    break
            except _BrokenOffError:
                return
        for each in list(pending):
            pending.remove(each)
            each.outcome = each.outcome or failure
            yield self._result(each)

    async def _round(
        self, strategy: Strategy, calling_ae_title: str, due: list[_Pending]
    ) -> AsyncGenerator[_Pending, None]:
        """One strategy. Yields those that have their outcome; the others may do better with the next strategy.

        Whose fault a failure during a C-STORE is, the next instance shows: if that one is stored, it was the
        instance's own; if it fails too, the destination is in trouble and the rest is left alone.

        Raises:
            AssociationFailedError: the association was not opened.
            _BrokenOffError: the destination is in trouble; those that were not tried have no outcome.
        """
        suspect: _Pending | None = None
        for number, each in enumerate(due):
            line = await self._open(strategy, calling_ae_title, due[number:])
            outcome = each.outcome = await self._try(line, each)
            match outcome:
                case Stored():
                    for settled in _after_success(each, suspect):
                        yield settled
                    suspect = None
                case Refused():
                    if not outcome.next_strategy:
                        yield each
                case Deferred():
                    if each.blamed:
                        yield each
                    elif suspect is None:
                        suspect = each
                    else:
                        yield suspect
                        yield each
                        raise _BrokenOffError
                case _:
                    assert_never(outcome)
        if suspect is not None:
            yield suspect

    def _due(self, strategy: Strategy, pending: Sequence[_Pending], *, all_of_them: bool) -> list[_Pending]:
        """Those for whom a strategy has something that was not tried yet; all, if nothing could be tried before."""
        return [
            each
            for each in pending
            if all_of_them
            or negotiation.adds(each.identity, strategy, self.destination, converts, frozenset(each.tested))
        ]

    # One association, one instance

    async def _open(self, strategy: Strategy, calling_ae_title: str, due: Sequence[_Pending]) -> _Line:
        """An association that can carry the first of ``due``, and as many of the others as find room."""
        line = self._line
        if line is not None and await self._serves(line, strategy, calling_ae_title, due[0].identity):
            self._associations = self._associations or 1
            return line
        await self.release()
        proposal = negotiation.propose([each.identity for each in due], strategy, self.destination, converts)
        address = Address(
            self.destination.remote_host,
            self.destination.remote_port,
            self.destination.remote_ae_title,
            calling_ae_title,
        )
        self._associations += 1
        association = await self._associate(
            address, proposal.contexts, deadlines=self.destination.deadlines, buffers=self._buffers
        )
        self._line = _Line(association, proposal, strategy, calling_ae_title)
        self._learned.failed(self._unopened)
        await self._learned.answered(association.contexts, proposal)
        return self._line

    async def _serves(self, line: _Line, strategy: Strategy, calling_ae_title: str, identity: Identity) -> bool:
        wanted = negotiation.candidates(identity, strategy, self.destination, converts)
        return (
            line.strategy is strategy
            and line.calling_ae_title == calling_ae_title
            and line.proposal.covers((identity.sop_class, syntax) for syntax in wanted)
            and not line.association.over
            and (anyio.current_time() - self._used_at < FRESH or await line.association.still_open())
        )

    async def _try(self, line: _Line, each: _Pending) -> Outcome:
        plan = negotiation.plan(
            each.identity,
            line.association.contexts,
            line.strategy,
            self.destination,
            converts,
            failed=frozenset(each.failed),
            avoided=self._learned.avoided(each.identity.sop_class),
        )
        match plan:
            case Unsupported():
                wanted = negotiation.candidates(each.identity, line.strategy, self.destination, converts)
                each.tested.update((each.identity.sop_class, syntax) for syntax in wanted)
                return each.outcome or retry.outcome_of_failure(self._no_context(each.identity, plan, line.strategy))
            case AsIs():
                answer = await self._store(line.association, plan, each, each.instance)
            case Convert():
                answer = await self._convert_and_store(line.association, plan, each)
            case _:
                assert_never(plan)
        self._used_at = anyio.current_time()
        outcome = self._judge(answer, each)
        if each.outcome is not None and isinstance(answer, Failed) and answer.cause is Cause.CANNOT_CONVERT:
            # What the peer said to an earlier strategy is more than that there is no other way.
            outcome = each.outcome
        if not each.uncertain:
            self.in_doubt.discard(each.instance.number)
        if isinstance(outcome, Stored):
            self._report_success(line, each, outcome)
            await self._learned.stored(each.identity.sop_class, plan.transfer_syntax, refused=frozenset(each.refused))
        else:
            if isinstance(answer, Answered) and isinstance(outcome, Refused):
                each.refused.add(plan.transfer_syntax)
            each.failed.add(plan.transfer_syntax)
            each.tested.add((each.identity.sop_class, plan.transfer_syntax))
        return outcome

    async def _store(
        self, association: Association, plan: AsIs | Convert, each: _Pending, instance: Outgoing
    ) -> Answered | Failed:
        self.in_doubt.add(instance.number)
        each.transfer_syntax = plan.transfer_syntax
        return await association.store(plan.context_id, instance)

    async def _convert_and_store(self, association: Association, plan: Convert, each: _Pending) -> Answered | Failed:
        try:
            async with self._transcoder.converted(each.instance, plan.transfer_syntax) as converted:
                return await self._store(association, plan, each, converted)
        except ConversionError as error:
            return Failed(Cause.CANNOT_CONVERT, f"The instance cannot be converted: {error}")
        except ContentError as damaged:
            return Failed(Cause.PAYLOAD_DAMAGED, str(damaged))

    def _judge(self, answer: Answered | Failed, each: _Pending) -> Outcome:
        match answer:
            case Answered():
                each.error_comment = answer.error_comment
                return retry.outcome_of_answer(
                    answer, uncertain=each.uncertain, duplicate_is_delivered=self.destination.duplicate_is_delivered
                )
            case Failed():
                each.uncertain |= answer.cause in retry.DURING_STORE
                return retry.outcome_of_failure(answer)
            case _:
                assert_never(answer)

    def _not_opened(self, failed: AssociationFailedError) -> Deferred:
        """The outcome for those whose association was not opened: not their fault, as nothing of theirs was sent.

        But if we call ourselves what their modality does, and this title will not do, others may fare better.
        """
        outcome = retry.outcome_of_failure(failed.failure)
        assert isinstance(outcome, Deferred), f"{failed.failure.cause} cannot come from opening an association"
        if self.destination.local_ae_title is None and _title_refused(failed):
            return replace(outcome, scope=Scope.INSTANCE, hold=False)
        return replace(outcome, scope=Scope.DESTINATION)

    def _no_context(self, identity: Identity, plan: Unsupported, strategy: Strategy) -> Failed:
        cause = Cause.SOP_CLASS_NOT_SUPPORTED if plan.sop_class_refused else Cause.NO_CONTEXT
        sentence = negotiation.no_context(
            identity, plan, strategy=strategy, destination=self.destination, converts=converts
        )
        # The sentence stays word for word, as people search for it; the names of its UIDs follow.
        accepted = ", ".join(transfer_syntax(syntax).name for syntax in plan.accepted) or "none"
        stored = transfer_syntax(identity.transfer_syntax).name
        return Failed(cause, f"{sentence} ({name_of(identity.sop_class)}, stored in {stored}; accepted: {accepted})")

    # What is said about it

    def _result(self, each: _Pending) -> Result:
        assert each.outcome is not None
        tried = tuple(each.strategies)
        if isinstance(each.outcome, Refused):
            self._journal.publish(
                StrategiesFailed(
                    destination=self.destination.name,
                    instance=each.identity.sop_instance,
                    sop_class=each.identity.sop_class,
                    stored_transfer_syntax=each.identity.transfer_syntax,
                    strategies_tried=tried,
                    attempts=self._associations,
                    error=each.outcome.error,
                )
            )
        return Result(
            each.instance,
            each.outcome,
            each.blamed,
            tried[-1],
            tried,
            self._associations,
            each.transfer_syntax,
            each.uncertain,
            each.error_comment,
        )

    def _report_fallback(self, strategy: Strategy, tried: Sequence[Strategy], because: Outcome | None) -> None:
        self._journal.publish(
            Fallback(
                destination=self.destination.name,
                strategy=strategy,
                strategies_tried=tuple(tried),
                error="" if because is None or isinstance(because, Stored) else because.error,
            )
        )

    def _report_success(self, line: _Line, each: _Pending, outcome: Stored) -> None:
        answers = line.association.contexts
        accepted = sum(1 for answer in answers if answer.transfer_syntax is not None)
        self._journal.publish(
            StoreSucceeded(
                destination=self.destination.name,
                instance=each.identity.sop_instance,
                sop_class=each.identity.sop_class,
                stored_transfer_syntax=each.identity.transfer_syntax,
                transfer_syntax=each.transfer_syntax,
                converted=each.transfer_syntax != each.identity.transfer_syntax,
                strategy=line.strategy,
                attempts=self._associations,
                bytes=each.instance.size,
                status=f"{outcome.status:04X}H",
                accepted_contexts=accepted,
                rejected_contexts=len(answers) - accepted,
            )
        )


def _title_refused(failed: AssociationFailedError) -> bool:
    """Whether it was our own title: the peer does not know it, or it is none that can be written (PS3.8 9.3.2)."""
    if failed.rejection is None:
        return failed.failure.cause is Cause.ASSOCIATION_REJECTED
    return failed.rejection[1:] == CALLING_AE_TITLE_NOT_RECOGNIZED


def _after_success(stored: _Pending, suspect: _Pending | None) -> Iterator[_Pending]:
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
