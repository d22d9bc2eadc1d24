"""A destination in trouble is tried when its time has come, with as little as shows whether it works.

After a failed connection or association that is a C-ECHO; after failed C-STOREs one instance, because a PACS with a
full disk answers C-ECHO with success.
"""

from collections.abc import Awaitable, Callable

from router.dicom.buffers import Buffers
from router.dicom.scu import Address, AssociationFailedError
from router.flow.attempt import FALLBACK_AE_TITLE
from router.flow.breaker import Breaker
from router.flow.ports import Associate
from router.model.destination import Destination
from router.model.outcome import Deferred, Failed
from router.model.presentation_context import VERIFICATION, PresentationContext
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from router.rules import retry


class Mender:
    """One destination's."""

    def __init__(
        self,
        destination: Destination,
        breaker: Breaker,
        *,
        send_one: Callable[[], Awaitable[bool]],
        associate: Associate,
        buffers: Buffers,
    ) -> None:
        """A mender.

        Args:
            destination: to try.
            breaker: hears how it went.
            send_one: tries one instance, and tells the breaker; False when none is due.
            associate: opens associations.
            buffers: shared with others.
        """
        self._destination = destination
        self._breaker = breaker
        self._send_one = send_one
        self._associate = associate
        self._buffers = buffers

    async def try_it(self) -> bool:
        """Whether there was something to try."""
        # A PACS that tells modalities by their titles would refuse a C-ECHO in any other name.
        if self._breaker.standing.cause in retry.SHOWN_BY_C_STORE or self._destination.local_ae_title is None:
            return await self._send_one()
        await self._try_echo()
        return True

    async def _try_echo(self) -> None:
        outcome = await self._echo()
        if outcome is None:
            await self._breaker.reset()
        else:
            await self._breaker.trip(outcome, probing=True)

    async def _echo(self) -> Deferred | None:
        """What is wrong with the destination; None: it associates, and answers a C-ECHO if it takes one at all."""
        destination = self._destination
        address = Address.of(destination, destination.local_ae_title or FALLBACK_AE_TITLE)
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
        return outcome if isinstance(outcome, Deferred) else None
