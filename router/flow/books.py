"""What became of claimed deliveries is told to the queue, and to the journal."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from anyio import create_task_group

from router.durable.queue import Queue
from router.flow.patience import insist
from router.flow.pending import Result
from router.journal import DeadLetter, Delivered, DeliveryDeferred, Journal
from router.model.delivery import Claim, Delivery, Settlement, State
from router.model.destination import Destination
from router.rules import retry


class Settle(Protocol):
    """How a delivery goes on after an attempt."""

    def __call__(self, claim: Claim, delivery: Delivery, result: Result, *, blamed: bool) -> None:
        """Say so, and go on.

        Args:
            claim: of the delivery.
            delivery: as claimed.
            result: of the attempt.
            blamed: a failure of undecided fault was its own.
        """


@dataclass(frozen=True, slots=True)
class _Noted:
    token: int
    delivery: Delivery
    settlement: Settlement


class Books:
    """Those of one destination."""

    def __init__(
        self,
        destination: Destination,
        queue: Queue,
        *,
        journal: Journal,
        clock: Callable[[], datetime],
        chance: retry.Chance,
    ) -> None:
        self._destination = destination
        self._queue = queue
        self._journal = journal
        self._clock = clock
        self._chance = chance

    @asynccontextmanager
    async def settling(self) -> AsyncIterator[Settle]:
        """For the time of a block, settle beside it what it says; when it has ended all of that is settled.

        What has its outcome while one commit is on its way has the next one together. A commit for each costs three
        times as much, and the next instance would wait for it.
        """
        noted: list[_Noted] = []
        committing = False
        defect: Exception | None = None

        async def commit() -> None:
            nonlocal committing
            while noted:
                together = [*noted]
                noted.clear()
                await self._settle(together)
            committing = False

        async with create_task_group() as commits:

            def settle(claim: Claim, delivery: Delivery, result: Result, *, blamed: bool) -> None:
                nonlocal committing
                noted.append(_Noted(claim.token, delivery, self._settlement(delivery, result, blamed=blamed)))
                if not committing:
                    committing = True
                    commits.start_soon(commit)

            try:
                yield settle
            except Exception as error:  # noqa: BLE001 -- raised below: what has its outcome is settled all the same
                defect = error
        if defect is not None:
            raise defect

    def _settlement(self, delivery: Delivery, result: Result, *, blamed: bool) -> Settlement:
        now = self._clock()
        return replace(
            retry.settle(delivery, result.outcome, self._destination, blamed=blamed, now=now, chance=self._chance),
            strategy=result.strategy,
            transfer_syntax=result.transfer_syntax,
            associations=result.associations,
            uncertain=result.uncertain,
            error_comment=result.error_comment,
        )

    async def _settle(self, noted: Sequence[_Noted]) -> None:
        now = self._clock()
        for token, same in groupby(noted, key=attrgetter("token")):
            ended = [*same]
            claim = Claim(token, tuple(each.delivery for each in ended))
            settlements = [each.settlement for each in ended]
            await insist(partial(self._queue.settle, claim, settlements, now), self._journal)
            for each in ended:
                self._report(each.delivery, each.settlement)

    async def give_back(self, claims: Sequence[Claim], in_doubt: Collection[int]) -> None:
        """What was not tried, uncharged; but the queue remembers which of them the peer may have (``in_doubt``)."""
        now = self._clock()
        for claim in claims:
            interrupted = [
                Settlement(delivery.id, State.QUEUED, next_attempt_at=now, uncertain=True)
                for delivery in claim.deliveries
                if delivery.id in in_doubt
            ]
            if interrupted:
                await insist(partial(self._queue.settle, claim, interrupted, now), self._journal)
            await insist(partial(self._queue.give_back, claim), self._journal)

    def _report(self, delivery: Delivery, settlement: Settlement) -> None:
        instance, status = delivery.identity.sop_instance, ""
        if settlement.status is not None:
            status = f"{settlement.status:04X}H"
        match settlement.state:
            case State.DELIVERED:
                waited = self._clock() - delivery.envelope.received_at
                self._journal.publish(
                    Delivered(
                        destination=delivery.destination,
                        instance=instance,
                        study=delivery.study,
                        duration_ms=round(waited.total_seconds() * 1000, 1),
                    )
                )
            case State.QUEUED:
                self._journal.publish(
                    DeliveryDeferred(
                        destination=delivery.destination,
                        instance=instance,
                        study=delivery.study,
                        attempt=delivery.attempts + 1,
                        status=status,
                        cause=settlement.cause,
                        error=settlement.error,
                        next_attempt_at=settlement.next_attempt_at,
                    )
                )
            case _:
                self._journal.publish(
                    DeadLetter(
                        destination=delivery.destination,
                        instance=instance,
                        study=delivery.study,
                        attempt=delivery.attempts + 1,
                        status=status,
                        cause=settlement.cause,
                        error=settlement.error,
                    )
                )
