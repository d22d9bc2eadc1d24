"""Who has logged in with a token: the browser keeps a cookie, which is worth nothing once the session has ended.

The token itself is never in a cookie: browsers send one to every port of a host, and so to services of others.
"""

import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from router.settings import Token

COOKIE = "dicom-router"
LASTS = timedelta(hours=12)
"""A shift."""
MOST = 256
"""Sessions; beyond, the oldest ends."""


def find(tokens: Iterable[Token], secret: str) -> Token | None:
    """The token that this is. Every one is compared, whole: how long it takes tells nothing."""
    digest = sha256(secret.strip().encode()).digest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


@dataclass(frozen=True, slots=True)
class _Session:
    token: Token
    ends: datetime


class Sessions:
    """Of one daemon; they end with it."""

    def __init__(self, tokens: Callable[[], Iterable[Token]], clock: Callable[[], datetime]) -> None:
        """None yet.

        Args:
            tokens: that are good now; a session ends when its token is no longer among them.
            clock: the time of day.
        """
        self._tokens = tokens
        self._clock = clock
        self._open: dict[bytes, _Session] = {}

    @property
    def possible(self) -> bool:
        """Whether there is any token to log in with."""
        return any(True for _ in self._tokens())

    def begin(self, secret: str) -> str | None:
        """What the cookie is to hold, for whoever knows a token; None: that is none."""
        token = find(self._tokens(), secret)
        if token is None:
            return None
        now = self._clock()
        # The oldest first, as they end.
        self._open = {key: each for key, each in self._open.items() if each.ends > now}
        while len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        cookie = secrets.token_urlsafe(32)
        self._open[_key(cookie)] = _Session(token, now + LASTS)
        return cookie

    def token(self, cookie: str) -> Token | None:
        """With what its holder logged in; None: that is no session, or no longer."""
        session = self._open.get(_key(cookie))
        if session is None or session.ends <= self._clock() or session.token not in self._tokens():
            return None
        return session.token

    def end(self, cookie: str) -> None:
        """Whoever holds the cookie has to log in again."""
        self._open.pop(_key(cookie), None)


def _key(cookie: str) -> bytes:
    return sha256(cookie.encode()).digest()
