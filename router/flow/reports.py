"""What an attempt tells the journal."""

from router.flow.line import Opened
from router.flow.pending import Pending
from router.journal import Fallback, Journal, SpoolTrouble, StoreSucceeded, StrategiesFailed
from router.model.destination import Strategy
from router.model.outcome import Cause, Deferred, Outcome, Refused, Stored


class Reports:
    """For one destination, by its name."""

    def __init__(self, destination: str, journal: Journal) -> None:
        self._destination = destination
        self._journal = journal

    def fallback(self, strategy: Strategy, first: Pending, because: Outcome | None) -> None:
        """Instances come to their next strategy; ``first`` is one of them."""
        self._journal.publish(
            Fallback(
                destination=self._destination,
                strategy=strategy,
                strategies_tried=tuple(first.strategies),
                error="" if because is None or isinstance(because, Stored) else because.error,
            )
        )

    def stored(self, opened: Opened, each: Pending, outcome: Stored) -> None:
        """The peer has it."""
        answers = opened.association.contexts
        accepted = sum(1 for answer in answers if answer.transfer_syntax is not None)
        self._journal.publish(
            StoreSucceeded(
                destination=self._destination,
                instance=each.identity.sop_instance,
                sop_class=each.identity.sop_class,
                stored_transfer_syntax=each.identity.transfer_syntax,
                transfer_syntax=each.transfer_syntax,
                converted=each.transfer_syntax != each.identity.transfer_syntax,
                strategy=opened.strategy,
                attempts=len(each.associations),
                bytes=each.instance.size,
                status=f"{outcome.status:04X}H",
                accepted_contexts=accepted,
                rejected_contexts=len(answers) - accepted,
            )
        )

    def failed(self, each: Pending) -> None:
        """It was refused in the end, or this machine could not even try; other failures are their deliveries' news."""
        match each.outcome:
            case Refused(error=error):
                self._journal.publish(
                    StrategiesFailed(
                        destination=self._destination,
                        instance=each.identity.sop_instance,
                        sop_class=each.identity.sop_class,
                        stored_transfer_syntax=each.identity.transfer_syntax,
                        strategies_tried=tuple(each.strategies),
                        attempts=len(each.associations),
                        error=error,
                    )
                )
            case Deferred(cause=Cause.LOCAL_TROUBLE, error=error):
                self._journal.publish(SpoolTrouble(error=error))
