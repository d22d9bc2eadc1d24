"""The process around a daemon: configuration, log, event loop, exit code."""

import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio

from router.daemon.clock import now
from router.daemon.daemon import Daemon
from router.daemon.starting import StartError, starting
from router.dicom.survey import known_keywords
from router.journal import Journal, Lines, Subscriber
from router.settings import Configuration, LogFormat, load

SWITCH_INTERVAL = 0.0005
"""Seconds after which a worker thread gives the interpreter back: by default the event loop waits ten times as long."""


def run(config: Path, environment: Mapping[str, str]) -> int:
    """Run the daemon until it is told to stop. Returns the exit code."""
    return _run(config, environment, Daemon.run)


def rebuild(config: Path, environment: Mapping[str, str], subscriber: Subscriber) -> int:
    """Make the queue again from the payloads in the spool, while no daemon runs.

    Args:
        config: the configuration file.
        environment: of this process.
        subscriber: also told what happens, beside the log.

    Returns:
        The exit code.
    """
    return _run(config, environment, Daemon.rebuild, subscriber)


def _run(
    config: Path,
    environment: Mapping[str, str],
    work: Callable[["Daemon"], Awaitable[None]],
    *subscribers: Subscriber,
) -> int:
    def read() -> Configuration:
        return load(config, environment=environment, known_keywords=known_keywords())

    try:
        with starting():
            configuration = read()
            key = _log_key(configuration.spool.directory)
    except StartError as error:
        return _fail(error)
    log = configuration.log
    json = log.format is LogFormat.JSON or (log.format is LogFormat.AUTO and not sys.stderr.isatty())
    sys.setswitchinterval(SWITCH_INTERVAL)
    lines = Lines(sys.stderr, key=key, level=log.level.value, json=json, uids=log.uids.value, clock=now)
    code = 0
    try:
        journal = Journal(lines, *subscribers)
        with starting():
            daemon = Daemon(configuration, journal, read, environment=environment, lines_lost=lambda: lines.dropped)
        anyio.run(work, daemon)
    except* StartError as errors:
        code = _fail(_first(errors))
    finally:
        lines.close()
    return code


def _log_key(directory: Path) -> bytes:
    """The key of the hashes that stand for UIDs in log lines; made once, beside the spool."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = directory / "log.key"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    return path.read_bytes()


def _first(errors: BaseExceptionGroup[StartError]) -> StartError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _fail(error: StartError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.code
