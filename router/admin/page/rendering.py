"""Templates made into answers: whatever a template is given is escaped."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import quote, urlencode

from jinja2 import DictLoader, Environment, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from router import __version__
from router.admin.exchange import shows_patient
from router.admin.guard import ROLE
from router.admin.page import words
from router.admin.sessions import COOKIE, Sessions
from router.dicom.sop_classes import name_of
from router.model.transfer_syntax import transfer_syntax
from router.rules.routing import Refusal
from router.settings import Role

MEDIA_TYPES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
DONE = {
    "retry": "Due now: {}",
    "hold": "Held: {}",
    "resume": "Due now: {}",
    "drop": "Given up for good: {}",
    "resend": "To be sent again: {}",
    "pause": "The destination is paused",
    "unpause": "The destination goes on",
}
"""What an order did, told on the page that follows it."""


def path(*parts: object, **query: object) -> str:
    """``/parts/one/by/one?query``; what is None or empty is left out of the query."""
    given = {name: value for name, value in query.items() if value not in {None, ""}}
    where = "".join(f"/{quote(str(part), safe='')}" for part in parts) or "/"
    return f"{where}?{urlencode(given)}" if given else where


class Renderer:
    """Of one daemon's pages."""

    def __init__(self, clock: Callable[[], datetime], sessions: Sessions) -> None:
        """With what is in the package.

        Args:
            clock: for how long ago something was.
            sessions: know whether anybody can log in.
        """
        self.clock = clock
        self._sessions = sessions
        here = files(__package__)
        self.static: Mapping[str, bytes] = {name: here.joinpath("static", name).read_bytes() for name in MEDIA_TYPES}
        digests = {name: sha256(content).hexdigest()[:12] for name, content in self.static.items()}
        self._environment = Environment(
            # Read now: a page that is answered waits for no disk.
            loader=DictLoader({file.name: file.read_text("utf-8") for file in here.joinpath("templates").iterdir()}),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "size": words.size,
            "span": words.span,
            "advice": words.advice,
            "second": words.second,
            "moment": lambda instant: words.moment(instant, clock()),
            "ago": lambda instant: words.span(clock() - instant),
            "ahead": lambda instant: words.span(instant - clock()),
            "sop_class": name_of,
            "syntax": lambda uid: transfer_syntax(uid).name if uid else "",
        }
        self._environment.tests["refusal"] = lambda outcome: isinstance(outcome, Refusal)
        self._environment.globals |= {
            "count": words.count,
            "path": path,
            "points": words.points,
            "version": __version__,
            "NO_ROUTE": words.NO_ROUTE,
            # A name that changes with the content may be kept for ever.
            "static": lambda name: f"/static/{name}?{digests[name]}",
        }

    def page(self, request: Request, template: str, values: Mapping[str, object], status: int = 200) -> Response:
        """The answer.

        Args:
            request: that is answered.
            template: its name, without its ending.
            values: that the template shows.
            status: of HTTP.
        """
        return HTMLResponse(self.text(request, template, values), status)

    def text(self, request: Request, template: str, values: Mapping[str, object]) -> str:
        """The same, without an answer around it."""
        about = {
            "here": request.url.path,
            "operates": request.scope.get(ROLE) is Role.OPERATE,
            "tokens": self._sessions.possible,
            "logged_in": COOKIE in request.cookies and request.scope.get(ROLE) is not None,
            "patient": shows_patient(request),
            "notice": _notice(request),
        }
        return self._environment.get_template(f"{template}.html").render({**about, **values})

    def refusal(self, request: Request, status: int, sentence: str) -> Response:
        """The page that says why there is no other."""
        title = HTTPStatus(status).phrase
        return self.page(request, "refusal", {"title": title, "sentence": sentence}, status)


def _notice(request: Request) -> str:
    """What the order before this page did; the query names it, and the words are ours."""
    given = request.query_params
    template = DONE.get(given.get("done", ""))
    if template is None:
        return ""
    changed, matched = (_number(given.get(name, "")) for name in ("changed", "matched"))
    deliveries = words.count(matched, "delivery", "deliveries")
    amount = deliveries if changed == matched else f"{changed:,} of {deliveries}"
    more = " More match: give the order again." if given.get("more") else ""
    return f"{template.format(amount)}.{more}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004 -- of digits
