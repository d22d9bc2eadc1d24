"""One row of the table of routes: what is answered, who may ask, and the models of question and answer."""

from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from router.admin.bodies import Trouble
from router.settings import Role

UNAUTHORISED = 401
READING = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110 9.2.1)."""


class Endpoint(Route):
    """A route that says everything about itself: the guard and the OpenAPI document read it from here."""

    described: ClassVar[bool] = True
    """Whether it is for programs, and stands in the OpenAPI document."""

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        *,
        summary: str,
        parameters: type[BaseModel] | None = None,
        body: type[BaseModel] | None = None,
        answer: type[BaseModel] | str = "text/plain",
        role: Role | None = None,
        everybody: bool = False,
    ) -> None:
        """A row.

        Args:
            method: of HTTP; GET answers HEAD too.
            path: with ``{parameters}``.
            endpoint: answers.
            summary: one sentence for the OpenAPI document.
            parameters: of the query.
            body: of the request, as JSON.
            answer: of a request that succeeds: a model as JSON, or another media type.
            role: who may ask over TCP; None: `read` for what changes nothing, `operate` for everything else.
            everybody: no token is asked for, ever.
        """
        super().__init__(path, endpoint, methods=[method])
        self.method = method
        self.summary = summary
        self.parameters = parameters
        self.body = body
        self.answer = answer
        self.role = None if everybody else role or role_for(method)

    def refusal(self, request: Request, status: int, sentence: str) -> Response:  # noqa: ARG002 -- a page asks it
        """What is answered in place of an answer, to whom it may concern."""
        return refusal(status, sentence)


def role_for(method: str) -> Role:
    """Who may use ``method``, unless a row says otherwise."""
    return Role.READ if method in READING else Role.OPERATE


def find_endpoint(routes: Iterable[BaseRoute], scope: Scope) -> Endpoint | None:
    """The row of the table that answers a request; None: there is none."""
    for route in routes:
        if isinstance(route, Endpoint) and route.matches(scope)[0] is Match.FULL:
            return route
    return None


def refusal(status: int, sentence: str) -> Response:
    """No answer, as JSON."""
    headers = {"www-authenticate": 'Bearer realm="dicom-router"'} if status == UNAUTHORISED else None
    body = Trouble(error=sentence).model_dump_json(exclude_none=True)
    return Response(body, status, headers, media_type="application/json")
