"""The API for commands, asked over its Unix socket."""

from datetime import timedelta

import pytest

from router.admin.exchange import LARGEST_BODY
from router.durable.sqlite import in_thread
from router.model.delivery import Settlement, State, Wanted
from tests.admin.served import Served

pytestmark = pytest.mark.unit


async def test_a_list_tells_of_each_delivery_what_a_log_line_would_and_more(api: Served) -> None:
    """Everything but the peer's comment, which may carry patient data."""
    listing = await api.get("/api/queue")
    assert not listing["more"]
    dead = listing["deliveries"][1]
    assert dead.pop("path") == f"objects/0/2031050712/{dead['ulid']}.dcm"
    assert dead == {
        "delivery": 2,
        "ulid": dead["ulid"],
        "destination": "PACS",
        "state": "dead",
        "cause": "peer cannot understand the object",
        "error": "The peer cannot understand the object (C000H)",
        "waits_for": "",
        "waits_because": "",
        "waits_until": None,
        "attempts": 1,
        "next_attempt_at": None,
        "last_attempt_at": "2031-05-07T12:00:00Z",
        "status": "C000H",
        "strategy": "universal",
        "transfer_syntax": "1.2.840.10008.1.2",
        "stored_transfer_syntax": "1.2.840.10008.1.2.1",
        "sop_class": "1.2.840.10008.5.1.4.1.1.2",
        "instance": "2.25.12",
        "study": "2.25.9",
        "priority": "normal",
        "bytes": dead["bytes"],
        "calling_ae_title": "MR1",
        "called_ae_title": "ROUTER",
        "peer": "192.0.2.7:40123",
        "association": "a1",
        "received_at": "2031-05-07T12:00:00Z",
    }


async def test_one_delivery_is_told_with_the_comment_of_the_peer(api: Served) -> None:
    """Whoever asks for one delivery sees all that is known."""
    listed = (await api.get("/api/queue"))["deliveries"][1]
    assert await api.get("/api/queue/2") == {**listed, "error_comment": "as the peer says"}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"destination": "PACS"}, [1, 2]),
        ({"destination": ""}, [4]),
        ({"state": "dead"}, [2]),
        ({"cause": "no+route"}, [4]),
        ({"calling_ae_title": "MR1"}, [2, 3]),
        ({"calling_ae_title": "MR1", "state": "queued"}, [3]),
        ({"older_than": "3601"}, []),
        ({"older_than": "3599.5"}, [1, 2, 3, 4]),
        ({"limit": "2"}, [1, 2]),
    ],
)
async def test_filters_narrow_a_list(api: Served, filters: dict[str, str], found: list[int]) -> None:
    """All filters that are given must match."""
    api.world.clock.advance(timedelta(hours=1))
    assert await api.numbers(**filters) == found


@pytest.mark.parametrize(("limit", "more"), [(3, True), (4, False), (5, False)])
async def test_a_list_says_whether_others_match_too(api: Served, limit: int, more: bool) -> None:  # noqa: FBT001
    """``more`` is exact."""
    assert (await api.get(f"/api/queue?limit={limit}"))["more"] is more


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state=asleep", "state: Input should be 'queued', 'in flight', 'held', 'dead', 'delivered' or 'dropped'"),
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=1001", "limit: Input should be less than or equal to 1000"),
        ("older_than=nan", "older_than: Input should be a finite number"),
        ("older_than=1e300", "older_than: Input should be less than or equal to 3162240000"),
        ("destinaton=PACS", "destinaton: Extra inputs are not permitted"),
        ("state=dead&state=held", "a parameter is given twice"),
    ],
)
async def test_a_filter_that_means_nothing_is_refused(api: Served, query: str, sentence: str) -> None:
    """A misspelt filter must not list everything."""
    assert await api.ask("GET", f"/api/queue?{query}") == (422, {"error": sentence})


@pytest.mark.parametrize("number", ["5", "0", "-1", "x", "1.5", "1" * 30, "1" * 5000, "..%2F1"])
async def test_a_delivery_that_does_not_exist_is_not_found(api: Served, number: str) -> None:
    """However the number is written."""
    status, answer = await api.ask("GET", f"/api/queue/{number}")
    assert status == 404
    assert answer["error"].startswith("there is no")


@pytest.mark.parametrize(
    ("body", "answer", "states"),
    [
        ({"deliveries": [2]}, (1, 1, False), ["queued", "queued", "queued", "held"]),
        ({"deliveries": [2, 2, 99]}, (2, 1, False), ["queued", "queued", "queued", "held"]),
        ({"deliveries": [4]}, (1, 0, False), ["queued", "dead", "queued", "held"]),
        ({"state": "dead"}, (1, 1, False), ["queued", "queued", "queued", "held"]),
        ({"state": "held"}, (1, 0, False), ["queued", "dead", "queued", "held"]),
        ({"destination": "RESEARCH"}, (1, 1, False), ["queued", "dead", "queued", "held"]),
        ({"calling_ae_title": "MR1", "limit": 1}, (1, 1, True), ["queued", "queued", "queued", "held"]),
        ({"destination": "NOWHERE"}, (0, 0, False), ["queued", "dead", "queued", "held"]),
    ],
)
async def test_retry_makes_what_is_named_or_matches_due_now(
    api: Served, body: dict[str, object], answer: tuple[int, int, bool], states: list[State]
) -> None:
    """Dead ones first; what has no destination stays held."""
    matched, changed, more = answer
    status, found = await api.ask("POST", "/api/queue/retry", body)
    assert (status, found["matched"], found["changed"], found["more"]) == (200, matched, changed, more)
    assert await api.world.states() == states


async def test_retry_leaves_alone_what_is_delivered(api: Served) -> None:
    """A filter without a state does not send again what a destination has."""
    world = api.world
    claim = await world.queue.claim("RESEARCH", "test", Wanted(1), world.clock())
    await world.queue.settle(claim, [Settlement(3, State.DELIVERED)], world.clock())
    _, answer = await api.ask("POST", "/api/queue/retry", {"calling_ae_title": "MR1"})
    assert answer == {"matched": 1, "changed": 1, "more": False, "unfit": []}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "name `deliveries` by number, or at least one filter"),
        ({"limit": 5}, "name `deliveries` by number, or at least one filter"),
        ({"deliveries": [1], "state": "dead"}, "`deliveries` and filters exclude each other"),
        ({"state": "delivered"}, "what is delivered cannot be retried, only what is dead, held, queued"),
        ({"deliveries": []}, "deliveries: Tuple should have at least 1 item"),
        ({"deliveries": [1 << 63]}, "deliveries.0: Input should be less than"),
        ({"deliveries": list(range(1, 10_002))}, "deliveries: Tuple should have at most 10000 items"),
        ({"limit": 10_001, "state": "dead"}, "limit: Input should be less than or equal to 10000"),
        (b"deliveries=1", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
    ],
)
async def test_a_retry_that_does_not_say_what_is_refused(api: Served, body: object, sentence: str) -> None:
    """And changes nothing."""
    status, answer = await api.ask("POST", "/api/queue/retry", body)
    assert (status, sentence in answer["error"]) == (422, True), answer
    assert await api.world.states() == ["queued", "dead", "queued", "held"]


async def test_a_body_that_is_too_large_is_not_read(api: Served) -> None:
    """The limit holds whatever is in it."""
    status, answer = await api.ask("POST", "/api/queue/retry", b" " * (LARGEST_BODY + 1))
    assert (status, answer) == (413, {"error": "the request's body has more than 1048576 bytes"})


async def test_status_tells_of_every_destination_how_it_stands_and_what_there_is_for_it(api: Served) -> None:
    """What no route took stands under an empty name."""
    nowhere, pacs, research = (await api.get("/api/status"))["destinations"]
    assert (nowhere["name"], pacs["name"], research["name"]) == ("", "PACS", "RESEARCH")
    assert {state: amount["deliveries"] for state, amount in pacs["deliveries"].items()} == {"queued": 1, "dead": 1}
    assert pacs["deliveries"]["dead"]["oldest"] == "2031-05-07T12:00:00Z"
    assert (pacs["failures"], pacs["held"], pacs["cause"]) == (0, False, None)


async def test_reload_puts_a_good_configuration_in_force(api: Served) -> None:
    """200 says that it is."""
    assert await api.ask("POST", "/api/reload") == (200, {"reloaded": True})
    assert api.reloads == 1


async def test_reload_tells_what_is_wrong_with_a_bad_configuration(api: Served) -> None:
    """422, with every problem and its place."""
    api.problems = ["router.yaml:1:1  error  nothing is right"]
    sentence = "the new configuration is refused, the one before stays in force"
    assert await api.ask("POST", "/api/reload") == (422, {"error": sentence, "problems": api.problems})


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/api", 404, "there is nothing at /api"),
        ("GET", "/api/queu", 404, "there is nothing at /api/queu"),
        ("POST", "/api/queue", 405, "POST is not possible for /api/queue, only GET, HEAD"),
        ("GET", "/api/reload", 405, "GET is not possible for /api/reload, only POST"),
    ],
)
async def test_what_is_not_there_is_refused_as_json(
    api: Served, method: str, path: str, status: int, sentence: str
) -> None:
    """A program that asks never has to read HTML or plain text."""
    answered, answer = await api.ask(method, path)
    assert (answered, answer["error"].replace("HEAD, GET", "GET, HEAD")) == (status, sentence)


async def test_a_queue_that_cannot_be_read_is_unavailable(api: Served) -> None:
    """503, with the queue's own sentence: asking again later may help."""
    await in_thread(api.world.desk.close)
    status, answer = await api.ask("GET", "/api/queue")
    assert (status, "is not open" in answer["error"]) == (503, True)


async def test_a_daemon_that_runs_is_alive(api: Served) -> None:
    """``/livez`` asks nobody else."""
    await in_thread(api.world.desk.close)
    assert await api.get("/livez") == {"alive": True}
