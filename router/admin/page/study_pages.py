"""Studies: found by UID, accession number or patient ID; and where one went."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from router.admin.exchange import checked, shows_patient
from router.admin.page.forms import form_of
from router.admin.page.rendering import Renderer, path
from router.admin.page.row import SEE_OTHER, Page
from router.admin.study_api import StudyApi
from router.admin.study_bodies import StudiesRequest
from router.settings import Role

SOUGHT = ("study", "accession_number", "patient_id")


@dataclass(frozen=True, slots=True)
class StudyPages:
    """``/studies``."""

    studies: StudyApi
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [
            Page("GET", "/studies", self.list_latest, self.renderer),
            # By POST, because a URL is written to logs that are not ours; it changes nothing.
            Page("POST", "/studies", self.find, self.renderer, role=Role.READ),
            Page("GET", "/studies/{study}", self.show_study, self.renderer),
        ]

    async def list_latest(self, request: Request) -> Response:
        """``GET /studies``."""
        return await self._list(request, StudiesRequest())

    async def find(self, request: Request) -> Response:
        """``POST /studies``."""
        form = await form_of(request)
        given = {name: form.one(name) for name in SOUGHT if form.one(name)}
        asked = checked(given, StudiesRequest)
        if asked.study is not None and len(given) == 1:
            return RedirectResponse(path("studies", asked.study), SEE_OTHER)
        return await self._list(request, asked)

    async def show_study(self, request: Request) -> Response:
        """``GET /studies/{study}``."""
        study = request.path_params["study"]
        found = await self.studies.in_full(study, patient=shows_patient(request))
        return self.renderer.page(request, "study", {"study": study, "found": found})

    async def _list(self, request: Request, asked: StudiesRequest) -> Response:
        found = await self.studies.studies(asked, patient=shows_patient(request))
        return self.renderer.page(request, "studies", {"studies": found.studies, "asked": asked})
