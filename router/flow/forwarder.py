"""Out: from the queue to one destination. One forwarder per destination, so that none waits for another."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath

import anyio

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.scu import Address, AssociationFailedError, associate
from router.durable.queue import Capabilities, Queue
from router.durable.spool import Spool
from router.flow.attempt import FALLBACK_AE_TITLE, Attempt, Result
from router.flow.breaker import Breaker
from router.flow.learned import Learned, load
from router.flow.patience import insist
from router.flow.ports import Associate, Transcoder
from router.journal import DeadLetter, DeliveryDeferred, Journal
from router.model.delivery import Claim, Delivery, Settlement, State
from router.model.destination import Destination
from router.model.outcome import Deferred, Failed, Scope, Stored
from router.model.presentation_context import VERIFICATION, PresentationContext
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from router.rules import retry

OWNER = "daemon"
"""Who claims; a queue that several daemons share will want their names."""

CLAIMED_AT_ONCE = 32
"""Deliveries per claim: enough to build one proposal for, few enough for a crash to leave little uncertain."""

LONGEST_SLEEP = 60.0
"""Seconds after which the clock is looked at again: it may have been set."""


class Forwarder:
    """Everything that is owed to one destination."""

    def __init__(
        self,
        destination: Destination,
        *,
        queue: Queue,
        spool: Spool,
        transcoder: Transcoder,
        buffers: Buffers,
        journal: Journal,
        clock: Callable[[], datetime],
        chance: retry.Chance,
        capabilities: Capabilities,
        associate: Associate = associate,
    ) -> None:
        self.destination = destination
        self._queue = queue
        self._spool = spool
        self._transcoder = transcoder
        self._buffers = buffers
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._associate = associate
        self._capabilities = capabilities
        self._learned: Learned
        self._breaker = Breaker(destination, queue, journal=journal, clock=clock, chance=chance)
        self._room = anyio.Semaphore(destination.max_associations)
        self._stored = 0
        """Instances, since the start."""
        self._failed: dict[int, int] = {}
        """Deliveries whose last C-STORE failed, by whose fault is not known → how many were stored by then."""
        self._stopping = anyio.Event()
        self._waiting: set[anyio.CancelScope] = set()

    async def run(self) -> None:
        """Forward until ``stop`` or cancellation."""
        await self._breaker.load()
        self._learned = await load(self.destination, self._capabilities, journal=self._journal, clock=self._clock)
        async with anyio.create_task_group() as lines:
            lines.start_soon(self._mend)
            for _ in range(self.destination.max_associations):
                lines.start_soon(self._forward_what_is_due)

    def stop(self) -> None:
        """Finish the instances that are being sent, give the others back, and end."""
        self._stopping.set()
        for waiting in self._waiting:
            waiting.cancel()

    async def _forward_what_is_due(self) -> None:
        """One association at a time, many instances on it."""
        attempt = self._attempt()
        while not self._stopping.is_set():
            with self._until_stopped():
                await self._breaker.wait_closed()
            async with self._room:
                try:
                    while self._breaker.closed and not self._stopping.is_set():
                        claim = await self._claim(CLAIMED_AT_ONCE)
                        if claim.deliveries:
                            await self.forward(claim, attempt)
                        else:
                            await self._wait_for_work(attempt)
                    await attempt.release()
                finally:
                    await attempt.abort()

    async def forward(self, claim: Claim, attempt: Attempt, *, probing: bool = False) -> None:
        """Try what was claimed and settle each delivery; what was not tried, or not at its own cost, is given back."""
        owed = {delivery.id: delivery for delivery in claim.deliveries}
        uncertain = frozenset(delivery.id for delivery in claim.deliveries if delivery.uncertain)
        suspicion: Deferred | None = None
        try:
            async with aclosing(attempt.outcomes(self._outgoing(claim), uncertain)) as results:
                async for result in results:
                    number, blamed = result.instance.number, result.blamed
                    failed_before = self._failed.pop(number, self._stored)
                    match result.outcome:
                        case Deferred(scope=Scope.DESTINATION) as outcome:
                            await self._breaker.trip(outcome, probing=probing)
                            break
                        case Deferred(scope=Scope.UNDECIDED) as outcome if not blamed:
                            suspicion = outcome
                            blamed = failed_before < self._stored and not probing
                            self._failed[number] = self._stored
                        case Stored():
                            self._stored += 1
                            await self._breaker.reset()
                    await self._settle(claim, owed.pop(number), result, blamed=blamed)
                    if self._stopping.is_set():
                        break
            # One failure with nothing stored after it proves nothing. Two of different instances, or one that was to
            # show whether the destination works again, are the destination's trouble.
            if suspicion is not None and (probing or list(self._failed.values()).count(self._stored) > 1):
                await self._breaker.trip(suspicion, probing=probing)
        finally:
            if owed:
                await self._give_back(Claim(claim.token, tuple(owed.values())), attempt.in_doubt)

    async def _claim(self, limit: int) -> Claim:
        return await insist(
            lambda: self._queue.claim(self.destination.name, OWNER, limit, self._clock()), self._journal
        )

    async def _give_back(self, claim: Claim, in_doubt: Collection[int]) -> None:
        """Uncharged; but the queue remembers which of them the peer may have."""
        now = self._clock()
        interrupted = [
            Settlement(delivery.id, State.QUEUED, next_attempt_at=now, uncertain=True)
            for delivery in claim.deliveries
            if delivery.id in in_doubt
        ]
        if interrupted:
            await insist(partial(self._queue.settle, claim, interrupted, now), self._journal)
        await insist(partial(self._queue.give_back, claim), self._journal)

    async def _settle(self, claim: Claim, delivery: Delivery, result: Result, *, blamed: bool) -> None:
        now = self._clock()
        settlement = replace(
            retry.settle(delivery, result.outcome, self.destination, blamed=blamed, now=now, chance=self._chance),
            strategy=result.strategy,
            transfer_syntax=result.transfer_syntax,
            associations=result.associations,
            uncertain=result.uncertain,
            error_comment=result.error_comment,
        )
        await insist(partial(self._queue.settle, claim, [settlement], now), self._journal)
        self._report(delivery, settlement)

    def _report(self, delivery: Delivery, settlement: Settlement) -> None:
        status = "" if settlement.status is None else f"{settlement.status:04X}H"
        if settlement.state is State.QUEUED:
            self._journal.publish(
                DeliveryDeferred(
                    destination=delivery.destination,
                    instance=delivery.identity.sop_instance,
                    study=delivery.study,
                    attempt=delivery.attempts + 1,
                    status=status,
                    error=settlement.error,
                    next_attempt_at=settlement.next_attempt_at,
                )
            )
        elif settlement.state is State.DEAD:
            self._journal.publish(
                DeadLetter(
                    destination=delivery.destination,
                    instance=delivery.identity.sop_instance,
                    study=delivery.study,
                    attempt=delivery.attempts + 1,
                    status=status,
                    error=settlement.error,
                )
            )

    # A destination in trouble

    async def _mend(self) -> None:
        """Try a destination in trouble when its time has come, with as little as shows whether it works.

        After a failed connection or association that is a C-ECHO; after failed C-STOREs one instance, because a PACS
        with a full disk answers C-ECHO with success.
        """
        attempt = self._attempt()
        while not self._stopping.is_set():
            with self._until_stopped():
                await self._breaker.wait_opened()
                await self._until_retry()
            async with self._room:
                if self._breaker.closed or self._stopping.is_set():
                    continue
                shown = await self._probe(attempt)
            if not shown:
                await self._wait_for_work(attempt)

    async def _probe(self, attempt: Attempt) -> bool:
        """Whether there was something to try."""
        # A PACS that tells modalities by their titles would refuse a C-ECHO in any other name.
        if self._breaker.standing.cause in retry.SHOWN_BY_C_STORE or self.destination.local_ae_title is None:
            return await self._try_one(attempt)
        await self._try_echo()
        return True

    async def _try_one(self, attempt: Attempt) -> bool:
        before = self._breaker.standing
        claim = await self._claim(1)
        if not claim.deliveries:
            return False
        try:
            await self.forward(claim, attempt, probing=True)
            await attempt.release()
        finally:
            await attempt.abort()
        if self._breaker.standing is before:
            # It was refused, which is the instance's affair: the destination answers.
            await self._breaker.reset()
        return True

    async def _try_echo(self) -> None:
        destination = self.destination
        address = Address(
            destination.remote_host,
            destination.remote_port,
            destination.remote_ae_title,
            destination.local_ae_title or FALLBACK_AE_TITLE,
        )
        context = PresentationContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))
        failure: Failed | None = None
        try:
            association = await self._associate(
                address, [context], deadlines=destination.deadlines, buffers=self._buffers
            )
        except AssociationFailedError as failed:
            failure = failed.failure
        else:
            # A peer that associates but has no Verification works, as far as can be told.
            if association.contexts[0].transfer_syntax is not None:
                answer = await association.echo(context.id)
                failure = answer if isinstance(answer, Failed) else None
            await association.release()
        outcome = None if failure is None else retry.outcome_of_failure(failure)
        if isinstance(outcome, Deferred):
            await self._breaker.trip(outcome, probing=True)
        else:
            await self._breaker.reset()

    # Waiting

    async def _wait_for_work(self, attempt: Attempt) -> None:
        """Until something is due. An open association lingers for a moment, then it is released."""
        due = await insist(partial(self._queue.next_due, self.destination.name), self._journal)
        linger = self.destination.deadlines.linger.total_seconds()
        seconds = None if due is None else min(max(0.0, (due - self._clock()).total_seconds()), LONGEST_SLEEP)
        with self._until_stopped(), anyio.move_on_after(seconds):
            if attempt.associated:
                with anyio.move_on_after(linger):
                    await self._queue.changed(self.destination.name)
                    return
                await attempt.release()
            await self._queue.changed(self.destination.name)

    async def _until_retry(self) -> None:
        # The time of day has no event and may be set, and the destination may recover and fail again meanwhile.
        while (retry_at := self._breaker.standing.retry_at) and (now := self._clock()) < retry_at:  # noqa: ASYNC110
            await anyio.sleep(min((retry_at - now).total_seconds(), LONGEST_SLEEP))

    @contextmanager
    def _until_stopped(self) -> Iterator[None]:
        """A wait that ``stop`` ends."""
        with anyio.CancelScope() as waiting:
            if self._stopping.is_set():
                waiting.cancel()
            self._waiting.add(waiting)
            try:
                yield
            finally:
                self._waiting.discard(waiting)

    def _attempt(self) -> Attempt:
        return Attempt(
            self.destination,
            transcoder=self._transcoder,
            buffers=self._buffers,
            journal=self._journal,
            associate=self._associate,
            learned=self._learned,
        )

    def _outgoing(self, claim: Claim) -> Sequence[Outgoing]:
        return [
            Outgoing(
                number=delivery.id,
                identity=delivery.identity,
                path=self._spool.absolute(PurePosixPath(delivery.path)),
                header_size=delivery.header_size,
                size=delivery.size,
                digest=delivery.digest,
                calling_ae_title=delivery.envelope.calling_ae_title,
            )
            for delivery in claim.deliveries
        ]
