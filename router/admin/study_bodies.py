"""Questions about studies and single instances, and the answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from router.admin.bodies import Body
from router.admin.queue_bodies import DeliveryInFull, Uid, status_text
from router.durable.history import Happened, Happening
from router.durable.queue import StudyQuery, StudySummary
from router.model.delivery import State
from router.model.outcome import Cause

Wanted = Annotated[str, Field(min_length=1, max_length=64)]


class StudiesRequest(Body):
    """``POST /api/studies``: in a body, because a URL is written to logs that are not ours."""

    study: Uid | None = None
    accession_number: Wanted | None = None
    patient_id: Wanted | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100

    def query(self) -> StudyQuery:
        """What the desk is asked."""
        return StudyQuery(
            study=self.study,
            accession_number=self.accession_number,
            patient_id=self.patient_id,
            limit=self.limit,
        )


class Study(Body):
    """One study, of which something is in the spool."""

    study: str
    accession_number: str
    """Empty over TCP, unless `http.show_patient` is true."""
    instances: int
    bytes: int
    first_received_at: datetime
    last_received_at: datetime
    deliveries: Mapping[str, Mapping[State, int]]
    """Destination → state → how many; an empty name is for what no route took."""

    @classmethod
    def of(cls, summary: StudySummary, *, patient: bool) -> Self:
        """What is told of ``summary``.

        Args:
            summary: as the desk has it.
            patient: whether it may tell what is about a patient.
        """
        return cls(
            study=summary.study,
            accession_number=summary.accession_number if patient else "",
            instances=summary.instances,
            bytes=summary.size,
            first_received_at=summary.first_received,
            last_received_at=summary.last_received,
            deliveries=summary.deliveries,
        )


class Studies(Body):
    """Answer to ``POST /api/studies``: the latest first."""

    studies: Sequence[Study]


class HappeningBody(Body):
    """Something that happened to one delivery."""

    at: datetime
    what: Happened
    ulid: str
    delivery: int
    destination: str
    instance: str
    study: str
    status: str | None
    cause: Cause | None
    error: str
    strategy: str
    stored_transfer_syntax: str
    transfer_syntax: str
    associations: int
    """Tried in this attempt."""
    error_comment: str
    """The peer's; empty over TCP, unless `http.show_patient` is true."""

    @classmethod
    def of(cls, happening: Happening, *, patient: bool) -> Self:
        """What is told of ``happening``; as ``Study.of``."""
        return cls(
            at=happening.at,
            what=happening.what,
            ulid=happening.ulid,
            delivery=happening.delivery,
            destination=happening.destination,
            instance=happening.sop_instance,
            study=happening.study,
            status=status_text(happening.status),
            cause=happening.cause,
            error=happening.error,
            strategy=happening.strategy,
            stored_transfer_syntax=happening.stored_transfer_syntax,
            transfer_syntax=happening.transfer_syntax,
            associations=happening.associations,
            error_comment=happening.error_comment if patient else "",
        )


class StudyInFull(Body):
    """Answer to ``GET /api/studies/{study}``."""

    summary: Study | None
    """Null: nothing of it is in the spool any more."""
    happenings: Sequence[HappeningBody]
    """What happened to its deliveries, the latest first."""


class DeliveryExplained(Body):
    """One delivery, and what comes."""

    delivery: DeliveryInFull
    next: str
    """What will happen, in words."""


class Explanation(Body):
    """Answer to ``GET /api/instances/{instance}``."""

    deliveries: Sequence[DeliveryExplained]
    """That there are still."""
    happenings: Sequence[HappeningBody]
    """In order; what came under the same SOP Instance UID is told apart by its ULID."""
