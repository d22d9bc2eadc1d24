"""Destinations: how they stand, paused, resumed, and told what a probe found out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from router import __version__
from router.admin.activity import Activity, Sending
from router.admin.destination_bodies import (
    SEEN,
    Amount,
    DestinationInFull,
    DestinationState,
    DestinationStatus,
    IncomingAssociation,
    Learned,
    LearnedPair,
    LearnRequest,
    Ordered,
    SpoolStatus,
    Status,
    state_of,
)
from router.admin.endpoint import Endpoint
from router.admin.exchange import answer, read
from router.admin.health import Health
from router.admin.queue_api import no_destination
from router.admin.waits import Steered
from router.durable.queue import Desk, Interventions
from router.model.delivery import OPEN, Standing, State
from router.rules.pacing import Wait

NEVER = Sending()
"""What was sent to a destination that is not configured."""


@dataclass(frozen=True, slots=True)
class DestinationApi:
    """``/api/status`` and everything below ``/api/destinations``."""

    desk: Desk
    interventions: Interventions
    forwarders: Mapping[str, Steered]
    activity: Activity
    health: Health
    clock: Callable[[], datetime]

    def endpoints(self) -> Sequence[Endpoint]:
        """Its part of the table."""
        return [
            Endpoint("GET", "/api/status", self.status, summary="Tell how everything stands.", answer=Status),
            Endpoint(
                "GET",
                "/api/destinations/{name}",
                self.show_destination,
                summary="Tell everything about one destination.",
                answer=DestinationInFull,
            ),
            Endpoint(
                "POST",
                "/api/destinations/{name}/pause",
                self.pause_destination,
                summary="Keep back what waits for a destination.",
                answer=Ordered,
            ),
            Endpoint(
                "POST",
                "/api/destinations/{name}/resume",
                self.resume_destination,
                summary="Go on with a destination; one in trouble is tried at once.",
                answer=Ordered,
            ),
            Endpoint(
                "POST",
                "/api/destinations/{name}/learned",
                self.learn,
                summary="Remember what a probe of a destination found out.",
                body=LearnRequest,
                answer=Learned,
            ),
        ]

    async def status(self, _: Request) -> Response:
        """``GET /api/status``."""
        return answer(await self.standing())

    async def standing(self) -> Status:
        """How everything stands."""
        free, disk, reserve = await to_thread.run_sync(self.health.space)
        return Status(
            version=__version__,
            destinations=await self._statuses(),
            associations=[IncomingAssociation.of(each) for each in self.activity.incoming],
            spool=SpoolStatus(free_bytes=free, disk_bytes=disk, reserve_bytes=reserve),
        )

    async def show_destination(self, request: Request) -> Response:
        """``GET /api/destinations/{name}``."""
        return answer(await self.in_full(self.forwarder(request)))

    async def in_full(self, forwarder: Steered) -> DestinationInFull:
        """Everything about one destination."""
        destination = forwarder.destination
        (status,) = [each for each in await self._statuses() if each.name == destination.name]
        learned = [
            LearnedPair(
                sop_class=sop_class,
                transfer_syntax=syntax,
                seen=SEEN[capability.seen],
                learned_at=capability.learned_at,
            )
            for (sop_class, syntax), capability in (await self.desk.learned(destination.name)).items()
        ]
        return DestinationInFull(
            **dict(status),
            remote_ae_title=destination.remote_ae_title,
            remote_host=destination.remote_host,
            remote_port=destination.remote_port,
            local_ae_title=destination.local_ae_title,
            transfer_syntax_strategy=destination.transfer_syntax_strategy,
            tls=destination.tls is not None,
            learned=learned,
            minutes=self.activity.sparkline(destination.name),
        )

    async def pause_destination(self, request: Request) -> Response:
        """``POST /api/destinations/{name}/pause``."""
        return answer(await self.steer(self.forwarder(request), paused=True))

    async def resume_destination(self, request: Request) -> Response:
        """``POST /api/destinations/{name}/resume``."""
        return answer(await self.steer(self.forwarder(request), paused=False))

    async def learn(self, request: Request) -> Response:
        """``POST /api/destinations/{name}/learned``."""
        forwarder = self.forwarder(request)
        asked = await read(request, LearnRequest)
        known = forwarder.destination
        if (asked.remote_ae_title, asked.remote_host, asked.remote_port) != (
            known.remote_ae_title,
            known.remote_host,
            known.remote_port,
        ):
            sentence = f"the daemon knows {known.name} as {known.remote_ae_title} at {known.remote_host}:"
            raise HTTPException(422, f"{sentence}{known.remote_port}: reload the configuration, then probe again")
        await forwarder.learn({(each.sop_class, each.transfer_syntax): each.accepted for each in asked.answers})
        return answer(Learned(destination=known.name, learned=len(asked.answers)))

    async def steer(self, forwarder: Steered, *, paused: bool) -> Ordered:
        """Keep back what waits for a destination; or go on, and try one in trouble at once."""
        name = forwarder.destination.name
        if not paused:
            await forwarder.retry_now()
        await self.interventions.pause(name, self.clock(), paused=paused)
        forwarder.pause(paused=paused)
        return Ordered(destination=name, state=state_of(forwarder.pace()))

    def forwarder(self, request: Request) -> Steered:
        """Of the destination that the path names.

        Raises:
            HTTPException: there is none.
        """
        name = request.path_params["name"]
        forwarder = self.forwarders.get(name)
        if forwarder is None:
            raise HTTPException(404, no_destination(name, self.forwarders))
        return forwarder

    async def _statuses(self) -> Sequence[DestinationStatus]:
        """One for each destination that is configured or that something is kept for, by name."""
        standings = await self.desk.standings()
        amounts: dict[str, dict[State, Amount]] = {name: {} for name in {*standings, *self.forwarders}}
        for tally in await self.desk.tallies():
            amount = Amount(deliveries=tally.deliveries, bytes=tally.size, oldest=tally.oldest)
            amounts.setdefault(tally.destination, {})[tally.state] = amount
        return [self._status(name, standings.get(name, Standing()), amounts[name]) for name in sorted(amounts)]

    def _status(self, name: str, standing: Standing, deliveries: Mapping[State, Amount]) -> DestinationStatus:
        forwarder = self.forwarders.get(name)
        pace = None if forwarder is None else forwarder.pace()
        opened, allowed = (0, 0) if forwarder is None else forwarder.associations
        sending = self.activity.sending.get(name, NEVER)
        state = DestinationState.NOT_CONFIGURED if name else DestinationState.NO_ROUTE
        return DestinationStatus(
            name=name,
            state=state if pace is None else state_of(pace),
            until=pace.until if isinstance(pace, Wait) else None,
            failures=standing.failures,
            held=standing.held,
            retry_at=standing.retry_at,
            since=standing.since,
            cause=standing.cause,
            error=standing.error,
            deliveries=deliveries,
            waiting=_sum([amount for state, amount in deliveries.items() if state in OPEN]),
            associations_open=opened,
            associations_allowed=allowed,
            per_minute=round(self.activity.rate(name), 1),
            last_success_at=sending.last_success_at,
            last_error=sending.last_error,
            last_error_at=sending.last_error_at,
        )


def _sum(amounts: Sequence[Amount]) -> Amount:
    return Amount(
        deliveries=sum(amount.deliveries for amount in amounts),
        bytes=sum(amount.bytes for amount in amounts),
        oldest=min((amount.oldest for amount in amounts if amount.oldest is not None), default=None),
    )
