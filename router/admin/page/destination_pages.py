"""One destination: how it stands, what it accepts, tried step by step, paused and resumed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from router.admin.destination_api import DestinationApi
from router.admin.destination_bodies import SEEN, LearnedPair
from router.admin.page.forms import back_to
from router.admin.page.overview import fix, level, minutes
from router.admin.page.rendering import Renderer, path
from router.admin.page.row import Page
from router.durable.queue import Seen
from router.flow.trial import trial
from router.rules.probing import COMMON_SOP_CLASSES

MOST_UNFOLDED = 3
"""Transfer syntaxes that are listed at once."""


@dataclass(frozen=True, slots=True)
class Appetite:
    """SOP classes of which a destination was seen to take and to refuse the same transfer syntaxes."""

    sop_classes: tuple[str, ...]
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    disliked: tuple[str, ...]
    learned_at: datetime
    """When the oldest of it was learned."""


@dataclass(frozen=True, slots=True)
class DestinationPages:
    """``/destinations``."""

    destinations: DestinationApi
    our_ae_title: Callable[[], str]
    """Who calls, where a destination is called with the modality's own AE title."""
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [
            Page("GET", "/destinations/{name}", self.show_destination, self.renderer),
            Page("POST", "/destinations/{name}/pause", self.pause, self.renderer),
            Page("POST", "/destinations/{name}/resume", self.resume, self.renderer),
            Page("POST", "/destinations/{name}/test", self.try_out, self.renderer),
        ]

    async def show_destination(self, request: Request) -> Response:
        """``GET /destinations/{name}``."""
        shown = await self.destinations.in_full(self.destinations.forwarder(request))
        return self.renderer.page(
            request,
            "destination",
            {
                "shown": shown,
                "level": level,
                "fix": fix,
                "minutes": minutes(self.destinations, [shown.name]),
                "appetites": appetites(shown.learned),
                "MOST_UNFOLDED": MOST_UNFOLDED,
            },
        )

    async def pause(self, request: Request) -> Response:
        """``POST /destinations/{name}/pause``."""
        return await self._steer(request, paused=True)

    async def resume(self, request: Request) -> Response:
        """``POST /destinations/{name}/resume``."""
        return await self._steer(request, paused=False)

    async def try_out(self, request: Request) -> Response:
        """``POST /destinations/{name}/test``: sends no instance."""
        tried = self.destinations.forwarder(request).destination
        calling = tried.local_ae_title or self.our_ae_title()
        steps = [step async for step in trial(tried, calling, COMMON_SOP_CLASSES)]
        return self.renderer.page(request, "trial", {"tried": tried, "calling": calling, "steps": steps})

    async def _steer(self, request: Request, *, paused: bool) -> Response:
        forwarder = self.destinations.forwarder(request)
        await self.destinations.steer(forwarder, paused=paused)
        done = "pause" if paused else "unpause"
        return back_to(path("destinations", forwarder.destination.name), done=done)


def appetites(learned: Sequence[LearnedPair]) -> Sequence[Appetite]:
    """What was learned, SOP classes with the same answers together."""
    by_class: dict[str, list[LearnedPair]] = {}
    for pair in learned:
        by_class.setdefault(pair.sop_class, []).append(pair)
    groups: dict[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for sop_class, pairs in by_class.items():
        answers = (_seen(pairs, Seen.ACCEPTED), _seen(pairs, Seen.REFUSED), _seen(pairs, Seen.DISLIKED))
        groups.setdefault(answers, []).append(sop_class)
    return [
        Appetite(
            tuple(sop_classes),
            accepted,
            refused,
            disliked,
            min(pair.learned_at for sop_class in sop_classes for pair in by_class[sop_class]),
        )
        for (accepted, refused, disliked), sop_classes in groups.items()
    ]


def _seen(pairs: Sequence[LearnedPair], seen: Seen) -> tuple[str, ...]:
    return tuple(sorted(pair.transfer_syntax for pair in pairs if pair.seen == SEEN[seen]))
