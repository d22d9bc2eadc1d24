"""Where an instance would go and why: one that is described in lines, or a DICOM file. Nothing is kept or sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from router.admin.exchange import shows_patient
from router.admin.page.forms import upload_of
from router.admin.page.rendering import Renderer
from router.admin.page.row import Page
from router.dicom.part10 import LARGEST_META, Part10Error, meta_of
from router.dicom.survey import known_keywords, survey, tags
from router.model.transfer_syntax import transfer_syntax
from router.rules.conditions import Subject
from router.rules.network import address
from router.rules.routing import Decision, orders, route
from router.settings import Configuration, Role, subject_of

OF_ENVELOPE = ("calling_ae_title", "called_ae_title", "peer")
MOST_LINES = 200
FILE_NAME = "the file"


@dataclass(frozen=True, slots=True)
class RoutePage:
    """``/route``."""

    configuration: Callable[[], Configuration]
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [
            Page("GET", "/route", self.ask, self.renderer),
            # It changes nothing; but a file does not fit into a URL, and attributes do not belong there.
            Page("POST", "/route", self.explain, self.renderer, role=Role.READ),
        ]

    async def ask(self, request: Request) -> Response:
        """``GET /route``."""
        return self.renderer.page(request, "route", {"lines": "", "outcome": None, "example": self._example()})

    async def explain(self, request: Request) -> Response:
        """``POST /route``."""
        parts = await upload_of(request)
        lines = parts.get("attributes", b"").decode("utf-8", "replace")
        given = given_in(lines)
        configuration = self.configuration()
        subject = subject_of(given, configuration)
        if parts.get("file"):
            subject = await to_thread.run_sync(_of_file, parts["file"], subject, given, configuration)
        decision = route(subject, configuration.routes)
        return self.renderer.page(
            request,
            "route",
            {
                "lines": lines,
                "example": self._example(),
                "outcome": orders(
                    decision,
                    destinations={each.name: each for each in configuration.destinations},
                    unrouted=configuration.unrouted,
                    envelope=subject.envelope,
                ),
                "subject": subject,
                "findings": _findings(decision, values=shows_patient(request) or not parts.get("file")),
            },
        )

    def _example(self) -> str:
        """Lines to begin with, of what the routes ask about."""
        return "\n".join(f"{name}=" for name in ("calling_ae_title", *sorted(self.configuration().routes.keywords)))


def given_in(lines: str) -> Mapping[str, Sequence[str]]:
    r"""Name → values, from lines ``Modality=CT``; several values stand between backslashes, as in DICOM (PS3.5 6.4).

    Raises:
        HTTPException: a line says nothing that a route may ask about.
    """
    found: dict[str, list[str]] = {}
    written = [line.strip() for line in lines.splitlines() if line.strip()]
    if len(written) > MOST_LINES:
        raise HTTPException(422, f"there are more than {MOST_LINES} lines")
    for number, line in enumerate(written, 1):
        name, separator, value = (part.strip() for part in line.partition("="))
        if not separator:
            raise HTTPException(422, f"line {number} is not like Modality=CT")
        if name not in OF_ENVELOPE and name not in known_keywords():
            raise HTTPException(422, f"line {number} begins with neither a DICOM keyword nor {', '.join(OF_ENVELOPE)}")
        if name == "peer" and value and address(value) is None:
            raise HTTPException(422, f"line {number}: the peer is an address, such as 10.1.2.3")
        if value:
            found[name] = [each.strip() for each in value.split("\\")]
    return found


def _of_file(
    content: bytes, described: Subject, given: Mapping[str, Sequence[str]], configuration: Configuration
) -> Subject:
    """The instance in a file. Who sent it the lines say, or the file itself if it is one of the spool."""
    try:
        meta = meta_of(content[:LARGEST_META], FILE_NAME)
    except Part10Error as error:
        raise HTTPException(422, str(error)) from error
    start = meta.header_size
    surveyed = survey(
        lambda offset, wanted: content[start + offset : start + offset + wanted],
        len(content) - start,
        transfer_syntax(meta.identity.transfer_syntax),
        tags(configuration.routes.keywords),
    )
    envelope = described.envelope
    if (known := meta.envelope) is not None:
        envelope = replace(
            known,
            calling_ae_title=envelope.calling_ae_title or known.calling_ae_title,
            called_ae_title=envelope.called_ae_title if "called_ae_title" in given else known.called_ae_title,
            peer_host=envelope.peer_host or known.peer_host,
        )
    return Subject(envelope, meta.identity, {**surveyed.attributes, **described.attributes})


def _findings(decision: Decision, *, values: bool) -> Sequence[tuple[str, bool, str]]:
    """Route, whether it matches, and why; with the values of attributes only where they may be shown."""
    return [(each.route, each.matched, each.detail if values else each.words) for each in decision.findings]
