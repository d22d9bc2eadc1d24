"""What became of claimed deliveries is told to the queue, and to the journal."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from router.durable.queue import Queue
from router.flow.patience import insist
from router.flow.pending import Result
from router.journal import DeadLetter, Delivered, DeliveryDeferred, Journal
from router.model.delivery import Claim, Delivery, Settlement, State
from router.model.destination import Destination
from router.rules import retry


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

    async def settle(self, claim: Claim, delivery: Delivery, result: Result, *, blamed: bool) -> None:
        """How a delivery goes on after an attempt.

        Args:
            claim: of the delivery.
            delivery: as claimed.
            result: of the attempt.
            blamed: a failure of undecided fault was its own.
        """
        now = self._clock()
        settlement = replace(
            retry.settle(delivery, result.outcome, self._destination, blamed=blamed, now=now, chance=self._chance),
            strategy=result.strategy,
            transfer_syntax=result.transfer_syntax,
            associations=result.associations,
            uncertain=result.uncertain,
            error_comment=result.error_comment,
        )
        await insist(partial(self._queue.settle, claim, [settlement], now), self._journal)
        self._report(delivery, settlement)

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
