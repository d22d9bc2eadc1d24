"""One attempt: strategies in turn until each instance has an outcome. For the forwarder, and for ``send``."""

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Self

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.pulse import resting
from router.dicom.scu import AssociationFailedError, associate
from router.dicom.transcode import converts
from router.flow.conversions import Conversions
from router.flow.learned import Learned, forget
from router.flow.line import Line
from router.flow.pending import Pending, Result
from router.flow.ports import Associate, Transcoder
from router.flow.reports import Reports
from router.flow.round import BrokenOffError, Round
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.outcome import Cause, Deferred, Refused, Scope
from router.rules import negotiation, retry
from router.rules.negotiation import Pair

FALLBACK_AE_TITLE = "ROUTER"
"""What we call ourselves when a destination wants the modality's title, and there is none."""

CALLING_AE_TITLE_NOT_RECOGNIZED = (1, 3)
"""Source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


class Attempt:
    """Sends instances to one destination, one after another. Its association lives on between claims.

    A context manager: at its end the association is aborted, if it was not released, and conversions end.
    """

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
        self._learned = learned or Learned(forget)
        self._line = Line(destination, buffers=buffers, associate=associate, learned=self._learned)
        self._conversions = Conversions(transcoder)
        self._reports = Reports(destination.name, journal)
        self._left: list[Pending] = []

    async def __aenter__(self) -> Self:
        await self._conversions.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.abort()
        finally:
            await self._conversions.__aexit__(kind, error, trace)

    @property
    def associated(self) -> bool:
        """Whether an association is open, waiting for the next instance."""
        return self._line.associated

    @property
    def group(self) -> str | None:
        """The study or series that it is busy with; None: it may send any.

        That of what is being converted, too: an association for another one would have to end for it in the middle.
        """
        return self._line.group_of(self._left[0]) if self._left else self._line.group

    @property
    def idle_since(self) -> float:
        """When the peer last answered, on the event loop's clock."""
        return self._line.idle_since

    @property
    def left(self) -> Collection[int]:
        """Numbers of instances that are still being converted: the next ``outcomes`` have their results."""
        return [each.instance.number for each in self._left]

    async def outcomes(
        self, instances: Sequence[Outgoing], uncertain: frozenset[int] = frozenset(), *, leave_converting: bool = False
    ) -> AsyncGenerator[Result, None]:
        """Try each instance, and yield what became of it, in any order.

        Ends early, leaving instances out for good, when the destination itself is in trouble; the last results say so.

        Args:
            instances: what is due.
            uncertain: numbers of those that the peer may have already, because an answer was lost.
            leave_converting: when all that can be sent now was sent, leave those that are being converted to the next
                call.
        """
        new = [Pending(each, self._title(each), each.number in uncertain) for each in instances]
        pending, self._left = [*self._left, *new], []
        self.in_doubt.intersection_update(each.instance.number for each in pending)
        self._line.rested()
        try:
            while pending:
                async with aclosing(self._once(pending)) as results:
                    async for result in results:
                        yield result
                if leave_converting:
                    self._left, pending = pending, []
                elif pending:
                    await self._converted(pending)
        except BrokenOffError:
            return
        finally:
            for each in pending:
                each.drop_conversion()

    @property
    def ready(self) -> bool:
        """Whether one of those that are left can be sent now."""
        return not all(each.waits for each in self._left)

    async def converted(self) -> None:
        """Wait until one of those that are left can be sent: forever if there are none."""
        await self._converted(self._left)

    async def _converted(self, pending: Sequence[Pending]) -> None:
        while all(each.waits for each in pending):
            with resting():  # those of other destinations may go first; the pool has a deadline for each
                await self._conversions.wait()

    async def release(self) -> None:
        """End the association that waits for the next instance, if there is one."""
        await self._line.release()

    async def abort(self) -> None:
        """End the association at once."""
        await self._line.abort()

    def _title(self, instance: Outgoing) -> str:
        """What we call ourselves for an instance: our own AE title, or the one of the modality it came from."""
        return self.destination.local_ae_title or instance.calling_ae_title or FALLBACK_AE_TITLE

    async def _once(self, pending: list[Pending]) -> AsyncGenerator[Result, None]:
        """Try whatever can be sent now, and take it out of ``pending``.

        Raises:
            BrokenOffError: the destination is in trouble, the others are left alone.
        """
        trouble = False
        for group in _by_title(pending):
            async with aclosing(self._strategies(group)) as ended:
                async for each in ended:
                    pending.remove(each)
                    each.drop_conversion()
                    self._reports.failed(each)
                    trouble = isinstance(each.outcome, Deferred) and each.outcome.scope is Scope.DESTINATION
                    yield each.result()
            if trouble:
                raise BrokenOffError

    # Strategies in turn

    async def _strategies(self, group: Sequence[Pending]) -> AsyncGenerator[Pending, None]:
        """Those that have their outcome; the others are being converted.

        Raises:
            BrokenOffError: the destination is in trouble, the others are left alone.
        """
        pending = [*group]
        failure: Deferred | None = None
        self._line.chain_begins()
        order = self._in_order(pending)
        while pending and (turn := self._turn(order, pending, unopened=failure is not None)) is not None:
            strategy, due = turn
            self._begin(strategy, due, failure)
            failure = None
            try:
                async with aclosing(self._round(strategy, due).ended()) as ended:
                    async for each in ended:
                        pending.remove(each)
                        yield each
            except AssociationFailedError as failed:
                failure = self._not_opened(failed)
                for each in due:
                    each.drop_conversion()
                if not negotiation.another_strategy(failed.failure, failed.rejection):
                    _acquit(pending, failure)
                    break
        for each in pending:
            if each.conversion is None:
                each.outcome = each.outcome or failure
                yield each

    def _in_order(self, pending: Collection[Pending]) -> Sequence[Strategy]:
        destination = self.destination
        identities = {(each.identity.sop_class, each.identity.transfer_syntax): each.identity for each in pending}

        def wanted(strategy: Strategy) -> Collection[Pair]:
            return {
                (identity.sop_class, syntax)
                for identity in identities.values()
                for syntax in negotiation.candidates(identity, strategy, destination, converts)
            }

        chain = negotiation.chain(destination.transfer_syntax_strategy, destination.max_association_retries)
        return self._learned.in_order(chain, wanted)

    def _turn(
        self, order: Sequence[Strategy], pending: Collection[Pending], *, unopened: bool
    ) -> tuple[Strategy, Sequence[Pending]] | None:
        """The strategy that comes next, and for whom; None: whoever is left waits, or has had them all."""
        for strategy in order:
            due = [each for each in pending if self._is_due(each, strategy, unopened=unopened)]
            if not all(each.waits for each in due):
                return strategy, due
        return None

    def _is_due(self, each: Pending, strategy: Strategy, *, unopened: bool) -> bool:
        """Whether a strategy has something for it that was not tried yet; if nothing could be tried before, any has.

        None has its turn twice, even if what was learned since it began has changed the order.
        """
        if each.conversion is not None:
            return strategy is each.strategies[-1]
        return strategy not in each.strategies and (
            unopened
            or not each.strategies
            or negotiation.adds(each.identity, strategy, self.destination, converts, frozenset(each.tested))
        )

    def _begin(self, strategy: Strategy, due: Sequence[Pending], failure: Deferred | None) -> None:
        newcomers = [each for each in due if strategy not in each.strategies]
        if newcomers and newcomers[0].strategies:
            self._reports.fallback(strategy, newcomers[0], failure or newcomers[0].outcome)
        for each in newcomers:
            each.strategies.append(strategy)

    def _round(self, strategy: Strategy, due: Sequence[Pending]) -> Round:
        return Round(
            self.destination,
            strategy,
            due,
            line=self._line,
            conversions=self._conversions,
            learned=self._learned,
            reports=self._reports,
            in_doubt=self.in_doubt,
        )

    def _not_opened(self, failed: AssociationFailedError) -> Deferred:
        """The outcome for those whose association was not opened: not their fault, as nothing of theirs was sent.

        But if we call ourselves what their modality does, and this title will not do, others may fare better.
        """
        outcome = retry.outcome_of_failure(failed.failure)
        assert isinstance(outcome, Deferred), f"{failed.failure.cause} cannot come from opening an association"
        if self.destination.local_ae_title is None and _title_refused(failed):
            return replace(outcome, scope=Scope.INSTANCE, hold=False)
        return replace(outcome, scope=Scope.DESTINATION)


def _by_title(pending: Iterable[Pending]) -> Iterable[Sequence[Pending]]:
    """Those that can share an association."""
    groups: dict[str, list[Pending]] = {}
    for each in pending:
        groups.setdefault(each.calling_ae_title, []).append(each)
    return groups.values()


def _acquit(pending: Iterable[Pending], failure: Deferred) -> None:
    """The destination went away before their next strategy could be tried: what it said before is not the end.

    What failed during a C-STORE without being blamed for it keeps that outcome.
    """
    for each in pending:
        if each.blamed or isinstance(each.outcome, Refused):
            each.outcome, each.blamed = failure, False


def _title_refused(failed: AssociationFailedError) -> bool:
    """Whether it was our own title: the peer does not know it, or it is none that can be written (PS3.8 9.3.2)."""
    if failed.rejection is None:
        return failed.failure.cause is Cause.ASSOCIATION_REJECTED
    return failed.rejection[1:] == CALLING_AE_TITLE_NOT_RECOGNIZED
