"""Deliveries: listed, told, retried, held, resumed, dropped, sent again, and their payloads."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import anyio
from anyio import AsyncFile
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from router.admin.endpoint import Endpoint
from router.admin.exchange import answer, parameters, read, shows_patient
from router.admin.queue_bodies import (
    Causes,
    CauseStatus,
    Changed,
    Delivery,
    DeliveryInFull,
    DeliveryNumber,
    DropRequest,
    HoldRequest,
    Listing,
    ListRequest,
    Order,
    ResendRequest,
    ResumeRequest,
    RetryRequest,
)
from router.admin.waits import Steered, waiting
from router.durable.queue import Desk, Entry, Interventions
from router.durable.spool import Spool
from router.settings import Role

CHUNK = 1 << 18
"""Bytes of a payload that are read at once."""

_NUMBER = TypeAdapter[int](DeliveryNumber)


@dataclass(frozen=True, slots=True)
class _Selection:
    """What an order is for."""

    deliveries: Sequence[int]
    more: bool = False
    unfit: Sequence[str] = ()

    def changed(self, changed: int) -> Changed:
        return Changed(
            matched=len(self.deliveries) + len(self.unfit), changed=changed, more=self.more, unfit=self.unfit
        )


@dataclass(frozen=True, slots=True)
class QueueApi:
    """Everything below ``/api/queue``."""

    desk: Desk
    interventions: Interventions
    spool: Spool
    forwarders: Mapping[str, Steered]
    clock: Callable[[], datetime]

    def endpoints(self) -> Sequence[Endpoint]:
        """Its part of the table."""
        return [
            Endpoint(
                "GET",
                "/api/queue",
                self.list_deliveries,
                summary="List deliveries, oldest first.",
                parameters=ListRequest,
                answer=Listing,
            ),
            Endpoint(
                "GET", "/api/queue/causes", self.causes, summary="Count what is dead or held by cause.", answer=Causes
            ),
            Endpoint(
                "POST",
                "/api/queue/retry",
                self.retry,
                summary="Make deliveries due now, also for another destination, or with another strategy.",
                body=RetryRequest,
                answer=Changed,
            ),
            Endpoint(
                "POST",
                "/api/queue/hold",
                self.hold,
                summary="Keep waiting deliveries back until they are resumed.",
                body=HoldRequest,
                answer=Changed,
            ),
            Endpoint(
                "POST",
                "/api/queue/resume",
                self.resume,
                summary="Make held deliveries due now.",
                body=ResumeRequest,
                answer=Changed,
            ),
            Endpoint(
                "POST",
                "/api/queue/drop",
                self.drop,
                summary="Give deliveries up for good.",
                body=DropRequest,
                answer=Changed,
            ),
            Endpoint(
                "POST",
                "/api/queue/resend",
                self.resend,
                summary="Send once more what was delivered or dropped, while its payload is there.",
                body=ResendRequest,
                answer=Changed,
            ),
            Endpoint(
                "GET",
                "/api/queue/{delivery}",
                self.show_delivery,
                summary="Tell everything about one delivery.",
                answer=DeliveryInFull,
            ),
            Endpoint(
                "GET",
                "/api/queue/{delivery}/payload",
                self.payload,
                summary="Give the object of one delivery, as a DICOM file: patient data.",
                answer="application/dicom",
                role=Role.OPERATE,
            ),
        ]

    async def list_deliveries(self, request: Request) -> Response:
        """``GET /api/queue``."""
        return answer(await self.listing(parameters(request, ListRequest)))

    async def listing(self, asked: ListRequest) -> Listing:
        """The deliveries that are asked for."""
        # One more than is shown tells whether there are more.
        entries = await self.desk.entries(asked.query(asked.limit + 1, asked.state, asked.after), self.clock())
        standings = await self.desk.standings()
        now = self.clock()
        shown = [
            Delivery.of(entry, waiting(entry, self.forwarders, standings, now)) for entry in entries[: asked.limit]
        ]
        return Listing(deliveries=shown, more=len(entries) > asked.limit)

    async def causes(self, _: Request) -> Response:
        """``GET /api/queue/causes``."""
        return answer(await self.counted())

    async def counted(self) -> Causes:
        """What is dead or held by cause."""
        return Causes(causes=[CauseStatus.of(tally) for tally in await self.desk.causes()])

    async def show_delivery(self, request: Request) -> Response:
        """``GET /api/queue/{delivery}``."""
        entry = await self._entry(request)
        wait = waiting(entry, self.forwarders, await self.desk.standings(), self.clock())
        shown = DeliveryInFull.of(entry, wait)
        if not shows_patient(request):
            shown = shown.model_copy(update={"error_comment": ""})
        return answer(shown)

    async def payload(self, request: Request) -> Response:
        """``GET /api/queue/{delivery}/payload``."""
        entry = await self._entry(request)
        try:
            file = await anyio.open_file(self.spool.absolute(PurePosixPath(entry.path)), "rb")
        except FileNotFoundError as error:
            raise HTTPException(404, f"the payload of delivery {entry.id} is not there any more") from error
        headers = {
            "content-length": str(entry.size),
            "content-disposition": f'attachment; filename="{entry.ulid}.dcm"',
        }
        return StreamingResponse(_chunks(file), headers=headers, media_type="application/dicom")

    async def retry(self, request: Request) -> Response:
        """``POST /api/queue/retry``."""
        return answer(await self.retry_all(await read(request, RetryRequest)))

    async def retry_all(self, asked: RetryRequest) -> Changed:
        """As ordered."""
        self._check_destination(asked.to)
        selection = await self._selected(asked)
        if asked.dry_run or not selection.deliveries:
            return selection.changed(0)
        changed = 0
        if asked.to is not None:
            changed = await self.interventions.readdress(selection.deliveries, asked.to, self.clock())
            await self._wake([asked.to])
        if asked.to is None or asked.strategy is not None:
            revived = await self.interventions.revive(selection.deliveries, self.clock(), asked.strategy)
            await self._wake(revived)
            changed = sum(revived.values())
        return selection.changed(changed)

    async def hold(self, request: Request) -> Response:
        """``POST /api/queue/hold``."""
        return answer(await self.hold_all(await read(request, HoldRequest)))

    async def hold_all(self, asked: HoldRequest) -> Changed:
        """As ordered."""
        selection = await self._selected(asked)
        if asked.dry_run or not selection.deliveries:
            return selection.changed(0)
        return selection.changed(await self.interventions.hold(selection.deliveries, self.clock()))

    async def resume(self, request: Request) -> Response:
        """``POST /api/queue/resume``."""
        return answer(await self.resume_all(await read(request, ResumeRequest)))

    async def resume_all(self, asked: ResumeRequest) -> Changed:
        """As ordered."""
        selection = await self._selected(asked)
        if asked.dry_run or not selection.deliveries:
            return selection.changed(0)
        revived = await self.interventions.revive(selection.deliveries, self.clock())
        await self._wake(revived)
        return selection.changed(sum(revived.values()))

    async def drop(self, request: Request) -> Response:
        """``POST /api/queue/drop``."""
        return answer(await self.drop_all(await read(request, DropRequest)))

    async def drop_all(self, asked: DropRequest) -> Changed:
        """As ordered."""
        selection = await self._selected(asked)
        if asked.dry_run or not selection.deliveries:
            return selection.changed(0)
        return selection.changed(await self.interventions.drop(selection.deliveries, self.clock()))

    async def resend(self, request: Request) -> Response:
        """``POST /api/queue/resend``."""
        return answer(await self.resend_all(await read(request, ResendRequest)))

    async def resend_all(self, asked: ResendRequest) -> Changed:
        """As ordered."""
        self._check_destination(asked.to)
        selection = await self._selected(asked)
        if asked.dry_run or not selection.deliveries:
            return selection.changed(0)
        resent = await self.interventions.resend(selection.deliveries, asked.to, self.clock())
        return selection.changed(sum(resent.values()))

    async def _wake(self, destinations: Mapping[str, int] | Sequence[str]) -> None:
        """Somebody believes that these work: those in trouble are tried at once."""
        for name in destinations:
            if (forwarder := self.forwarders.get(name)) is not None:
                await forwarder.retry_now()

    async def _selected(self, asked: Order) -> _Selection:
        if asked.deliveries is not None:
            return await self._named(sorted({*asked.deliveries}), asked)
        found: list[int] = []
        for state in asked.suitable if asked.state is None else (asked.state,):
            room = asked.limit + 1 - len(found)
            if room > 0:
                found += [entry.id for entry in await self.desk.entries(asked.query(room, state), self.clock())]
        return _Selection(found[: asked.limit], len(found) > asked.limit)

    async def _named(self, deliveries: Sequence[int], asked: Order) -> _Selection:
        fit: list[int] = []
        unfit: list[str] = []
        for number in deliveries:
            entry = await self.desk.entry(number)
            if entry is None:
                unfit.append(f"there is no delivery {number}")
            elif entry.state not in asked.suitable:
                unfit.append(f"delivery {number}: {asked.unsuitable(entry.state)}")
            else:
                fit.append(number)
        return _Selection(fit, unfit=unfit)

    def _check_destination(self, name: str | None) -> None:
        if name is not None and name not in self.forwarders:
            raise HTTPException(422, no_destination(name, self.forwarders))

    async def _entry(self, request: Request) -> Entry:
        text = request.path_params["delivery"]
        try:
            entry = await self.desk.entry(_NUMBER.validate_python(text))
        except ValidationError:
            entry = None
        if entry is None:
            raise HTTPException(404, f"there is no delivery {text}")
        return entry


def no_destination(name: str, known: Mapping[str, object]) -> str:
    """That there is none of this name, and which there are."""
    return f"there is no destination {name!r}, only {', '.join(sorted(known))}"


async def _chunks(file: AsyncFile[bytes]) -> AsyncIterator[bytes]:
    async with file:
        while chunk := await file.read(CHUNK):
            yield chunk
