"""Whether the user that an association names is known here (PS3.7 D.3.3.7)."""

import hmac
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from hashlib import sha256


class Kind(IntEnum):
    """The types of user identity that can be checked here (PS3.7 Table D.3-14); others need a ticket's issuer."""

    USERNAME = 1
    USERNAME_AND_PASSCODE = 2


class Recognition(Enum):
    """What is made of a user identity."""

    RECOGNISED = auto()
    UNCHECKED = auto()
    """There is none, or it is of another type, and none is required."""
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class User:
    """Who may be named."""

    name: str = field(repr=False)
    passcode: bytes | None = field(default=None, repr=False)
    """SHA-256 of the passcode, which itself is kept nowhere; None: the name is enough."""


@dataclass(frozen=True, slots=True)
class Users:
    """Those of one listener."""

    users: tuple[User, ...]
    required: bool = True
    """Whether an association that names nobody is refused."""


def recognise(known: Users, kind: int | None, name: bytes, passcode: bytes) -> Recognition:
    """Judge a user identity, in a time that tells nothing of passcodes.

    Args:
        known: who may be named.
        kind: the type; None: nobody is named.
        name: the primary field.
        passcode: the secondary field.
    """
    if kind not in set(Kind):
        return Recognition.REFUSED if known.required else Recognition.UNCHECKED
    shown = sha256(passcode).digest() if kind == Kind.USERNAME_AND_PASSCODE else b""
    found = False
    for user in known.users:
        # Each is compared, whoever is named.
        same = hmac.compare_digest(user.name.encode(), name)
        found |= same & hmac.compare_digest(user.passcode or b"", shown)
    return Recognition.RECOGNISED if found else Recognition.REFUSED
