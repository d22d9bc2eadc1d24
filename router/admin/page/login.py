"""Logging in with a token, and out."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from router.admin.page.forms import form_of, local
from router.admin.page.rendering import Renderer
from router.admin.page.row import SEE_OTHER, Page
from router.admin.sessions import COOKIE, LASTS, Sessions


@dataclass(frozen=True, slots=True)
class LoginPages:
    """``/login`` and ``/logout``: for everybody, who otherwise could not log in."""

    sessions: Sessions
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [
            Page("GET", "/login", self.ask, self.renderer, everybody=True),
            Page("POST", "/login", self.log_in, self.renderer, everybody=True),
            Page("POST", "/logout", self.log_out, self.renderer, everybody=True),
        ]

    async def ask(self, request: Request) -> Response:
        """``GET /login``."""
        return self._form(request, local(request.query_params.get("then", "/")))

    async def log_in(self, request: Request) -> Response:
        """``POST /login``."""
        form = await form_of(request)
        then = local(form.one("then"))
        cookie = self.sessions.begin(form.one("token"))
        if cookie is None:
            return self._form(request, then, error="The token is not one of this router's.")
        answer = RedirectResponse(then, SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=int(LASTS.total_seconds()),
            httponly=True,
            samesite="strict",
            # Behind a proxy that speaks TLS only the browser knows that it is so.
            secure=request.headers.get("origin", "").startswith("https:"),
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        """``POST /logout``."""
        self.sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/", SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def _form(self, request: Request, then: str, error: str = "") -> Response:
        status = 403 if error else 200
        values = {"then": then, "error": error, "possible": self.sessions.possible}
        return self.renderer.page(request, "login", values, status)
