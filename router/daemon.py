"""The composition root: builds every object once, plugs the ports, runs all in one task group, stops it in order."""

import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

import anyio
import anyio.abc
import anyio.to_thread

from router import __version__
from router.admin.app import application
from router.admin.server import SocketError
from router.admin.server import serve as serve_admin
from router.dicom.buffers import Buffers
from router.dicom.scp import Scp
from router.dicom.survey import known_keywords, tags
from router.dicom.transcode.pool import Transcoder
from router.durable.queue import QueueError
from router.durable.spool import Spool, SpoolLocked
from router.durable.sqlite import SqliteDesk, SqliteQueue
from router.flow.forwarder import Forwarder
from router.flow.intake import Intake, Routing
from router.flow.janitor import Janitor, empty
from router.journal import Draining, Journal, Lines, Reloaded, ReloadRefused, Started, Stopped, divert_libraries
from router.model.delivery import Standing
from router.model.destination import Destination
from router.rules.acceptance import Listener
from router.settings import Configuration, ConfigurationError, LogFormat, load

EX_UNAVAILABLE, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG = 69, 73, 75, 78
"""Exit codes of sysexits.h."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a worker thread gives the interpreter back: by default the event loop waits ten times as long."""

SENDING_BUFFERS = 32
"""Beside those of the listeners: objects that are being sent at the same time."""


class StartError(Exception):
    """The daemon cannot start: why, and the exit code that says so."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def run(config: Path, environment: Mapping[str, str]) -> int:
    """Run the daemon until it is told to stop. Returns the exit code."""

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
        anyio.run(Daemon(configuration, Journal(lines), read).run)
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

    def __init__(self, configuration: Configuration, journal: Journal, read: Callable[[], Configuration]) -> None:
        """A daemon.

        Args:
            configuration: to begin with.
            journal: what happened is published here.
            read: reads the configuration again, for a reload. Blocks.
        """
        self._configuration = configuration
        self._journal = journal
        self._read = read
        directory = configuration.spool.directory
        self._spool = Spool(directory, clock=now)
        self._queue = SqliteQueue(directory / "queue.db", self._spool, clock=now)
        self._desk = SqliteDesk(directory / "queue.db")
        self._converted = directory / "converted"
        self._transcoder = Transcoder(self._converted)
        limit = sum(listener.max_associations for listener in configuration.listeners) + SENDING_BUFFERS
        self._buffers = Buffers(limit)
        reserve = configuration.spool.reserve.of
        self._intake = Intake(
            self._spool, self._queue, _routing(configuration), journal=journal, clock=now, reserve=reserve
        )
        self._janitor = Janitor(
            self._spool,
            self._queue,
            self._desk,
            journal=journal,
            clock=now,
            keep_delivered=configuration.spool.keep_delivered,
            reserve=reserve,
        )
        self._scps: dict[tuple[str, int], Scp] = {}
        self._forwarders: dict[str, Forwarder] = {}
        self._ended: dict[str, anyio.Event] = {}
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
                    await self._janitor.recover(self._intake.routing)
                    await self._configure_queue(self._configuration)
                    api = application(desk=self._desk, queue=self._queue, reload=self.reload, clock=now)
                    await serving.start(serve_admin, api, self._configuration.socket)
                serving.start_soon(self._janitor.run)
                async with anyio.create_task_group() as self._moving:
                    with _starting():
                        self._forward(self._configuration.destinations)
                        await self._listen(self._configuration.listeners)
                    self._running = True
                    self._journal.publish(Started(version=__version__))
                    task_status.started([scp.port for scp in self._scps.values()])
                serving.cancel_scope.cancel()
        self._journal.publish(Stopped())

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[None]:
        """Spool and queue, open; the writer ends after everybody who may still have something to settle."""
        with _starting():
            await anyio.to_thread.run_sync(self._spool.open)
            await anyio.to_thread.run_sync(self._queue.open)
            await anyio.to_thread.run_sync(self._desk.open)
            await anyio.to_thread.run_sync(empty, self._converted)
        try:
            async with anyio.create_task_group() as writing:
                await writing.start(self._queue.run)
                try:
                    yield
                finally:
                    writing.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._desk.close)
                await anyio.to_thread.run_sync(self._queue.close)
                await anyio.to_thread.run_sync(self._spool.close)

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
        for forwarder in self._forwarders.values():
            forwarder.stop()
        await anyio.sleep(self._configuration.drain.total_seconds())
        self._moving.cancel_scope.cancel()

    async def reload(self) -> Sequence[str]:
        """Put a changed configuration in force, whole or not at all, touching no association that it does not change.

        Returns:
            What is wrong with it; empty: it is in force.
        """
        async with self._reloading:
            problems = await self._reload()
        self._journal.publish(ReloadRefused(error="; ".join(problems)) if problems else Reloaded())
        return problems

    async def _reload(self) -> Sequence[str]:
        if not self._running:
            return ["the daemon is starting or stopping"]
        try:
            configuration = await anyio.to_thread.run_sync(self._read)
        except ConfigurationError as error:
            return [str(problem) for problem in error.problems]
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
        self._forward(configuration.destinations)
        wanted = {(listener.host, listener.port): listener for listener in configuration.listeners}
        self._close([scp for place, scp in self._scps.items() if place not in wanted])
        for place, scp in self._scps.items():
            scp.listener = wanted[place]
        return []

    # What a configuration has running

    async def _configure_queue(self, configuration: Configuration) -> None:
        names = {destination.name: destination.renamed_from for destination in configuration.destinations}
        await self._queue.configured(names, now())

    def _forward(self, destinations: Sequence[Destination]) -> None:
        wanted = {destination.name: destination for destination in destinations}
        for name, forwarder in list(self._forwarders.items()):
            if wanted.get(name) != forwarder.destination:
                forwarder.stop()
                del self._forwarders[name]
        for name, destination in wanted.items():
            if name not in self._forwarders:
                self._forwarders[name] = forwarder = Forwarder(
                    destination,
                    queue=self._queue,
                    capabilities=self._queue.capabilities,
                    spool=self._spool,
                    transcoder=self._transcoder,
                    buffers=self._buffers,
                    journal=self._journal,
                    clock=now,
                    chance=SystemRandom().random,
                )
                predecessor, self._ended[name] = self._ended.get(name), anyio.Event()
                self._moving.start_soon(self._forward_after, predecessor, forwarder, self._ended[name])

    async def _forward_after(self, predecessor: anyio.Event | None, forwarder: Forwarder, ended: anyio.Event) -> None:
        """Forward once the forwarder before, of the same name, has ended: two would exceed the destination's limits."""
        try:
            if predecessor is not None:
                await predecessor.wait()
                # Whatever was wrong may have been put right just now: it is tried at once, even if it was held.
                await self._queue.stand(forwarder.destination.name, Standing(), now())
            await forwarder.run()
        finally:
            ended.set()

    async def _listen(self, listeners: Sequence[Listener]) -> Sequence[Scp]:
        """Open those that are not open yet, and return them.

        Raises:
            StartError: one cannot be had; then none is.
        """
        opened: list[Scp] = []
        for listener in listeners:
            if (place := (listener.host, listener.port)) in self._scps:
                continue
            scp = Scp(listener, self._intake, journal=self._journal, buffers=self._buffers, clock=now)
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


def _unchangeable(old: Configuration, new: Configuration) -> list[str]:
    """What a running daemon cannot take over."""
    parts = {"spool": (old.spool, new.spool), "http": (old.http, new.http), "log": (old.log, new.log)}
    parts |= {"socket": (old.socket, new.socket)}
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
    except OSError as error:
        raise StartError(f"Cannot start: {error.strerror}: {error.filename or ''}", EX_UNAVAILABLE) from error


def _first(errors: BaseExceptionGroup[StartError]) -> StartError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _fail(error: StartError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.code
