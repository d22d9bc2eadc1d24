"""A checked configuration: plain values, which the rest of the house passes around."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from router.model.alert import AlertRule, Silence
from router.model.destination import Destination
from router.model.tls import Certificate
from router.rules.acceptance import Listener
from router.rules.routing import Routes, Unrouted


class Level(StrEnum):
    """The least grave events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look; ``auto`` is JSON unless standard error is a terminal."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogUIDs(StrEnum):
    """How instance and study UIDs appear in log lines."""

    HASH = "hash"
    PLAIN = "plain"
    OMIT = "omit"


@dataclass(frozen=True, slots=True)
class Reserve:
    """How much of the disk the spool leaves free: a part of the whole, or bytes."""

    part: float = 0.0
    size: int = 0

    def of(self, total: int) -> int:
        """In bytes, on a disk of ``total`` bytes."""
        return max(self.size, int(total * self.part))


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where payloads and the queue lie."""

    directory: Path
    reserve: Reserve
    keep_delivered: timedelta


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How much is remembered of what happened to deliveries."""

    keep: timedelta
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, and how."""

    level: Level
    format: LogFormat
    uids: LogUIDs


class Role(StrEnum):
    """What a token is good for."""

    READ = "read"
    OPERATE = "operate"
    """Change something; includes reading."""


@dataclass(frozen=True, slots=True)
class Token:
    """Whoever knows it may use the API over TCP."""

    name: str
    role: Role
    digest: bytes = field(repr=False)
    """SHA-256 of the token, which itself is kept nowhere."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where status page, API, metrics and health are served, and to whom."""

    host: str
    port: int
    enabled: bool
    allowed_hosts: tuple[str, ...] = ()
    """Names in a request's Host header, beside the loopback's and the address that was called."""
    tokens: tuple[Token, ...] = ()
    show_patient: bool = False


@dataclass(frozen=True, slots=True)
class Effective:
    """One value that is in force."""

    path: str
    """As ``destinations[MAIN_PACS].remote_port``."""
    value: str
    """As it would stand in the file; a secret is masked."""
    origin: str
    """``file:line:column``, the name of an environment variable, or ``default``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that an administrator decides, checked."""

    listeners: tuple[Listener, ...]
    spool: SpoolSettings
    history: HistorySettings
    routes: Routes
    unrouted: Unrouted
    destinations: tuple[Destination, ...]
    log: LogSettings
    http: HttpSettings
    socket: Path
    """Of the HTTP API for commands."""
    drain: timedelta
    """How long a stopping daemon goes on with what is under way."""
    warnings: tuple[str, ...] = ()
    """Legal, but hardly meant; one sentence each."""
    certificates: tuple[Certificate, ...] = ()
    """That are shown or trusted, and when they end."""
    alerts: tuple[AlertRule, ...] = ()
    """Who is told when something is wrong."""
    silences: tuple[Silence, ...] = ()
    """Modalities that send regularly."""
    tests: int = 0
    """How many of its own it brought along, and passed."""
    values: tuple[Effective, ...] = field(default=(), compare=False, repr=False)
    """All of them, for people who ask what is in force and why."""
