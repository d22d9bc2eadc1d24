"""The composition root: builds every object once, plugs the ports, runs all in one task group, stops it in order."""

import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from random import SystemRandom
from types import MappingProxyType

import anyio
import anyio.abc
import anyio.to_thread

from router import __version__
from router.admin import (
    Activity,
    Alerts,
    Concerns,
    Guard,
    Health,
    Metrics,
    PortError,
    Sessions,
    SocketError,
    Systemd,
    WatchedDisk,
    application,
    serve,
    serve_tcp,
)
from router.dicom.buffers import Buffers
from router.dicom.inherited import Inherited
from router.dicom.scp import Scp
from router.dicom.survey import known_keywords, tags
from router.dicom.transcode.pool import Transcoder
from router.durable.queue import QueueError
from router.durable.spool import Spool, SpoolLocked
from router.durable.sqlite import SqliteDesk, SqliteQueue
from router.durable.sqlite_file import DamagedError
from router.durable.sqlite_history import SqliteHistory
from router.flow.choices import Choices
from router.flow.failover import Failover
from router.flow.forwarder import Forwarder
from router.flow.forwarders import Forwarders
from router.flow.intake import Intake, Routing
from router.flow.janitor import Janitor, empty
from router.journal import (
    Draining,
    HistoryTrouble,
    Journal,
    Lines,
    Reloaded,
    ReloadRefused,
    SpoolTrouble,
    Started,
    Stopped,
    Subscriber,
    divert_libraries,
)
from router.model.destination import Destination
from router.rules.acceptance import Listener
from router.settings import Configuration, ConfigurationError, LogFormat, Problem, load

EX_UNAVAILABLE, EX_CANTCREAT, EX_IOERR, EX_TEMPFAIL, EX_CONFIG = 69, 73, 74, 75, 78
"""Exit codes of sysexits.h."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a worker thread gives the interpreter back: by default the event loop waits ten times as long."""


class StartError(Exception):
    """The daemon cannot start: why, and the exit code that says so."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


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
        with _starting():
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
        with _starting():
            daemon = Daemon(configuration, journal, read, environment=environment, lines_lost=lambda: lines.dropped)
        anyio.run(work, daemon)
    except* StartError as errors:
        code = _fail(_first(errors))
    finally:
        lines.close()
    return code


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class Daemon:
    """Everything that runs, and the order in which it starts and stops."""

    def __init__(
        self,
        configuration: Configuration,
        journal: Journal,
        read: Callable[[], Configuration],
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
        lines_lost: Callable[[], int] = int,
    ) -> None:
        """A daemon.

        Args:
            configuration: to begin with.
            journal: what happened is published here.
            read: reads the configuration again, for a reload. Blocks.
            environment: in which a supervisor says what it hands over, and where it wants to be told.
            lines_lost: of the log, so far.

        Raises:
            OSError: what was handed over is not what it should be.
        """
        self._configuration = configuration
        self._journal = journal
        self._read = read
        directory = configuration.spool.directory
        disk = WatchedDisk()
        self._spool = Spool(directory, disk=disk, clock=now)
        self._history = SqliteHistory(
            directory / "history.db",
            clock=now,
            keep=configuration.history.keep,
            size=configuration.history.size,
            report=lambda sentence: journal.publish(HistoryTrouble(error=sentence)),
        )
        self._queue = SqliteQueue(directory / "queue.db", self._spool, self._history, clock=now)
        self._desk = SqliteDesk(directory / "queue.db")
        self._converted = directory / "converted"
        self._transcoder = Transcoder(self._converted)
        # Nobody has buffers here: each listener and each destination has its own, so that none waits for another.
        self._buffers = Buffers(0)
        reserve = configuration.spool.reserve.of
        self._forwarders = Forwarders(self._forwarder, self._queue, clock=now)
        choices = Choices(self._desk, self._forwarders.in_trouble)
        self._intake = Intake(
            self._spool,
            self._queue,
            _routing(configuration),
            journal=journal,
            clock=now,
            reserve=reserve,
            choices=choices,
        )
        self._failover = Failover(
            self._queue,
            choices,
            routes=lambda: self._intake.routing.routes,
            troubled_since=self._forwarders.troubled_since,
            journal=journal,
            clock=now,
        )
        self._janitor = Janitor(
            self._spool,
            self._queue,
            self._desk,
            self._history,
            journal=journal,
            clock=now,
            keep_delivered=configuration.spool.keep_delivered,
            reserve=reserve,
        )
        self._health = Health(
            queue=self._queue, spool=self._spool, disk=disk, reserve=reserve, listening=lambda: self._running
        )
        self._metrics = Metrics(desk=self._desk, health=self._health, clock=now, lines_lost=lines_lost)
        self._metrics.configure(configuration.listeners, configuration.destinations)
        journal.subscribe(self._metrics)
        self._activity = Activity(now)
        self._activity.configure(destination.name for destination in configuration.destinations)
        journal.subscribe(self._activity)
        self._systemd = Systemd(environment, health=self._health, forwarders=self._forwarders, desk=self._desk)
        journal.subscribe(self._systemd)
        self._inherited = Inherited.of(environment)
        self._concerns = Concerns(desk=self._desk, health=self._health, forwarders=self._forwarders, clock=now)
        self._concerns.configure(configuration)
        journal.subscribe(self._concerns)
        self._alerts = Alerts(self._concerns, journal=journal, clock=now)
        self._alerts.configure(configuration.alerts)
        self._guard: Guard
        self._scps: dict[tuple[str, int], Scp] = {}
        self._moving: anyio.abc.TaskGroup
        self._running = False
        """Between start and stop."""
        self._reloading = anyio.Lock()

    async def run(self, *, task_status: anyio.abc.TaskStatus[Sequence[int]] = anyio.TASK_STATUS_IGNORED) -> None:
        """From an open spool to a closed one.

        Raises:
            StartError: alone or in a group; the sentence says what cannot be had.
        """
        divert_libraries(self._journal)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with self._store(), anyio.create_task_group() as serving:
                serving.start_soon(self._obey, signals, serving)
                with _starting():
                    await self._recover()
                    await self._serve_http(serving)
                serving.start_soon(self._janitor.run)
                serving.start_soon(self._failover.run)
                serving.start_soon(self._health.run)
                serving.start_soon(self._systemd.run)
                async with anyio.create_task_group() as self._moving:
                    with _starting():
                        self._forwarders.configure(self._configuration.destinations, self._moving)
                        await self._listen(self._configuration.listeners)
                    self._running = True
                    self._journal.publish(Started(version=__version__))
                    serving.start_soon(self._alerts.run)
                    task_status.started([scp.port for scp in self._scps.values()])
                serving.cancel_scope.cancel()
        self._journal.publish(Stopped())

    async def rebuild(self) -> None:
        """Make the queue again, and end.

        Raises:
            StartError: alone or in a group; another daemon works on the spool, or something cannot be had.
        """
        divert_libraries(self._journal)
        async with self._store(anew=True):
            with _starting():
                await self._recover()

    async def _recover(self) -> None:
        if self._queue.damage:
            self._journal.publish(SpoolTrouble(error=self._queue.damage))
        await self._janitor.recover(self._intake.routing, new_queue=self._queue.new, new_history=self._history.new)
        await self._configure_queue(self._configuration)

    @asynccontextmanager
    async def _store(self, *, anew: bool = False) -> AsyncIterator[None]:
        """Spool, history and queue, open; the writers end after everybody who may still have something to settle."""
        with _starting():
            await anyio.to_thread.run_sync(self._spool.open)
            if anew:
                await anyio.to_thread.run_sync(self._queue.set_aside)
            await anyio.to_thread.run_sync(self._history.open)
            await anyio.to_thread.run_sync(self._queue.open)
            await anyio.to_thread.run_sync(self._desk.open)
            await anyio.to_thread.run_sync(empty, self._converted)
        try:
            async with anyio.create_task_group() as writing:
                await writing.start(self._history.run)
                await writing.start(self._queue.run)
                try:
                    yield
                finally:
                    writing.cancel_scope.cancel()
        except* DamagedError as errors:
            sentence = f"{errors.exceptions[0]}. Start the daemon again: it makes a new queue from the spool"
            self._journal.publish(SpoolTrouble(error=sentence))
            raise StartError(sentence, EX_IOERR) from errors
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._desk.close)
                for store in (self._queue, self._history):
                    try:
                        await anyio.to_thread.run_sync(store.close)
                    except QueueError as error:
                        # The disk is gone. Nothing that was committed is lost, and the next start puts it in order.
                        self._journal.publish(SpoolTrouble(error=str(error)))
                await anyio.to_thread.run_sync(self._spool.close)

    async def _serve_http(self, serving: anyio.abc.TaskGroup) -> None:
        """The same API for commands and for browsers."""
        sessions = Sessions(lambda: self._configuration.http.tokens, now)
        api = application(
            desk=self._desk,
            queue=self._queue,
            spool=self._spool,
            history=self._history,
            forwarders=self._forwarders,
            activity=self._activity,
            reload=self.reload,
            health=self._health,
            metrics=self._metrics,
            sessions=sessions,
            configuration=lambda: self._configuration,
            clock=now,
        )
        self._guard = Guard(api, self._configuration.http, sessions=sessions, objected=self._metrics.objected)
        await serving.start(serve, api, self._configuration.socket)
        if self._configuration.http.enabled:
            await serving.start(serve_tcp, self._guard)

    # Signals

    async def _obey(self, signals: AsyncIterator[signal.Signals], serving: anyio.abc.TaskGroup) -> None:
        async for received in signals:
            if received is signal.SIGHUP:
                serving.start_soon(self.reload)
            elif self._running:
                self._running = False
                serving.start_soon(self._drain)
            else:
                # Told a second time, or before there was anything to drain.
                serving.cancel_scope.cancel()

    async def _drain(self) -> None:
        """Nothing new comes in; what is under way may finish, for a while."""
        self._journal.publish(Draining())
        for scp in self._scps.values():
            scp.stop()
        self._forwarders.stop()
        await anyio.sleep(self._configuration.drain.total_seconds())
        self._moving.cancel_scope.cancel()

    async def reload(self) -> Sequence[str]:
        """Put a changed configuration in force, whole or not at all, touching no association that it does not change.

        Returns:
            What is wrong with it; empty: it is in force.
        """
        async with self._reloading:
            problems = await self._reload()
        self._journal.publish(ReloadRefused(error="; ".join(map(_brief, problems))) if problems else Reloaded())
        return [str(problem) for problem in problems]

    async def _reload(self) -> Sequence[str | Problem]:
        if not self._running:
            return ["the daemon is starting or stopping"]
        self._systemd.reloading()
        try:
            configuration = await anyio.to_thread.run_sync(self._read)
        except ConfigurationError as error:
            return error.problems
        if problems := _unchangeable(self._configuration, configuration):
            return problems
        opened: Sequence[Scp] = []
        try:
            opened = await self._listen(configuration.listeners)
            await self._configure_queue(configuration)
        except (StartError, QueueError) as error:
            self._close(opened)
            return [str(error)]
        self._configuration = configuration
        self._intake.routing = _routing(configuration)
        self._forwarders.configure(configuration.destinations, self._moving)
        wanted = {(listener.host, listener.port): listener for listener in configuration.listeners}
        self._close([scp for place, scp in self._scps.items() if place not in wanted])
        for place, scp in self._scps.items():
            scp.configure(wanted[place])
        self._guard.settings = configuration.http
        self._metrics.configure(configuration.listeners, configuration.destinations)
        self._activity.configure(destination.name for destination in configuration.destinations)
        self._concerns.configure(configuration)
        self._alerts.configure(configuration.alerts)
        return []

    # What a configuration has running

    async def _configure_queue(self, configuration: Configuration) -> None:
        names = {destination.name: destination.renamed_from for destination in configuration.destinations}
        await self._queue.configured(names, now())

    def _forwarder(self, destination: Destination) -> Forwarder:
        return Forwarder(
            destination,
            queue=self._queue,
            capabilities=self._queue.capabilities,
            spool=self._spool,
            transcoder=self._transcoder,
            buffers=self._buffers.apart(destination.max_associations),
            journal=self._journal,
            clock=now,
            chance=SystemRandom().random,
        )

    async def _listen(self, listeners: Sequence[Listener]) -> Sequence[Scp]:
        """Open those that are not open yet, and return them.

        Raises:
            StartError: one cannot be had; then none is.
        """
        if strangers := self._inherited.without_listener((each.host, each.port) for each in listeners):
            sentence = f"No listener is configured for what systemd listens on, {', '.join(strangers)}: callers would"
            raise StartError(f"{sentence} wait for ever; `ListenStream=` and `listen:` have to agree", EX_CONFIG)
        opened: list[Scp] = []
        for listener in listeners:
            if (place := (listener.host, listener.port)) in self._scps:
                continue
            buffers = self._buffers.apart(listener.max_associations)
            listen = self._inherited.listen
            scp = Scp(listener, self._intake, journal=self._journal, buffers=buffers, clock=now, listen=listen)
            try:
                await self._moving.start(scp.serve)
            except OSError as error:
                self._close(opened)
                sentence = f"Cannot listen on {listener.host} port {listener.port}: {error.strerror}"
                raise StartError(sentence, EX_UNAVAILABLE) from error
            self._scps[place] = scp
            opened.append(scp)
        return opened

    def _close(self, scps: Sequence[Scp]) -> None:
        for scp in scps:
            scp.stop()
        self._scps = {place: scp for place, scp in self._scps.items() if scp not in scps}


def _routing(configuration: Configuration) -> Routing:
    return Routing(
        routes=configuration.routes,
        destinations={destination.name: destination for destination in configuration.destinations},
        unrouted=configuration.unrouted,
        wanted=tags(configuration.routes.keywords),
    )


def _brief(problem: str | Problem) -> str:
    return problem.brief if isinstance(problem, Problem) else problem


def _unchangeable(old: Configuration, new: Configuration) -> list[str]:
    """What a running daemon cannot take over."""
    parts = {"spool": (old.spool, new.spool), "log": (old.log, new.log), "socket": (old.socket, new.socket)}
    parts |= {"history": (old.history, new.history)}
    place = attrgetter("host", "port", "enabled")
    parts |= {"http": (place(old.http), place(new.http))}
    return [f"`{name}` cannot change while the daemon runs: restart it" for name, (a, b) in parts.items() if a != b]


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


@contextmanager
def _starting() -> Iterator[None]:
    """What keeps a daemon from starting, in one word each."""
    try:
        yield
    except ConfigurationError as error:
        raise StartError(str(error), EX_CONFIG) from error
    except SpoolLocked as error:
        raise StartError(str(error), EX_TEMPFAIL) from error
    except (QueueError, SocketError) as error:
        raise StartError(str(error), EX_CANTCREAT) from error
    except PortError as error:
        raise StartError(str(error), EX_UNAVAILABLE) from error
    except OSError as error:
        raise StartError(f"Cannot start: {error.strerror}: {error.filename or ''}", EX_UNAVAILABLE) from error


def _first(errors: BaseExceptionGroup[StartError]) -> StartError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _fail(error: StartError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.code
