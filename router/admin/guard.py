"""What stands before the API where it is served over TCP: Host, Origin, tokens and roles, strict headers.

The Unix socket needs none of it: its file's mode says who may connect. Over TCP a browser is a danger (a page of
somebody else's may call us through it), and so are other users of this machine:

- **Host** names us, or the page has rebound its own name to our address.
- **Origin** of what changes something is ours, or another page wrote the form.
- **Token**: what changes something always needs one with the role ``operate``; reading needs one as soon as tokens
  are configured. Who logged in with it on the page has the cookie of a session instead.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.admin.endpoint import READING, UNAUTHORISED, Endpoint, find_endpoint, refusal, role_for
from router.admin.sessions import COOKIE, Sessions, find
from router.settings import HttpSettings, Role

SHOW_PATIENT = "router.show_patient"
"""Key of a scope: whether the answer may tell what may be about a patient. Without it, it may not."""
ROLE = "router.role"
"""Key of a scope: the role of whoever asks; None: that of nobody in particular."""

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # With no-referrer browsers send a form's Origin as null, even to us.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:(?P<name>[^\s:/@\[\]]+?)\.?|\[(?P<address>[0-9a-f:.]+)\])(?::[0-9]+)?", re.ASCII)


class Objection(StrEnum):
    """Why a request is refused before anybody looks at it: the labels of a metric."""

    HOST = "host"
    ORIGIN = "origin"
    TOKEN = "token"  # noqa: S105 -- the word, not one
    ROLE = "role"


class _RefusedError(Exception):
    def __init__(self, status: int, objection: Objection, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.objection = objection


def trusted(app: ASGIApp) -> ASGIApp:
    """``app`` for those who may do and see everything: whoever can open the Unix socket."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, SHOW_PATIENT: True, ROLE: Role.OPERATE}, receive, send)

    return serve


class Guard:
    """``app`` for whoever comes over TCP."""

    def __init__(
        self,
        app: Starlette,
        settings: HttpSettings,
        *,
        sessions: Sessions,
        objected: Callable[[Objection], None] = lambda _: None,
    ) -> None:
        """A guard.

        Args:
            app: whose table of routes says who may ask.
            settings: names and tokens; a reload may replace them.
            sessions: of those who logged in.
            objected: told of each refusal.
        """
        self.settings = settings
        self._sessions = sessions
        self._app = app
        self._objected = objected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        strict = _strictly(send)
        endpoint = find_endpoint(self._app.routes, scope)
        try:
            role = self._admit(scope, Headers(scope=scope), endpoint)
        except _RefusedError as refused:
            self._objected(refused.objection)
            answer = refusal if endpoint is None else partial(endpoint.refusal, Request(scope))
            await answer(refused.status, str(refused))(scope, receive, strict)
        else:
            told = {SHOW_PATIENT: self.settings.show_patient, ROLE: role}
            await self._app({**scope, **told}, receive, strict)

    def _admit(self, scope: Scope, headers: Headers, endpoint: Endpoint | None) -> Role | None:
        """The role of whoever asks, if the request may go on. What is not in the table is judged by its method.

        Raises:
            _RefusedError: it may not.
        """
        host = self._check_host(scope, headers)
        if scope["method"] not in READING:
            _check_origin(headers, host)
        required = role_for(scope["method"]) if endpoint is None else endpoint.role
        if required is None:
            return None
        role = self._role(headers)
        self._check_role(required, role)
        return role

    def _check_role(self, required: Role, role: Role | None) -> None:
        if role is None and required is Role.READ and self.settings.tokens:
            raise _RefusedError(UNAUTHORISED, Objection.TOKEN, "a token is needed: `Authorization: Bearer …`")
        if role is None and required is Role.OPERATE:
            sentence = "over TCP this needs a token with the role operate, `Authorization: Bearer …`; or use the"
            raise _RefusedError(UNAUTHORISED, Objection.TOKEN, f"{sentence} commands of dicom-router on this machine")
        if role is Role.READ and required is Role.OPERATE:
            raise _RefusedError(403, Objection.ROLE, "the role of this token is read, this needs operate")

    def _check_host(self, scope: Scope, headers: Headers) -> str:
        """The Host header, if it names us."""
        written = headers.getlist("host")
        name = _host_name(written[0]) if len(written) == 1 else ""
        called = scope.get("server") or ("", None)
        ours = LOOPBACK_NAMES.union(map(str.casefold, (self.settings.host, called[0], *self.settings.allowed_hosts)))
        if not name or name not in ours:
            sentence = "the Host header is no name of this router; `allowed_hosts` in the section `http` takes more"
            raise _RefusedError(421, Objection.HOST, sentence)
        return written[0].casefold()

    def _role(self, headers: Headers) -> Role | None:
        """What the token that was sent, or that was logged in with, is good for; None: neither."""
        written = headers.getlist("authorization")
        if not written:
            session = self._sessions.token(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))
            return None if session is None else session.role
        scheme, _, secret = written[0].partition(" ")
        token = find(self.settings.tokens, secret) if len(written) == 1 and scheme.casefold() == "bearer" else None
        if token is None:
            raise _RefusedError(UNAUTHORISED, Objection.TOKEN, "the token is not one of this router's")
        return token.role


def _check_origin(headers: Headers, host: str) -> None:
    origins = headers.getlist("origin")
    if any(origin.casefold() not in {f"http://{host}", f"https://{host}"} for origin in origins):
        raise _RefusedError(403, Objection.ORIGIN, "another site asks for this: the Origin is not this router")
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise _RefusedError(403, Objection.ORIGIN, "another site asks for this")


def _host_name(written: str) -> str:
    """The name or address in a Host header, without its port; empty for what is none."""
    match = _HOST.fullmatch(written.casefold())
    if match is None:
        return ""
    if match["name"]:
        return match["name"]
    try:
        return str(ip_address(match["address"]))
    except ValueError:
        return ""


def _strictly(send: Send) -> Send:
    """``send`` that adds the headers which a browser needs to be told."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            # What the router says is true now; only files of the page say otherwise.
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent
