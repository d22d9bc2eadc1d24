"""Deliveries: a list with filters, one by itself with its story, and orders for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from router.admin.exchange import checked, shows_patient
from router.admin.page.forms import Form, back_to, form_of
from router.admin.page.rendering import Renderer
from router.admin.page.row import Page
from router.admin.page.words import NO_ROUTE
from router.admin.queue_api import QueueApi
from router.admin.queue_bodies import (
    Changed,
    DropRequest,
    Filters,
    HoldRequest,
    ListRequest,
    Order,
    ResendRequest,
    ResumeRequest,
    RetryRequest,
)
from router.admin.study_api import StudyApi
from router.model.delivery import State
from router.model.destination import Strategy
from router.model.outcome import Cause

ORDERS: Mapping[str, type[Order]] = {
    "retry": RetryRequest,
    "hold": HoldRequest,
    "resume": ResumeRequest,
    "resend": ResendRequest,
    "drop": DropRequest,
}
NOWHERE = "(none)"
"""In a query: the destination without a name, for an empty one asks for all. No destination can be called so."""


@dataclass(frozen=True, slots=True)
class QueuePages:
    """``/queue`` and ``/deliveries``."""

    queue: QueueApi
    studies: StudyApi
    renderer: Renderer

    def pages(self) -> Sequence[Page]:
        """Its part of the table."""
        return [
            Page("GET", "/queue", self.list_deliveries, self.renderer),
            Page("GET", "/deliveries/{delivery}", self.show_delivery, self.renderer),
            Page("POST", "/queue", self.order, self.renderer),
        ]

    async def list_deliveries(self, request: Request) -> Response:
        """``GET /queue``."""
        given = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
        if not request.url.query:
            # Whoever comes without a question wants to know what waits, not everything that was delivered today.
            given = {"state": State.QUEUED}
        filters = {name: given[name] for name in Filters.model_fields if name in given}
        asked = checked(
            {name: given[name] for name in ListRequest.model_fields if name in given} | _destination(filters),
            ListRequest,
        )
        found = await self.queue.listing(asked)
        return self.renderer.page(
            request,
            "queue",
            {
                "found": found,
                "counts": await self._counts(filters),
                "filters": dict.fromkeys(Filters.model_fields, "") | filters,
                "after": found.deliveries[-1].delivery if found.more else None,
                "first": asked.after == 0,
                "states": list(State),
                "causes": list(Cause),
                "choices": self._choices(filters.get("destination", ""), asked.state),
            },
        )

    async def _counts(self, filters: Mapping[str, str]) -> Mapping[State, int]:
        """How many are in each state; nothing, where filters ask for what nobody has counted."""
        if filters.keys() - {"destination", "state"}:
            return {}
        name = _destination(filters).get("destination", filters.get("destination"))
        counts = dict.fromkeys(State, 0)
        for tally in await self.queue.desk.tallies():
            if name is None or tally.destination == name:
                counts[tally.state] += tally.deliveries
        return counts

    async def show_delivery(self, request: Request) -> Response:
        """``GET /deliveries/{delivery}``."""
        number = request.path_params["delivery"]
        if not number.isdecimal():
            raise HTTPException(404, f"there is no delivery {number}")
        story = await self.studies.story(number, patient=shows_patient(request))
        shown = next(each for each in story.deliveries if each.delivery.delivery == int(number))
        choices = self._choices(shown.delivery.destination or NOWHERE, shown.delivery.state)
        return self.renderer.page(request, "delivery", {"story": story, "shown": shown, "choices": choices})

    async def order(self, request: Request) -> Response:
        """``POST /queue``: for all that match the filters, or for the deliveries that are ticked."""
        form = await form_of(request)
        changed = await self._carry_out(form)
        more = {"more": 1} if changed.more else {}
        done = {"done": form.one("order"), "changed": changed.changed, "matched": changed.matched}
        return back_to(form.one("then"), **done, **more)

    async def _carry_out(self, form: Form) -> Changed:
        selection = _selection(form)
        further = {name: form.one(name) for name in ("to", "strategy") if form.one(name)}
        match form.one("order"):
            case "retry":
                return await self.queue.retry_all(checked(selection | further, RetryRequest))
            case "hold":
                return await self.queue.hold_all(checked(selection, HoldRequest))
            case "resume":
                return await self.queue.resume_all(checked(selection, ResumeRequest))
            case "resend":
                return await self.queue.resend_all(checked(selection | further, ResendRequest))
            case "drop":
                _check_confirmation(form)
                return await self.queue.drop_all(checked(selection, DropRequest))
            case _:
                raise HTTPException(422, "choose what is to be done")

    def _choices(self, destination: str, state: State | None) -> Mapping[str, object]:
        """What the form for orders offers; None: deliveries may be in any state."""
        return {
            "orders": [name for name, order in ORDERS.items() if state is None or state in order.suitable],
            "destination": destination,
            "named": NO_ROUTE if destination == NOWHERE else destination,
            "NOWHERE": NOWHERE,
            "destinations": sorted(self.queue.forwarders),
            "strategies": [each for each in Strategy if each is not Strategy.LISTED],
        }


def _selection(form: Form) -> dict[str, object]:
    if form.one("which") == "ticked":
        if not (ticked := form.several("deliveries")):
            raise HTTPException(422, "no delivery is ticked")
        return {"deliveries": ticked}
    filters = {name: form.one(name) for name in Filters.model_fields if form.one(name)}
    return filters | _destination(filters)


def _destination(filters: Mapping[str, str]) -> dict[str, object]:
    return {"destination": ""} if filters.get("destination") == NOWHERE else {}


def _check_confirmation(form: Form) -> None:
    """What is dropped is gone: whoever orders it says by name for which destination."""
    destination = form.one("destination")
    if not destination:
        raise HTTPException(422, "to drop deliveries, filter by their destination first")
    name = NO_ROUTE if destination == NOWHERE else destination
    if form.one("confirm") != name:
        raise HTTPException(422, f"to drop these deliveries for good, type {name} to confirm it; nothing was changed")
