"""The first page: what is wrong and since when, how every destination stands, and what waits for a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from router.admin.destination_api import DestinationApi
from router.admin.destination_bodies import STATES, DestinationState, DestinationStatus, Status
from router.admin.health import Health
from router.admin.page.rendering import Renderer
from router.admin.page.row import Page
from router.admin.page.words import count
from router.admin.queue_api import QueueApi
from router.model.delivery import KEPT
from router.rules.advice import CAUSES, REASONS, Advice
from router.rules.pacing import Reason

NO_CONTENT = 204
TROUBLED = frozenset({DestinationState.IN_TROUBLE, DestinationState.HELD})
IDLE = frozenset({DestinationState.PAUSED, DestinationState.OUTSIDE_WINDOW})
_REASONS: Mapping[DestinationState, Reason] = {
    state: reason for reason, state in STATES.items() if state is not DestinationState.WORKS
}


@dataclass(frozen=True, slots=True)
class Banner:
    """The state of everything: a headline, and sentences that go on from it."""

    level: str
    """good, warning or bad: for the eye alone, since the words say it too."""
    headline: str
    sentences: tuple[str, ...] = ()
    decide: bool = False
    """The page has a list of what waits for a decision."""


def banner(status: Status, reasons: Sequence[str]) -> Banner:
    """What is wrong, the worst first.

    Args:
        status: of destinations.
        reasons: why nothing can be received.
    """
    troubled = [each for each in status.destinations if each.state in TROUBLED]
    paused = [each.name for each in status.destinations if each.state is DestinationState.PAUSED]
    amounts = [each.deliveries[state] for each in status.destinations for state in KEPT & {*each.deliveries}]
    kept = sum(amount.deliveries for amount in amounts)
    bad = [f"Nothing can be received: {reason}." for reason in reasons]
    if troubled:
        bad.append(_trouble(troubled))
    warnings = []
    if kept:
        verb = "waits" if kept == 1 else "wait"
        oldest = min((amount.oldest for amount in amounts if amount.oldest is not None), default=None)
        received = "" if oldest is None else f", the oldest received {oldest:%Y-%m-%d %H:%M} UTC"
        warnings.append(f"{count(kept, 'delivery', 'deliveries')} {verb} for a decision{received}.")
    if paused:
        warnings.append(f"Paused by an operator: {', '.join(paused)}.")
    if sentences := (*bad, *warnings):
        return Banner("bad" if bad else "warning", sentences[0], sentences[1:], decide=bool(kept))
    return Banner("good", "Everything works.")


def _trouble(troubled: Sequence[DestinationStatus]) -> str:
    names = ", ".join(each.name for each in troubled)
    since = min((each.since for each in troubled if each.since is not None), default=None)
    when = "" if since is None else f" since {since:%Y-%m-%d %H:%M} UTC"
    return f"{count(len(troubled), 'destination')} in trouble{when}: {names}."


def fix(status: DestinationStatus) -> Advice | None:
    """What a destination that does not send needs; None: nothing."""
    if status.state in TROUBLED and status.cause is not None:
        return CAUSES[status.cause]
    reason = _REASONS.get(status.state)
    return None if reason is None else REASONS[reason]


def level(status: DestinationStatus) -> str:
    """As of a ``Banner``."""
    if status.state in TROUBLED:
        return "bad"
    kept = any(state in KEPT for state in status.deliveries)
    return "warning" if kept or status.state in IDLE else "good"


_ORDER = {"bad": 0, "warning": 1, "good": 2}


@dataclass(frozen=True, slots=True)
class OverviewPages:
    """``/`` and ``/banner``."""

    destinations: DestinationApi
    queue: QueueApi
    health: Health
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [
            Page("GET", "/", self.show, self.renderer),
            Page("GET", "/banner", self.show_banner, self.renderer),
        ]

    async def show(self, request: Request) -> Response:
        """``GET /``."""
        status = await self.destinations.standing()
        told = banner(status, await self.health.reasons())
        return self.renderer.page(
            request,
            "overview",
            {
                "status": status,
                "banner": told,
                "banner_digest": _digest(told),
                "cards": sorted(status.destinations, key=lambda each: (_ORDER[level(each)], each.name)),
                "level": level,
                "fix": fix,
                "minutes": minutes(self.destinations, [each.name for each in status.destinations]),
                "causes": (await self.queue.counted()).causes,
            },
        )

    async def show_banner(self, request: Request) -> Response:
        """``GET /banner``: nothing, if it is the one that was ``seen``; a screen reader would say it again."""
        told = banner(await self.destinations.standing(), await self.health.reasons())
        if request.query_params.get("seen") == _digest(told):
            return Response(status_code=NO_CONTENT)
        return HTMLResponse(self.renderer.text(request, "banner", {"banner": told, "banner_digest": _digest(told)}))


def minutes(api: DestinationApi, names: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """What each of these destinations took in each of the last minutes; those that are not configured took nothing."""
    return {name: api.activity.sparkline(name) for name in names if name in api.activity.sending}


def _digest(told: Banner) -> str:
    return sha256(repr(told).encode()).hexdigest()[:16]
