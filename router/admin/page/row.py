"""One row of the table of routes that answers people: refusals are HTML too, and who needs a token may log in."""

from collections.abc import Awaitable, Callable
from typing import ClassVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from router.admin.endpoint import READING, UNAUTHORISED, Endpoint
from router.admin.page.rendering import Renderer
from router.durable.queue import QueueError
from router.settings import Role

SEE_OTHER = 303
View = Callable[[Request], Awaitable[Response]]


def path_of(request: Request) -> str:
    """Where somebody was, to come back to."""
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


class Page(Endpoint):
    """An ``Endpoint`` for browsers."""

    described: ClassVar[bool] = False

    def __init__(
        self,
        method: str,
        path: str,
        view: View,
        renderer: Renderer,
        *,
        role: Role | None = None,
        everybody: bool = False,
    ) -> None:
        """A row.

        Args:
            method: of HTTP.
            path: with ``{parameters}``.
            view: answers.
            renderer: says in HTML why there is no answer.
            role: as an ``Endpoint``'s.
            everybody: as an ``Endpoint``'s.
        """

        async def answered(request: Request) -> Response:
            try:
                return await view(request)
            except HTTPException as error:
                return renderer.refusal(request, error.status_code, error.detail)
            except QueueError as error:
                return renderer.refusal(request, 503, str(error))

        super().__init__(method, path, answered, summary=path, answer="text/html", role=role, everybody=everybody)
        self._renderer = renderer

    def refusal(self, request: Request, status: int, sentence: str) -> Response:
        """The page that says so; or the form for a token."""
        if status != UNAUTHORISED:
            return self._renderer.refusal(request, status, sentence)
        then = path_of(request) if request.method in READING else "/"
        login = f"/login?{urlencode({'then': then})}"
        if "hx-request" in request.headers:
            # A redirect would be followed out of sight; this one the browser itself follows.
            return Response(status_code=UNAUTHORISED, headers={"hx-redirect": login})
        return RedirectResponse(login, SEE_OTHER)
