"""One row of the table of routes: what is answered, who may ask, and the models of question and answer."""

from collections.abc import Awaitable, Callable, Iterable

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from router.settings import Role

READING = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110 9.2.1)."""


class Endpoint(Route):
    """A route that says everything about itself: the guard and the OpenAPI document read it from here."""

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


def role_for(method: str) -> Role:
    """Who may use ``method``, unless a row says otherwise."""
    return Role.READ if method in READING else Role.OPERATE


def required_role(routes: Iterable[BaseRoute], scope: Scope) -> Role | None:
    """The role that a request needs, None: it needs none. What is not in the table is judged by its method."""
    for route in routes:
        if isinstance(route, Endpoint) and route.matches(scope)[0] is Match.FULL:
            return route.role
    return role_for(scope["method"])
