"""What is answered over HTTP: the queue, how destinations stand, reload. Every answer is JSON, refusals too."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from router import __version__
from router.admin.bodies import (
    RETRYABLE,
    Alive,
    Delivery,
    DeliveryInFull,
    DeliveryNumber,
    Listing,
    ListRequest,
    Reloaded,
    Retried,
    RetryRequest,
    Status,
    Trouble,
    destination_statuses,
)
from router.durable.queue import Desk, Queue, QueueError

LARGEST_BODY = 1 << 20
"""Bytes of a request's body: far more than the numbers of all deliveries that one request may name."""

_NUMBER = TypeAdapter[int](DeliveryNumber)

Asked = TypeVar("Asked", bound=BaseModel)


def application(
    *,
    desk: Desk,
    queue: Queue,
    reload: Callable[[], Awaitable[Sequence[str]]],
    clock: Callable[[], datetime],
) -> Starlette:
    """The API.

    Args:
        desk: answers what is read.
        queue: does what is changed.
        reload: reads the configuration again and puts it in force; otherwise returns what is wrong with it, each
            with its place.
        clock: for how old something is, and when it is due.
    """
    api = _Api(desk, queue, reload, clock)
    return Starlette(
        routes=[
            Route("/api/queue", api.list_deliveries, methods=["GET"]),
            Route("/api/queue/retry", api.retry, methods=["POST"]),
            Route("/api/queue/{delivery}", api.show_delivery, methods=["GET"]),
            Route("/api/status", api.status, methods=["GET"]),
            Route("/api/reload", api.reload, methods=["POST"]),
            Route("/livez", _alive, methods=["GET"]),
        ],
        exception_handlers={
            HTTPException: _refused,
            QueueError: _unavailable,
            ClientDisconnect: _gone,
            Exception: _broken,
        },
    )


@dataclass(frozen=True, slots=True)
class _Api:
    desk: Desk
    queue: Queue
    new_configuration: Callable[[], Awaitable[Sequence[str]]]
    clock: Callable[[], datetime]

    async def list_deliveries(self, request: Request) -> Response:
        asked = _parameters(request, ListRequest)
        # One more than is shown tells whether there are more.
        entries = await self.desk.entries(asked.query(asked.limit + 1, asked.state), self.clock())
        shown = [Delivery.of(entry) for entry in entries[: asked.limit]]
        return _json(Listing(deliveries=shown, more=len(entries) > asked.limit))

    async def show_delivery(self, request: Request) -> Response:
        text = request.path_params["delivery"]
        try:
            entry = await self.desk.entry(_NUMBER.validate_python(text))
        except ValidationError:
            entry = None
        if entry is None:
            raise HTTPException(404, f"there is no delivery {text}")
        return _json(DeliveryInFull.of(entry))

    async def retry(self, request: Request) -> Response:
        asked = await _body(request, RetryRequest)
        more = False
        if asked.deliveries is not None:
            deliveries: Sequence[int] = sorted({*asked.deliveries})
        else:
            found = await self._retryable(asked)
            deliveries, more = found[: asked.limit], len(found) > asked.limit
        retried = await self.queue.revive(deliveries, self.clock()) if deliveries else 0
        return _json(Retried(matched=len(deliveries), retried=retried, more=more))

    async def _retryable(self, asked: RetryRequest) -> Sequence[int]:
        """What matches, in states that can be retried; one more than the limit if there is more."""
        found: list[int] = []
        for state in RETRYABLE if asked.state is None else (asked.state,):
            room = asked.limit + 1 - len(found)
            if room > 0:
                found += [entry.id for entry in await self.desk.entries(asked.query(room, state), self.clock())]
        return found

    async def status(self, _: Request) -> Response:
        destinations = destination_statuses(await self.desk.tallies(), await self.desk.standings())
        return _json(Status(version=__version__, destinations=destinations))

    async def reload(self, _: Request) -> Response:
        problems = await self.new_configuration()
        if problems:
            sentence = "the new configuration is refused, the one before stays in force"
            return _json(Trouble(error=sentence, problems=problems), 422)
        return _json(Reloaded())


async def _alive(_: Request) -> Response:
    return _json(Alive())


def _json(body: BaseModel, status: int = 200) -> Response:
    # `problems` is the only field that may be absent; a null elsewhere says that there is no such value.
    absent = {"problems"} if isinstance(body, Trouble) and body.problems is None else None
    return Response(body.model_dump_json(exclude=absent), status, media_type="application/json")


def _parameters(request: Request, kind: type[Asked]) -> Asked:
    given = dict(request.query_params)
    if len(given) != len(request.query_params.multi_items()):
        raise HTTPException(422, "a parameter is given twice")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise HTTPException(422, _sentence(error)) from error


async def _body(request: Request, kind: type[Asked]) -> Asked:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the request's body has more than {LARGEST_BODY} bytes")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _sentence(error)) from error


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
    answer = _json(Trouble(error=sentence), error.status_code)
    answer.headers.update(headers)
    return answer


async def _unavailable(_: Request, error: Exception) -> Response:
    return _json(Trouble(error=str(error)), 503)


async def _gone(_: Request, error: Exception) -> Response:
    """Whoever asked has left in mid-request: nobody reads this, and it is no error of ours."""
    return _json(Trouble(error=type(error).__name__), 400)


async def _broken(_: Request, error: Exception) -> Response:
    """An error of ours; starlette raises it again, so that it reaches the log."""
    return _json(Trouble(error=f"an error of the daemon itself ({type(error).__name__}); its log says more"), 500)
