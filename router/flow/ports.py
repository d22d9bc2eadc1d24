"""What ``flow`` asks of the DICOM edge to send: over sockets and in worker processes, or by a simulation's script."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.scu import Address
from router.model.destination import SendDeadlines
from router.model.outcome import Answered, Failed
from router.model.presentation_context import AnsweredContext, PresentationContext


class Association(Protocol):
    """One association with a destination."""

    @property
    def contexts(self) -> Sequence[AnsweredContext]:
        """The peer's answers, for all contexts proposed."""

    @property
    def over(self) -> bool:
        """It has ended, or must not be used again."""

    async def store(self, context_id: int, instance: Outgoing) -> Answered | Failed:
        """Send one instance over an accepted context and wait for the answer; after a ``Failed`` it is over."""

    async def echo(self, context_id: int) -> Answered | Failed:
        """C-ECHO over an accepted context."""

    async def still_open(self) -> bool:
        """Whether it can be used again; a peer that ended it meanwhile is answered."""

    async def release(self) -> None:
        """End it in order, if it is not over."""

    async def abort(self) -> None:
        """End it at once, if it is not over."""


class Associate(Protocol):
    """Opens associations: over sockets, or by the script of a simulation."""

    async def __call__(
        self, address: Address, contexts: Sequence[PresentationContext], *, deadlines: SendDeadlines, buffers: Buffers
    ) -> Association:
        """Connect and open an association.

        Raises:
            AssociationFailedError: with the cause, in one of our own sentences.
        """


class Transcoder(Protocol):
    """Converts instances; in worker processes, or by the script of a simulation."""

    def converted(self, instance: Outgoing, transfer_syntax: str, /) -> AbstractAsyncContextManager[Outgoing]:
        """The instance in another transfer syntax, for the time of a block.

        Raises:
            NotConvertedError: with the cause, in one of our own sentences.
        """
