"""What stands before the API over TCP: Host, Origin, tokens and roles, strict headers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from router.admin.endpoint import Endpoint
from router.admin.guard import ROLE, SHOW_PATIENT, Guard, Objection, trusted
from router.admin.sessions import Sessions
from router.settings import HttpSettings, Role, Token
from tests.admin.served import Served
from tests.durable.world import Clock

pytestmark = pytest.mark.unit

READER, OPERATOR = "reader-0123456789", "operator-0123456789"
TOKENS = tuple(
    Token(role.value, role, sha256(secret.encode()).digest())
    for role, secret in ((Role.READ, READER), (Role.OPERATE, OPERATOR))
)
LOOPBACK = HttpSettings("127.0.0.1", 8080, enabled=True)
GUARDED = replace(LOOPBACK, host="0.0.0.0", tokens=TOKENS, allowed_hosts=("router.example",))


async def _told(request: Request) -> Response:
    return JSONResponse({"patient": request.scope.get(SHOW_PATIENT), "role": request.scope.get(ROLE)})


async def _kept(_: Request) -> Response:
    return Response("p {}", headers={"cache-control": "max-age=60"}, media_type="text/css")


def table() -> Starlette:
    """One route of every kind."""
    return Starlette(
        routes=[
            Endpoint("GET", "/read", _told, summary=""),
            Endpoint("POST", "/change", _told, summary=""),
            Endpoint("GET", "/export/{delivery}", _told, summary="", role=Role.OPERATE),
            Endpoint("GET", "/livez", _told, summary="", everybody=True),
            Route("/plain", _told, methods=["GET", "POST"]),
            Endpoint("GET", "/style.css", _kept, summary=""),
        ]
    )


class Asker:
    """A client of a guard, without a network between."""

    def __init__(self, settings: HttpSettings, app: Starlette | None = None) -> None:
        self.objections: list[Objection] = []
        self.clock = Clock()
        self.sessions = Sessions(lambda: self.guard.settings.tokens, self.clock)
        self.guard = Guard(app or table(), settings, sessions=self.sessions, objected=self.objections.append)

    async def ask(
        self, method: str = "GET", path: str = "/read", *, token: str = "", **headers: str
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and body; keyword arguments are headers, and ``host`` is localhost unless given."""
        if token:
            headers["authorization"] = f"Bearer {token}"
        given = {"host": "localhost:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.send(method, path, [(name.encode(), value.encode()) for name, value in given.items()])

    async def send(
        self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> tuple[int, Mapping[str, str], Any]:
        """The same, with headers as they are."""
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "server": ("192.0.2.1", 8080),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.guard(scope, receive, send)
        body = b"".join(each.get("body", b"") for each in sent[1:])
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, json.loads(body) if "json" in told["content-type"] else body

    async def status(self, method: str = "GET", path: str = "/read", *, token: str = "", **headers: str) -> int:
        """The status alone."""
        return (await self.ask(method, path, token=token, **headers))[0]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "localhost.:8080",
        "127.0.0.1:8080",
        "127.0.0.1:9999",  # a forwarded port
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]",
        "192.0.2.1:8080",  # the address that was called
        "router.example",
        "ROUTER.example:443",
    ],
)
async def test_a_host_header_that_names_the_router_is_taken(host: str) -> None:
    """Names of the loopback, the address that was called, and what `allowed_hosts` names; with any port."""
    assert await Asker(GUARDED).status(token=READER, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "router.example.evil.example",
        "localhost.evil.example",
        "192.0.2.2",
        "127.0.0.1:8080:8080",
        "[::1",
        "[::2]",
        "[:::]",
        "user@localhost",
        "localhost/",
        "localhost:http",
        "local host",
    ],
)
async def test_another_host_header_is_refused(host: str) -> None:
    """A page that has rebound its own name to our address still sends that name."""
    asker = Asker(GUARDED)
    status, _, answer = await asker.ask(token=READER, host=host)
    assert status == 421
    assert answer["error"].startswith("the Host header is no name of this router")
    assert asker.objections == [Objection.HOST]


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"]])
async def test_a_host_header_that_is_missing_or_there_twice_is_refused(hosts: list[bytes]) -> None:
    """Whoever reads the other one would be told a different story."""
    status, _, _ = await Asker(LOOPBACK).send("GET", "/read", [(b"host", host) for host in hosts])
    assert status == 421


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 200),
        ("POST", {"origin": "http://localhost:8080"}, 200),
        ("POST", {"origin": "https://LOCALHOST:8080"}, 200),  # a proxy before it speaks TLS
        ("POST", {"origin": "http://localhost:8081"}, 403),
        ("POST", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "http://localhost"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"sec_fetch_site": "same-origin"}, 200),
        ("POST", {"sec_fetch_site": "none"}, 200),
        ("POST", {"sec_fetch_site": "same-site"}, 403),
        ("POST", {"sec_fetch_site": "cross-site"}, 403),
        ("GET", {"origin": "http://evil.example", "sec_fetch_site": "cross-site"}, 200),
    ],
)
async def test_only_our_own_pages_change_something(method: str, headers: dict[str, str], status: int) -> None:
    """A form on another page is refused, whatever token it comes with; reading, a browser does not let it."""
    asker = Asker(GUARDED)
    path = "/read" if method == "GET" else "/change"
    assert await asker.status(method, path, token=OPERATOR, **headers) == status
    assert asker.objections == ([Objection.ORIGIN] if status == 403 else [])


@pytest.mark.parametrize(
    ("settings", "method", "path", "token", "status"),
    [
        # This machine alone, no tokens: whoever is on it may read.
        (LOOPBACK, "GET", "/read", "", 200),
        (LOOPBACK, "HEAD", "/read", "", 200),
        (LOOPBACK, "GET", "/plain", "", 200),
        (LOOPBACK, "GET", "/livez", "", 200),
        (LOOPBACK, "POST", "/change", "", 401),
        (LOOPBACK, "POST", "/plain", "", 401),
        (LOOPBACK, "GET", "/export/1", "", 401),
        (LOOPBACK, "DELETE", "/nothing", "", 401),
        (LOOPBACK, "GET", "/nothing", "", 404),
        (LOOPBACK, "GET", "/read", "unknown-0123456789", 401),
        # With tokens.
        (GUARDED, "GET", "/livez", "", 200),
        (GUARDED, "GET", "/livez", "unknown-0123456789", 200),
        (GUARDED, "GET", "/read", "", 401),
        (GUARDED, "HEAD", "/read", "", 401),
        (GUARDED, "GET", "/plain", "", 401),
        (GUARDED, "GET", "/nothing", "", 401),
        (GUARDED, "GET", "/read", READER, 200),
        (GUARDED, "GET", "/read", OPERATOR, 200),
        (GUARDED, "GET", "/read", "unknown-0123456789", 401),
        (GUARDED, "GET", "/read", READER[:-1], 401),
        (GUARDED, "GET", "/read", "é" * 16, 401),
        (GUARDED, "POST", "/change", "", 401),
        (GUARDED, "POST", "/change", READER, 403),
        (GUARDED, "POST", "/change", OPERATOR, 200),
        (GUARDED, "POST", "/plain", READER, 403),
        (GUARDED, "POST", "/plain", OPERATOR, 200),
        (GUARDED, "GET", "/export/1", READER, 403),
        (GUARDED, "GET", "/export/1", OPERATOR, 200),
    ],
)
async def test_roles(settings: HttpSettings, method: str, path: str, token: str, status: int) -> None:
    """What changes something needs a token for that; what is not in the table is judged by its method."""
    asker = Asker(settings)
    assert await asker.status(method, path, token=token) == status
    assert asker.objections == {401: [Objection.TOKEN], 403: [Objection.ROLE]}.get(status, [])


@pytest.mark.parametrize("written", [f"Basic {READER}", READER, "Bearer", "", f"Bearer {READER} {READER}"])
async def test_a_token_that_is_not_written_as_a_bearer_token_is_none(written: str) -> None:
    """Whatever it is, it is refused."""
    status, headers, _ = await Asker(GUARDED).ask(authorization=written)
    assert status == 401
    assert headers["www-authenticate"] == 'Bearer realm="dicom-router"'


async def test_two_tokens_are_none() -> None:
    """The first is not looked at alone."""
    sent = [(b"host", b"localhost"), *((b"authorization", f"Bearer {each}".encode()) for each in (READER, OPERATOR))]
    assert (await Asker(GUARDED).send("GET", "/read", sent))[0] == 401


async def test_the_scheme_may_be_written_in_any_case() -> None:
    """RFC 9110 11.1."""
    assert await Asker(GUARDED).status(authorization=f"bearer {READER}") == 200


async def test_new_settings_hold_from_the_next_request_on() -> None:
    """A token that is withdrawn by a reload is worth nothing any more."""
    asker = Asker(GUARDED)
    asker.guard.settings = replace(GUARDED, tokens=TOKENS[1:])
    assert await asker.status(token=READER) == 401


@pytest.mark.parametrize("show", [False, True])
async def test_what_is_about_patients_is_told_if_the_configuration_says_so(show: bool) -> None:  # noqa: FBT001
    """Routes read it from the scope."""
    _, _, answer = await Asker(replace(LOOPBACK, show_patient=show)).ask()
    assert answer == {"patient": show, "role": None}


@pytest.mark.parametrize(("show", "comment"), [(False, ""), (True, "as the peer says")])
async def test_the_comment_of_a_peer_is_told_over_tcp_only_if_the_configuration_says_so(
    api: Served,
    show: bool,  # noqa: FBT001
    comment: str,
) -> None:
    """It may name a patient; everything else of the delivery is told."""
    asker = Asker(replace(LOOPBACK, show_patient=show), api.app)
    _, _, answer = await asker.ask(path="/api/queue/2")
    assert answer == {**await api.get("/api/queue/2"), "error_comment": comment}


async def test_over_the_unix_socket_everything_is_told() -> None:
    """Its file's mode says who may connect."""
    seen: list[object] = []

    async def app(scope: Any, *_: object) -> None:
        seen.append((scope[SHOW_PATIENT], scope[ROLE]))

    async def nothing(*_: object) -> Any:
        raise AssertionError

    await trusted(app)({"type": "http"}, nothing, nothing)
    assert seen == [(True, Role.OPERATE)]


@pytest.mark.parametrize(("path", "host"), [("/read", "localhost"), ("/nothing", "localhost"), ("/read", "evil")])
async def test_every_answer_has_the_strict_headers(path: str, host: str) -> None:
    """Those of refusals too."""
    _, headers, _ = await Asker(LOOPBACK).ask(path=path, host=host)
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


async def test_a_route_may_let_its_answer_be_kept() -> None:
    """Style sheets of the page."""
    _, headers, _ = await Asker(LOOPBACK).ask(path="/style.css")
    assert headers["cache-control"] == "max-age=60"
