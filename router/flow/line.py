"""The association with a destination that an attempt sends over: opened when needed, used as long as it serves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import anyio

from router.dicom.buffers import Buffers
from router.dicom.scu import Address, AssociationFailedError
from router.dicom.transcode import converts
from router.flow.learned import Learned
from router.flow.pending import Pending
from router.flow.ports import Associate, Association
from router.model.destination import AssociationPer, Destination, Strategy
from router.rules import negotiation
from router.rules.negotiation import Proposal
from router.rules.pacing import has_room

FRESH = 0.1
"""Seconds in which a peer hardly ends an association between two instances: it is not asked."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open association, and what it was opened for."""

    association: Association
    proposal: Proposal
    strategy: Strategy
    calling_ae_title: str
    number: int
    group: str
    """The study or series that it is for, where the destination wants one association for each."""


class Line:
    """At most one association at a time."""

    def __init__(self, destination: Destination, *, buffers: Buffers, associate: Associate, learned: Learned) -> None:
        self._destination = destination
        self._buffers = buffers
        self._associate = associate
        self._learned = learned
        self._opened: Opened | None = None
        self._number = 0
        self._carried = 0
        """Instances that were sent over the open association."""
        self._answered_at = -math.inf
        self._used_at = -math.inf
        """When an instance was last sent over it, without a pause since."""
        self._unopened: list[Strategy] = []
        """Strategies whose association failed as a whole, since the chain began."""

    @property
    def associated(self) -> bool:
        """Whether an association is open, waiting for the next instance."""
        return self._opened is not None and not self._opened.association.over

    @property
    def group(self) -> str | None:
        """The study or series that the open association is for; None: it carries any, or none is open."""
        return self._opened.group or None if self._opened is not None and self.associated else None

    def group_of(self, each: Pending) -> str:
        """The study or series whose association has to carry an instance; empty: any may."""
        match self._destination.association_per:
            case AssociationPer.ANY:
                return ""
            case AssociationPer.STUDY:
                return each.instance.study
            case AssociationPer.SERIES:
                return each.instance.series
            case never:
                assert_never(never)

    @property
    def idle_since(self) -> float:
        """When the peer last answered, on the event loop's clock."""
        return self._answered_at

    def rested(self) -> None:
        """There was a pause: the peer may have ended the association meanwhile."""
        self._used_at = -math.inf

    def used(self) -> None:
        """The peer has just answered."""
        self._used_at = self._answered_at = anyio.current_time()
        self._carried += 1

    def chain_begins(self) -> None:
        """Strategies are tried in turn from now on."""
        self._unopened = []

    async def open(self, strategy: Strategy, due: Sequence[Pending]) -> Opened:
        """An association that can carry the first of ``due``, and as many of the others as find room.

        Raises:
            AssociationFailedError: it was not opened.
        """
        opened, first = self._opened, due[0]
        if opened is None or not await self._serves(opened, strategy, first):
            await self.release()
            opened = await self._open(strategy, due)
        first.associations.add(opened.number)
        return opened

    async def _open(self, strategy: Strategy, due: Sequence[Pending]) -> Opened:
        proposal = negotiation.propose([each.identity for each in due], strategy, self._destination, converts)
        address = Address.of(self._destination, due[0].calling_ae_title)
        self._number += 1
        try:
            association = await self._associate(
                address, proposal.contexts, deadlines=self._destination.deadlines, buffers=self._buffers
            )
        except AssociationFailedError:
            self._unopened.append(strategy)
            for each in due:
                each.associations.add(self._number)
            raise
        opened = Opened(association, proposal, strategy, due[0].calling_ae_title, self._number, self.group_of(due[0]))
        self._opened, self._carried, self._answered_at = opened, 0, anyio.current_time()
        self._learned.failed(self._unopened)
        await self._learned.answered(association.contexts, proposal)
        return opened

    async def _serves(self, opened: Opened, strategy: Strategy, each: Pending) -> bool:
        identity = each.identity
        wanted = negotiation.candidates(identity, strategy, self._destination, converts)
        return (
            opened.strategy is strategy
            and opened.calling_ae_title == each.calling_ae_title
            and opened.group == self.group_of(each)
            and has_room(self._destination, self._carried)
            and opened.proposal.covers((identity.sop_class, syntax) for syntax in wanted)
            and not opened.association.over
            and (anyio.current_time() - self._used_at < FRESH or await opened.association.still_open())
        )

    async def release(self) -> None:
        """End the association that waits for the next instance, if there is one."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.association.release()

    async def abort(self) -> None:
        """End the association at once."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with anyio.CancelScope(shield=True):
                await opened.association.abort()
