"""What one association of a forwarder has claimed and not settled yet."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from router.dicom.content import Outgoing
from router.durable.spool import Spool
from router.flow.attempt import Attempt
from router.model.delivery import Claim, Delivery


class Sender:
    """An attempt, and the deliveries that its instances stand for."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.stored = 0
        """Instances."""
        self._owed: dict[int, tuple[int, Delivery]] = {}
        """Number → token of its claim, delivery."""

    def owe(self, claim: Claim) -> None:
        """These have to be settled or given back."""
        self._owed |= {delivery.id: (claim.token, delivery) for delivery in claim.deliveries}

    def settled(self, number: int) -> tuple[Claim, Delivery]:
        """One has its outcome."""
        token, delivery = self._owed.pop(number)
        return Claim(token, (delivery,)), delivery

    def not_tried(self, besides: Collection[int] = ()) -> Sequence[Claim]:
        """Those without an outcome, to give them back, ``besides`` some that still may have one."""
        claims: dict[int, list[Delivery]] = {}
        for number in self._owed.keys() - set(besides):
            token, delivery = self._owed.pop(number)
            claims.setdefault(token, []).append(delivery)
        return [Claim(token, tuple(deliveries)) for token, deliveries in claims.items()]


def outgoing(claim: Claim, spool: Spool) -> Sequence[Outgoing]:
    """What is to be sent for claimed deliveries."""
    return [
        Outgoing(
            number=delivery.id,
            identity=delivery.identity,
            path=spool.absolute(PurePosixPath(delivery.path)),
            header_size=delivery.header_size,
            size=delivery.size,
            digest=delivery.digest,
            calling_ae_title=delivery.envelope.calling_ae_title,
            study=delivery.study,
            series=delivery.series,
        )
        for delivery in claim.deliveries
    ]
