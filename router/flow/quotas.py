"""Says when more waits for a destination than it may: once when that begins, and what a best effort gave up."""

from router.journal import Journal, QuotaExceeded
from router.model.delivery import Accepted


class Quotas:
    """Which destinations are over their quota now."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._over: set[str] = set()

    def note(self, accepted: Accepted) -> None:
        """An instance was accepted."""
        for given_up in accepted.given_up:
            sentence = "the destination is over its quota: what waited longest was given up"
            self._journal.publish(
                QuotaExceeded(
                    destination=given_up.destination,
                    outcome=given_up.deliveries,
                    bytes=given_up.size,
                    error=sentence,
                )
            )
        for name in sorted({*accepted.over_quota} - self._over):
            sentence = (
                "more waits than the quota; `best_effort: true` would give up the oldest, the reserve refuses all"
            )
            self._journal.publish(QuotaExceeded(destination=name, outcome=0, bytes=0, error=sentence))
        owed = {order.destination for order in accepted.orders}
        self._over = (self._over - owed) | {*accepted.over_quota}
