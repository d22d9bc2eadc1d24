"""How requests are read and answers written: JSON both ways, refusals too."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from router.admin.bodies import Trouble
from router.admin.guard import SHOW_PATIENT
from router.durable.queue import QueueError

LARGEST_BODY = 1 << 20
"""Bytes of a request's body: far more than the numbers of all deliveries that one request may name."""

Asked = TypeVar("Asked", bound=BaseModel)


def answer(body: BaseModel, status: int = 200) -> Response:
    """``body`` as JSON."""
    # `problems` is the only field that may be absent; a null elsewhere says that there is no such value.
    absent = {"problems"} if isinstance(body, Trouble) and body.problems is None else None
    return Response(body.model_dump_json(exclude=absent), status, media_type="application/json")


def parameters(request: Request, kind: type[Asked]) -> Asked:
    """What the query asks.

    Raises:
        HTTPException: it means nothing.
    """
    given = dict(request.query_params)
    if len(given) != len(request.query_params.multi_items()):
        raise HTTPException(422, "a parameter is given twice")
    return checked(given, kind)


def checked(given: Mapping[str, object], kind: type[Asked]) -> Asked:
    """What these values ask.

    Raises:
        HTTPException: they mean nothing.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise HTTPException(422, _sentence(error)) from error


async def read(request: Request, kind: type[Asked]) -> Asked:
    """What the body asks.

    Raises:
        HTTPException: it means nothing, or is too large.
    """
    try:
        # Strict: `false` is no number, although Python takes it for one.
        return kind.model_validate_json(await body_of(request, LARGEST_BODY), strict=True)
    except ValidationError as error:
        raise HTTPException(422, _sentence(error)) from error


async def body_of(request: Request, most: int) -> bytes:
    """The whole body, of ``most`` bytes.

    Raises:
        HTTPException: it has more.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"the request's body has more than {most} bytes")
    return bytes(body)


def shows_patient(request: Request) -> bool:
    """Whether the answer may tell what may be about a patient."""
    return bool(request.scope.get(SHOW_PATIENT, False))


def _sentence(error: ValidationError) -> str:
    """Which values are wrong, and why; never the values themselves."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, "))))
        for one in error.errors(include_url=False, include_input=False)
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail
    headers = error.headers or {}
    if error.status_code == 405:  # noqa: PLR2004 -- HTTP's own number
        sentence = f"{request.method} is not possible for {request.url.path}, only {headers.get('Allow')}"
    elif sentence == "Not Found":
        sentence = f"there is nothing at {request.url.path}"
    told = answer(Trouble(error=sentence), error.status_code)
    told.headers.update(headers)
    return told


async def _unavailable(_: Request, error: Exception) -> Response:
    return answer(Trouble(error=str(error)), 503)


async def _gone(_: Request, error: Exception) -> Response:
    """Whoever asked has left in mid-request: nobody reads this, and it is no error of ours."""
    return answer(Trouble(error=type(error).__name__), 400)


async def _broken(_: Request, error: Exception) -> Response:
    """An error of ours; starlette raises it again, so that it reaches the log."""
    return answer(Trouble(error=f"an error of the daemon itself ({type(error).__name__}); its log says more"), 500)


REFUSALS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _refused,
    QueueError: _unavailable,
    ClientDisconnect: _gone,
    Exception: _broken,
}
"""What is answered when there is no answer."""
