"""A checked configuration: plain values, which the rest of the house passes around."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from router.model.destination import Destination
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
class LogSettings:
    """What is logged, and how."""

    level: Level
    format: LogFormat
    uids: LogUIDs


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where status page, API, metrics and health are served."""

    host: str
    port: int
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that an administrator decides, checked."""

    listeners: tuple[Listener, ...]
    spool: SpoolSettings
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
