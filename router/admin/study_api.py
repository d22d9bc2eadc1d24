"""Studies, and everything that happened to one instance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from router.admin.endpoint import Endpoint
from router.admin.exchange import answer, read, shows_patient
from router.admin.queue_bodies import DeliveryInFull, DeliveryNumber, Uid
from router.admin.study_bodies import (
    DeliveryExplained,
    Explanation,
    HappeningBody,
    Studies,
    StudiesRequest,
    Study,
    StudyInFull,
)
from router.admin.waits import Steered, waiting, what_next
from router.durable.history import History, Search
from router.durable.queue import Desk, Entry, Query, StudyQuery
from router.model.ulid import is_ulid

MOST = 1000
"""Deliveries and happenings that are told at once."""

_NUMBER = TypeAdapter[int](DeliveryNumber)
_UID = TypeAdapter[str](Uid)


@dataclass(frozen=True, slots=True)
class StudyApi:
    """``/api/studies`` and ``/api/instances``."""

    desk: Desk
    history: History
    forwarders: Mapping[str, Steered]
    clock: Callable[[], datetime]

    def endpoints(self) -> Sequence[Endpoint]:
        """Its part of the table."""
        return [
            Endpoint(
                "POST",
                "/api/studies",
                self.list_studies,
                summary="List studies, by accession number or patient ID too, the latest first.",
                body=StudiesRequest,
                answer=Studies,
            ),
            Endpoint(
                "GET",
                "/api/studies/{study}",
                self.show_study,
                summary="Tell where a study went, when, how, and with which answer.",
                answer=StudyInFull,
            ),
            Endpoint(
                "GET",
                "/api/instances/{instance}",
                self.explain,
                summary="Tell what happened to an instance (ULID, SOP Instance UID or delivery), and what will.",
                answer=Explanation,
            ),
        ]

    async def list_studies(self, request: Request) -> Response:
        """``POST /api/studies``."""
        return answer(await self.studies(await read(request, StudiesRequest), patient=shows_patient(request)))

    async def studies(self, asked: StudiesRequest, *, patient: bool) -> Studies:
        """Those that are asked for."""
        found = await self.desk.studies(asked.query())
        return Studies(studies=[Study.of(each, patient=patient) for each in found])

    async def show_study(self, request: Request) -> Response:
        """``GET /api/studies/{study}``."""
        return answer(await self.in_full(request.path_params["study"], patient=shows_patient(request)))

    async def in_full(self, study: str, *, patient: bool) -> StudyInFull:
        """Everything about one study.

        Raises:
            HTTPException: there is none.
        """
        if not _is_uid(study):
            raise HTTPException(404, "that is no Study Instance UID")
        found = await self.desk.studies(StudyQuery(study=study, limit=1))
        happenings = await self.history.search(Search(study=study, limit=MOST))
        if not found and not happenings:
            raise HTTPException(404, f"there is no study {study}")
        return StudyInFull(
            summary=Study.of(found[0], patient=patient) if found else None,
            happenings=[HappeningBody.of(each, patient=patient) for each in happenings],
        )

    async def explain(self, request: Request) -> Response:
        """``GET /api/instances/{instance}``."""
        return answer(await self.story(request.path_params["instance"], patient=shows_patient(request)))

    async def story(self, instance: str, *, patient: bool) -> Explanation:
        """What happened to an instance, and what will.

        Args:
            instance: its ULID, its SOP Instance UID, or the number of one of its deliveries.
            patient: whether to tell what may be about a patient.

        Raises:
            HTTPException: there is none.
        """
        entries, key = await self._instance(instance)
        happenings = await self.history.story(key, MOST)
        if not entries and not happenings:
            raise HTTPException(404, f"there is no instance {instance}")
        standings, now = await self.desk.standings(), self.clock()
        told = []
        for entry in entries:
            wait = waiting(entry, self.forwarders, standings, now)
            shown = DeliveryInFull.of(entry, wait)
            shown = shown if patient else shown.model_copy(update={"error_comment": ""})
            told.append(DeliveryExplained(delivery=shown, next=what_next(entry, wait)))
        happened = [HappeningBody.of(each, patient=patient) for each in happenings]
        return Explanation(deliveries=told, happenings=happened)

    async def _instance(self, text: str) -> tuple[Sequence[Entry], str]:
        """The deliveries of an instance, and what the history knows it by."""
        if is_ulid(text):
            return await self.desk.entries(Query(ulid=text, limit=MOST), self.clock()), text
        if text.isdecimal():
            try:
                entry = await self.desk.entry(_NUMBER.validate_python(text))
            except ValidationError:
                entry = None
            if entry is None:
                raise HTTPException(404, f"there is no delivery {text}")
            return await self.desk.entries(Query(ulid=entry.ulid, limit=MOST), self.clock()), entry.ulid
        if not _is_uid(text):
            raise HTTPException(404, "that is neither a ULID nor a SOP Instance UID nor the number of a delivery")
        return await self.desk.entries(Query(sop_instance=text, limit=MOST), self.clock()), text


def _is_uid(text: str) -> bool:
    try:
        _UID.validate_python(text)
    except ValidationError:
        return False
    return True
