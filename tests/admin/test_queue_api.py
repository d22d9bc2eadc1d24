"""What operators order for deliveries, and what is told of what waits."""

from datetime import timedelta
from http.client import HTTPResponse
from typing import Any

import pytest
from anyio import to_thread

from router.admin.queue_bodies import DropRequest
from router.cli.client import UnixConnection
from router.model.delivery import Settlement, Standing, State, Wanted
from router.model.outcome import Cause
from router.rules.pacing import Reason, Wait
from tests.admin.served import Served

pytestmark = pytest.mark.unit


async def order(api: Served, verb: str, **body: Any) -> dict[str, Any]:
    """What became of it."""
    status, answer = await api.ask("POST", f"/api/queue/{verb}", body)
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


async def deliver(api: Served, destination: str, number: int) -> None:
    """A forwarder did it."""
    claim = await api.world.queue.claim(destination, "test", Wanted(1), api.world.clock())
    await api.world.queue.settle(claim, [Settlement(number, State.DELIVERED)], api.world.clock())


FOUND: list[tuple[dict[str, str], list[int]]] = [
    ({"status": "C000"}, [2]),
    ({"status": "c000H"}, [2]),
    ({"status": "A700"}, []),
    ({"study": "2.25.9"}, [1, 2, 3, 4]),
    ({"study": "2.25.10"}, []),
    ({"instance": "2.25.13"}, [3]),
    ({"instance": "2.25.13", "destination": "PACS"}, []),
    ({"after": "2"}, [3, 4]),
    ({"after": "1", "limit": "2"}, [2, 3]),
]


async def test_more_filters_narrow_a_list(api: Served) -> None:
    """By the peer's answer, by UID, and page by page."""
    for filters, found in FOUND:
        assert (filters, await api.numbers(**filters)) == (filters, found)


async def waits(api: Served, number: int) -> tuple[str, str, str | None]:
    """What a delivery waits for, why, and until when; the same in the list and by itself."""
    told = await api.get(f"/api/queue/{number}")
    (listed,) = [each for each in (await api.get("/api/queue"))["deliveries"] if each["delivery"] == number]
    assert listed == {name: value for name, value in told.items() if name != "error_comment"}
    return told["waits_for"], told["waits_because"], told["waits_until"]


async def test_what_is_queued_says_what_it_waits_for(api: Served) -> None:
    """Its turn, its destination with the reason of that, or its own next attempt; what is not queued waits for none."""
    world = api.world
    assert await waits(api, 1) == ("its turn", "", None)
    assert await waits(api, 2) == ("", "", None)
    later = world.clock() + timedelta(minutes=1)
    api.forwarders["PACS"].says = Wait(Reason.IN_TROUBLE, later)
    assert await waits(api, 1) == ("in trouble", "", "2031-05-07T12:01:00Z")
    await world.queue.standings.stand(
        "PACS", Standing(1, later, cause=Cause.CONNECT_FAILED, error="Nobody is there"), later
    )
    assert await waits(api, 1) == ("in trouble", "Nobody is there", "2031-05-07T12:01:00Z")
    api.forwarders["PACS"].says = Wait(Reason.PAUSED)
    assert await waits(api, 1) == ("paused by an operator", "", None)


async def test_what_failed_waits_for_its_next_attempt(api: Served) -> None:
    """With what went wrong; while its destination waits for longer, for that."""
    world, later = api.world, api.world.clock() + timedelta(minutes=10)
    claim = await world.queue.claim("RESEARCH", "test", Wanted(1), world.clock())
    again = Settlement(3, State.QUEUED, later, charged=True, cause=Cause.CANNOT_UNDERSTAND, error="No")
    await world.queue.settle(claim, [again], world.clock())
    assert await waits(api, 3) == ("its next attempt", "No", "2031-05-07T12:10:00Z")
    api.forwarders["RESEARCH"].says = Wait(Reason.IN_TROUBLE, world.clock() + timedelta(minutes=1))
    assert await waits(api, 3) == ("in trouble", "", "2031-05-07T12:10:00Z")


async def test_retry_wakes_the_destinations_and_no_other(api: Served) -> None:
    """Somebody believes that they work again."""
    assert (await order(api, "retry", destination="PACS"))["changed"] == 2
    assert (api.forwarders["PACS"].orders, api.forwarders["RESEARCH"].orders) == (["retry now"], [])


async def test_retry_with_another_strategy(api: Served) -> None:
    """For these alone."""
    assert (await order(api, "retry", deliveries=[2], strategy="extended"))["changed"] == 1
    claim = await api.world.queue.claim("PACS", "test", Wanted(9), api.world.clock())
    assert {each.id: each.strategy for each in claim.deliveries} == {1: None, 2: "extended"}


async def test_retry_for_another_destination(api: Served) -> None:
    """Also of what no route took; with a strategy for there, too."""
    answer = await order(api, "retry", deliveries=[2, 4], to="RESEARCH", strategy="universal")
    assert answer == {"matched": 2, "changed": 2, "more": False, "unfit": []}
    assert api.forwarders["RESEARCH"].orders
    claim = await api.world.queue.claim("RESEARCH", "test", Wanted(9), api.world.clock())
    assert {each.id: each.strategy for each in claim.deliveries} == {2: "universal", 3: None, 4: "universal"}


async def test_a_destination_that_does_not_exist_is_refused(api: Served) -> None:
    """With those that do; nothing changes."""
    for verb, number in (("retry", 2), ("resend", 1)):
        answer = await api.ask("POST", f"/api/queue/{verb}", {"deliveries": [number], "to": "PAX"})
        assert answer == (422, {"error": "there is no destination 'PAX', only PACS, RESEARCH"})
    assert await api.world.states() == ["queued", "dead", "queued", "held"]


async def test_hold_and_resume(api: Served) -> None:
    """What is held waits for its operator, and says so; resuming does not touch dead letters."""
    assert (await order(api, "hold", destination="PACS"))["changed"] == 1
    assert await api.world.states() == ["held", "dead", "queued", "held"]
    assert (await api.get("/api/queue/1"))["cause"] == "operator"
    answer = await order(api, "resume", deliveries=[1, 2])
    assert answer["unfit"] == ["delivery 2: what is dead cannot be resumed, only what is held"]
    assert (answer["matched"], answer["changed"]) == (2, 1)
    assert await api.world.states() == ["queued", "dead", "queued", "held"]


async def test_drop_gives_up_for_good(api: Served) -> None:
    """A dry run only counts."""
    assert await order(api, "drop", state="dead", dry_run=True) == {
        "matched": 1,
        "changed": 0,
        "more": False,
        "unfit": [],
    }
    assert (await order(api, "drop", calling_ae_title="MR1"))["changed"] == 2
    assert await api.world.states() == ["queued", "dropped", "dropped", "held"]


async def test_resend_sends_once_more_what_was_delivered(api: Served) -> None:
    """To its destination or to another; not what was never delivered."""
    await deliver(api, "RESEARCH", 3)
    answer = await order(api, "resend", deliveries=[2, 3, 99])
    assert (answer["matched"], answer["changed"]) == (3, 1)
    assert answer["unfit"] == [
        "delivery 2: what is dead cannot be resent, only what is delivered, dropped",
        "there is no delivery 99",
    ]
    assert (await order(api, "resend", state="delivered", to="PACS"))["changed"] == 1
    assert await api.numbers(instance="2.25.13") == [3, 5, 6]


async def test_an_order_for_nothing_in_particular_is_refused(api: Served) -> None:
    """A slip must not change everything; a filter that is null is none."""
    bodies: list[dict[str, Any]] = [{}, {"limit": 5}, {"destination": None}, {"deliveries": [1], "study": "2.25.9"}]
    for verb in ("retry", "hold", "resume", "drop", "resend"):
        for body in bodies:
            status, _ = await api.ask("POST", f"/api/queue/{verb}", body)
            assert (verb, body, status) == (verb, body, 422)
    assert await api.world.states() == ["queued", "dead", "queued", "held"]


async def test_nothing_matches(api: Served) -> None:
    """That is no error, and nothing is done."""
    for verb in ("retry", "hold", "resume", "drop", "resend"):
        answer = await order(api, verb, destination="NOWHERE")
        assert answer == {"matched": 0, "changed": 0, "more": False, "unfit": []}


async def test_what_cannot_be_ordered_is_refused_with_what_can(api: Served) -> None:
    """One sentence."""
    status, answer = await api.ask("POST", "/api/queue/drop", {"state": "delivered"})
    assert (status, answer["error"]) == (422, DropRequest.unsuitable(State.DELIVERED))
    assert answer["error"] == "what is delivered cannot be dropped, only what is dead, held, queued"


async def test_causes_tell_what_is_dead_or_held_and_what_to_do(api: Served) -> None:
    """With an example of each."""
    dead, held = sorted((await api.get("/api/queue/causes"))["causes"], key=lambda each: str(each["state"]))
    assert (dead["destination"], dead["cause"], dead["deliveries"]) == ("PACS", "peer cannot understand the object", 1)
    assert dead["error"] == "The peer cannot understand the object (C000H)"
    assert "refuses the content" in dead["meaning"]
    assert (held["destination"], held["state"], held["cause"]) == ("", "held", "no route")
    assert "add a route" in held["remedy"]


def download(api: Served, path: str) -> tuple[HTTPResponse, bytes]:
    """The answer, which is a file."""
    connection = UnixConnection(api.socket)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


async def test_a_payload_is_given_as_it_lies_in_the_spool(api: Served) -> None:
    """Under the name of its ULID; 404 when it is gone."""
    told = await api.get("/api/queue/2")
    path = api.world.directory / told["path"]
    response, content = await to_thread.run_sync(download, api, "/api/queue/2/payload")
    assert (response.status, content) == (200, path.read_bytes())
    assert response.headers["content-type"] == "application/dicom"
    assert response.headers["content-disposition"] == f'attachment; filename="{told["ulid"]}.dcm"'
    path.unlink()
    error = {"error": "the payload of delivery 2 is not there any more"}
    assert await api.ask("GET", "/api/queue/2/payload") == (404, error)
