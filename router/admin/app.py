"""What is answered over HTTP: queue, destinations, studies, reload, health, metrics, pages. Refusals are JSON too.

``application`` puts the table of routes together. An ``Endpoint`` says who may ask (``role``; by default `read` for GET
and `operate` for all else) and names the models of its parameters, body and answer, which make the OpenAPI document.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.admin.activity import Activity
from router.admin.bodies import Alive, Readiness, Reloaded, Trouble
from router.admin.destination_api import DestinationApi
from router.admin.endpoint import Endpoint
from router.admin.exchange import REFUSALS, answer
from router.admin.health import Health
from router.admin.metrics import CONTENT_TYPE, Metrics
from router.admin.openapi import openapi
from router.admin.page import pages
from router.admin.queue_api import QueueApi
from router.admin.sessions import Sessions
from router.admin.study_api import StudyApi
from router.admin.waits import Steered
from router.durable.history import History
from router.durable.queue import Desk, Interventions
from router.durable.spool import Spool
from router.settings import Configuration


def application(
    *,
    desk: Desk,
    interventions: Interventions,
    spool: Spool,
    history: History,
    forwarders: Mapping[str, Steered],
    activity: Activity,
    reload: Callable[[], Awaitable[Sequence[str]]],
    health: Health,
    metrics: Metrics,
    sessions: Sessions,
    configuration: Callable[[], Configuration],
    clock: Callable[[], datetime],
) -> Starlette:
    """The API, and the pages.

    Args:
        desk: answers what is read.
        interventions: what is changed.
        spool: has the payloads.
        history: knows what happened.
        forwarders: by the name of their destination; say what waits for what, and are told to pause or to try.
        activity: knows what happened lately.
        reload: reads the configuration again and puts it in force; otherwise returns what is wrong with it, each
            with its place.
        health: whether anything can be received now.
        metrics: what a scrape is answered.
        sessions: of those who log in on the page.
        configuration: that is in force.
        clock: for how old something is, and when it is due.
    """
    deliveries = QueueApi(desk, interventions, spool, forwarders, clock)
    destinations = DestinationApi(desk, interventions, forwarders, activity, health, clock)
    studies = StudyApi(desk, history, forwarders, clock)
    return Starlette(
        routes=[
            *deliveries.endpoints(),
            *destinations.endpoints(),
            *studies.endpoints(),
            *_DaemonApi(reload, health, metrics).endpoints(),
            *pages(destinations, deliveries, studies, sessions, configuration),
        ],
        exception_handlers=dict(REFUSALS),
    )


@dataclass(frozen=True, slots=True)
class _DaemonApi:
    """What is about the daemon itself."""

    new_configuration: Callable[[], Awaitable[Sequence[str]]]
    health: Health
    metrics: Metrics

    def endpoints(self) -> Sequence[Endpoint]:
        return [
            Endpoint("POST", "/api/reload", self.reload, summary="Read the configuration again.", answer=Reloaded),
            Endpoint("GET", "/api/openapi.json", _describe, summary="Describe this API.", answer="application/json"),
            Endpoint("GET", "/metrics", self.scrape, summary="Tell metrics, for Prometheus.", answer="text/plain"),
            Endpoint(
                "GET",
                "/readyz",
                self.ready,
                summary="Tell whether anything can be received; 503: not now.",
                answer=Readiness,
                everybody=True,
            ),
            Endpoint("GET", "/livez", _alive, summary="Tell that the daemon lives.", answer=Alive, everybody=True),
        ]

    async def reload(self, _: Request) -> Response:
        problems = await self.new_configuration()
        if problems:
            sentence = "the new configuration is refused, the one before stays in force"
            return answer(Trouble(error=sentence, problems=problems), 422)
        return answer(Reloaded())

    async def ready(self, _: Request) -> Response:
        reasons = await self.health.reasons()
        return answer(Readiness(ready=not reasons, reasons=reasons), 503 if reasons else 200)

    async def scrape(self, _: Request) -> Response:
        return Response(await self.metrics.exposition(), media_type=CONTENT_TYPE)


async def _describe(request: Request) -> Response:
    return JSONResponse(openapi(request.app.routes))


async def _alive(_: Request) -> Response:
    return answer(Alive())
