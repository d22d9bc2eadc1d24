"""Who is told when something is wrong, about what, and how."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from router.model.destination import Window


class Concern(StrEnum):
    """What an alert can be about."""

    DESTINATION_DOWN = "destination down"
    DEAD_LETTERS = "dead letters"
    DISK = "disk"
    CERTIFICATE = "certificate"
    LOOP = "loop"
    SILENT_MODALITY = "silent modality"


class Encryption(StrEnum):
    """Of a connection with a mail server. What is asked for and cannot be had is an error, never a step down."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that takes JSON by HTTP POST."""

    url: str = field(repr=False)
    """Often holds a token."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server, from whom, and to whom."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    encryption: Encryption = Encryption.STARTTLS
    user: str | None = None
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments; it reads JSON from its standard input. There is no shell."""

    arguments: tuple[str, ...]


Channel = Webhook | Mail | Command


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One channel, and what it is told."""

    channel: Channel
    on: frozenset[Concern] = frozenset(Concern)
    after: timedelta = timedelta(minutes=5)
    """How long something has to be wrong."""
    repeat: timedelta = timedelta(hours=24)
    """After which it is told again what is still wrong."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A modality that sends regularly, and after how long without an instance that is remarkable."""

    ae_title: str
    """Calling AE title; ``*`` and ``?`` are wildcards."""
    after: timedelta
    only: tuple[Window, ...] = ()
    """When it is expected to send, in local time; outside of it time does not count."""
