"""In: an object arrives, becomes durable, is routed and committed; only then is it answered with success.

``receive`` runs where the association is, ``admit`` at the queue's owner; between them only an ``Arrival`` passes.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import anyio
import anyio.to_thread

from router.dicom import part10
from router.dicom.incoming import Answer, Offer
from router.dicom.link import Piece
from router.dicom.survey import Survey, survey
from router.durable.queue import OverQuotaError, Queue, QueueError
from router.durable.spool import Part, Spool
from router.flow.choices import Choices
from router.flow.quotas import Quotas
from router.flow.repeats import Repeats
from router.journal import InstanceAccepted, InstanceRefused, Journal, SpoolTrouble
from router.model.delivery import Accepted, State
from router.model.destination import Destination
from router.model.instance import Arrival, Envelope, Identity
from router.model.transfer_syntax import transfer_syntax
from router.rules.acceptance import Truncated
from router.rules.conditions import Subject
from router.rules.routing import Decision, Refusal, Routes, Unrouted, orders, route

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

OTHER_CONTENT = "another content under the same SOP Instance UID is in the spool: both are kept and sent"

MILLISECOND = timedelta(milliseconds=1)

WRITERS = 8
"""Worker threads that write payloads at the same time."""


@dataclass(frozen=True, slots=True)
class Routing:
    """What decides where instances go; a reload replaces it whole."""

    routes: Routes
    destinations: Mapping[str, Destination]
    unrouted: Unrouted
    wanted: Mapping[int, str]
    """Tag → keyword of the attributes that the routes ask about."""


class UnacceptableError(Exception):
    """The object is not kept; the answer says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = Answer(status, sentence)


class Intake:
    """Takes what arrives, where the associations are."""

    def __init__(
        self,
        spool: Spool,
        admission: "Admission",
        wanted: Mapping[int, str],
        *,
        journal: Journal,
        reserve: Callable[[int], int],
    ) -> None:
        """An intake.

        Args:
            spool: where payloads are written.
            admission: of what was received.
            wanted: tag → keyword of the attributes that routes ask about.
            journal: what happened is published here.
            reserve: bytes that stay free, of a disk of so many bytes.
        """
        self.wanted = wanted
        self._spool = spool
        self._admission = admission
        self._journal = journal
        self._reserve = reserve
        self._writers = anyio.CapacityLimiter(WRITERS)

    async def __call__(self, offer: Offer, pieces: AsyncIterator[Piece]) -> Answer:
        """Take one instance: the answer is 0000H exactly when its bytes and its deliveries are on stable storage."""
        try:
            arrival = await self.receive(offer, pieces)
        except UnacceptableError as unacceptable:
            answer = unacceptable.answer
        except OSError as error:
            self._journal.publish(SpoolTrouble(error=f"a payload cannot be written: {error.strerror}"))
            answer = Answer(OUT_OF_RESOURCES, "the spool cannot be written")
        else:
            return await self._admission(arrival)
        self._journal.publish(_refused(offer.envelope, offer.identity, answer))
        return answer

    async def receive(self, offer: Offer, pieces: AsyncIterator[Piece]) -> Arrival:
        """S1 → S2: every byte into the spool and onto stable storage.

        Raises:
            UnacceptableError: the object is not kept.
            OSError: the disk, or the connection.
        """
        head = part10.head(offer.identity, offer.envelope)
        part = self._spool.begin(head.content, head.digest_at)
        try:
            kept = await self._keep(part, len(head.content), offer, pieces)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(part.abandon, limiter=self._writers)
            raise
        return Arrival(
            ulid=part.ulid,
            path=part.path,
            envelope=offer.envelope,
            identity=offer.identity,
            size=part.size,
            header_size=len(head.content),
            digest=kept.digest,
            study=kept.survey.study,
            series=kept.survey.series,
            accession_number=kept.survey.accession_number,
            patient_id=kept.survey.patient_id,
            attributes=kept.survey.attributes,
            remark=_remark(kept.survey, offer.identity),
        )

    # What receive does in worker threads: one hop for all that one receive buffer holds, fsync included

    async def _keep(self, part: Part, header_size: int, offer: Offer, pieces: AsyncIterator[Piece]) -> "_Kept":
        kept: _Kept | None = None
        async for piece in pieces:
            write = partial(self._write, part, header_size, offer, piece)
            kept = await anyio.to_thread.run_sync(write, limiter=self._writers)
        if kept is None:
            raise AssertionError("a data set ended without its last fragment")
        return kept

    def _write(self, part: Part, header_size: int, offer: Offer, piece: Piece) -> "_Kept | None":
        free, total = self._spool.free()
        if free < self._reserve(total):
            raise UnacceptableError(OUT_OF_RESOURCES, "the spool has reached its reserve of free space")
        part.write(piece.fragments)
        if not piece.last:
            return None
        syntax = transfer_syntax(offer.identity.transfer_syntax)
        found = survey(part.read, part.size - header_size, syntax, self.wanted)
        if found.truncated and offer.listener.truncated is Truncated.REFUSE:
            raise UnacceptableError(CANNOT_UNDERSTAND, "an element runs past the end of the data set")
        return _Kept(found, part.seal())


class Admission:
    """Admits what was received, at the queue's owner."""

    def __init__(
        self,
        spool: Spool,
        queue: Queue,
        routing: Routing,
        *,
        journal: Journal,
        clock: Callable[[], datetime],
        choices: Choices,
    ) -> None:
        """An admission.

        Args:
            spool: where the payloads are, whoever wrote them.
            queue: where deliveries are committed.
            routing: what decides where they go.
            journal: what happened is published here.
            clock: the time of day.
            choices: keep a study together, where a route names several destinations.
        """
        self.routing = routing
        self._spool = spool
        self._queue = queue
        self._journal = journal
        self._clock = clock
        self._choices = choices
        self._quotas = Quotas(journal)
        self._repeats = Repeats()

    async def __call__(self, arrival: Arrival) -> Answer:
        """Admit one instance: the answer is 0000H exactly when its deliveries are on stable storage."""
        try:
            decision, accepted = await self.admit(arrival)
        except UnacceptableError as unacceptable:
            answer = unacceptable.answer
        except OverQuotaError:
            answer = Answer(OUT_OF_RESOURCES, "every destination is over its quota")
        except QueueError as error:
            self._journal.publish(SpoolTrouble(error=str(error)))
            answer = Answer(OUT_OF_RESOURCES, "the queue cannot be written")
        else:
            self._journal.publish(self._accepted(arrival, decision, accepted))
            return Answer(SUCCESS)
        self._journal.publish(_refused(arrival.envelope, arrival.identity, answer))
        return answer

    async def admit(self, arrival: Arrival) -> tuple[Decision, Accepted]:
        """S2 → S4 or S5: decide who must have it, and commit that.

        Raises:
            UnacceptableError: nobody takes it, and such objects are refused.
            QueueError: it could not be committed.
        """
        try:
            return await self._admit(arrival)
        except BaseException:
            # What is refused must not fill the disk, whatever the reason. What was renamed already stays (S3).
            await self._withdraw(arrival)
            raise

    async def _admit(self, arrival: Arrival) -> tuple[Decision, Accepted]:
        decision = route(Subject(arrival.envelope, arrival.identity, arrival.attributes), self.routing.routes)
        ordered = orders(
            decision,
            destinations=self.routing.destinations,
            unrouted=self.routing.unrouted,
            envelope=arrival.envelope,
            repeats=self._repeats.count(arrival, self._clock()),
            chosen=await self._choices.of(arrival.study, decision.targets),
            in_trouble=self._choices.in_trouble(),
        )
        if isinstance(ordered, Refusal):
            raise UnacceptableError(ordered.status, ordered.sentence)
        accepted = await self._queue.accept(arrival, ordered)
        self._repeats.note(arrival, self._clock())
        for order in accepted.orders:
            self._choices.note(arrival.study, order.terms.first_of, order.destination)
        self._quotas.note(accepted)
        return decision, accepted

    async def _withdraw(self, arrival: Arrival) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._spool.withdraw, arrival.path)

    def _accepted(self, arrival: Arrival, decision: Decision, accepted: Accepted) -> InstanceAccepted:
        ordered = accepted.orders
        odd = [order.error for order in ordered if order.state is not State.QUEUED]
        return InstanceAccepted(
            association=arrival.envelope.association,
            calling_ae_title=arrival.envelope.calling_ae_title,
            called_ae_title=arrival.envelope.called_ae_title,
            peer=arrival.envelope.peer_host,
            instance=arrival.identity.sop_instance,
            study=arrival.study,
            sop_class=arrival.identity.sop_class,
            stored_transfer_syntax=arrival.identity.transfer_syntax,
            bytes=arrival.size,
            digest=arrival.digest,
            route=tuple(finding.route for finding in decision.findings if finding.matched),
            destination=tuple(order.destination for order in ordered if order.state is State.QUEUED),
            outcome="queued" if len(odd) < len(ordered) else ordered[0].state.value,
            error="; ".join(filter(None, [arrival.remark, OTHER_CONTENT * accepted.changed_content, *odd])),
            # Nothing, when the clock was set back meanwhile.
            duration_ms=max(0.0, round((self._clock() - arrival.envelope.received_at) / MILLISECOND, 1)),
        )


def _refused(envelope: Envelope, identity: Identity, answer: Answer) -> InstanceRefused:
    return InstanceRefused(
        association=envelope.association,
        calling_ae_title=envelope.calling_ae_title,
        peer=envelope.peer_host,
        instance=identity.sop_instance,
        sop_class=identity.sop_class,
        stored_transfer_syntax=identity.transfer_syntax,
        status=f"{answer.status:04X}H",
        error=answer.error_comment,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    survey: Survey
    digest: str


def _remark(found: Survey, identity: Identity) -> str:
    remarks = []
    if found.error:
        remarks.append(f"the data set was not understood: {found.error}")
    if found.truncated:
        remarks.append("an element runs past the end of the data set")
    if found.sop_instance and found.sop_instance != identity.sop_instance:
        remarks.append("the SOP Instance UID of the data set is not that of the C-STORE-RQ")
    return "; ".join(remarks)
