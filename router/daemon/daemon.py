"""Everything that runs, and the order in which it starts and stops."""

import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from operator import attrgetter
from random import SystemRandom
from types import MappingProxyType

import anyio
import anyio.abc
import anyio.to_thread

from router import __version__
from router.admin import Guard, Sessions, WatchedDisk, application, serve, serve_tcp
from router.daemon.clock import now
from router.daemon.listeners import Listeners
from router.daemon.observers import Observers
from router.daemon.starting import StartError, starting
from router.daemon.store import Store
from router.dicom.buffers import Buffers
from router.dicom.survey import tags
from router.dicom.transcode.pool import Transcoder
from router.durable.queue import QueueError
from router.flow.choices import Choices
from router.flow.failover import Failover
from router.flow.forwarder import Forwarder
from router.flow.forwarders import Forwarders
from router.flow.intake import Admission, Intake, Routing
from router.flow.janitor import Janitor
from router.journal import Draining, Journal, Reloaded, ReloadRefused, SpoolTrouble, Started, Stopped, divert_libraries
from router.model.destination import Destination
from router.settings import Configuration, ConfigurationError, Problem


class Daemon:
    """One router."""

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
        disk = WatchedDisk()
        self._store = store = Store(configuration, journal, disk)
        self._transcoder = Transcoder(store.converted)
        # Nobody has buffers here: each listener and each destination has its own, so that none waits for another.
        self._buffers = Buffers(0)
        reserve = configuration.spool.reserve.of
        self._forwarders = Forwarders(self._forwarder)
        choices = Choices(store.desk, self._forwarders.avoided)
        routing = _routing(configuration)
        self._admission = Admission(store.spool, store.queue, routing, journal=journal, clock=now, choices=choices)
        self._intake = Intake(store.spool, self._admission, routing.wanted, journal=journal, reserve=reserve)
        self._listeners = Listeners(self._intake, journal=journal, buffers=self._buffers, environment=environment)
        self._failover = Failover(
            store.queue,
            choices,
            routes=lambda: self._admission.routing.routes,
            troubled_since=self._forwarders.troubled_since,
            journal=journal,
            clock=now,
        )
        self._janitor = Janitor(
            store.spool,
            store.queue,
            store.desk,
            store.history,
            journal=journal,
            clock=now,
            keep_delivered=configuration.spool.keep_delivered,
            reserve=reserve,
        )
        self._observers = Observers(
            store,
            self._forwarders,
            configuration=configuration,
            journal=journal,
            disk=disk,
            environment=environment,
            running=lambda: self._running,
            lines_lost=lines_lost,
        )
        self._guard: Guard
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
            async with self._store.opened(), anyio.create_task_group() as serving:
                serving.start_soon(self._obey, signals, serving)
                with starting():
                    await self._recover()
                    await self._serve_http(serving)
                serving.start_soon(self._janitor.run)
                serving.start_soon(self._failover.run)
                self._observers.start(serving)
                async with anyio.create_task_group() as self._moving:
                    with starting():
                        self._forwarders.configure(self._configuration.destinations, self._moving)
                        await self._listeners.open(self._configuration.listeners, self._moving)
                    self._running = True
                    self._journal.publish(Started(version=__version__))
                    self._observers.started(serving)
                    task_status.started(self._listeners.ports)
                serving.cancel_scope.cancel()
        self._journal.publish(Stopped())

    async def rebuild(self) -> None:
        """Make the queue again, and end.

        Raises:
            StartError: alone or in a group; another daemon works on the spool, or something cannot be had.
        """
        divert_libraries(self._journal)
        async with self._store.opened(anew=True):
            with starting():
                await self._recover()

    async def _recover(self) -> None:
        queue, history = self._store.queue, self._store.history
        if queue.damage:
            self._journal.publish(SpoolTrouble(error=queue.damage))
        await self._janitor.recover(self._admission.routing, new_queue=queue.new, new_history=history.new)
        await self._configure_queue(self._configuration)

    async def _serve_http(self, serving: anyio.abc.TaskGroup) -> None:
        """The same API for commands and for browsers."""
        store, observers = self._store, self._observers
        sessions = Sessions(lambda: self._configuration.http.tokens, now)
        api = application(
            desk=store.desk,
            interventions=store.queue.interventions,
            spool=store.spool,
            history=store.history,
            forwarders=self._forwarders,
            activity=observers.activity,
            reload=self.reload,
            health=observers.health,
            metrics=observers.metrics,
            sessions=sessions,
            configuration=lambda: self._configuration,
            clock=now,
        )
        self._guard = Guard(api, self._configuration.http, sessions=sessions, objected=observers.metrics.objected)
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
        async with self._reloading:  # what a reload has begun would otherwise go on after this
            self._journal.publish(Draining())
            self._listeners.stop()
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
        self._observers.systemd.reloading()
        try:
            configuration = await anyio.to_thread.run_sync(self._read)
        except ConfigurationError as error:
            return error.problems
        if problems := _unchangeable(self._configuration, configuration):
            return problems
        try:
            await self._listeners.open(configuration.listeners, self._moving)
            await self._configure_queue(configuration)
        except (StartError, QueueError) as error:
            self._listeners.configure(self._configuration.listeners)
            return [str(error)]
        self._configuration = configuration
        self._admission.routing = _routing(configuration)
        self._intake.wanted = self._admission.routing.wanted
        self._forwarders.configure(configuration.destinations, self._moving)
        self._listeners.configure(configuration.listeners)
        self._guard.settings = configuration.http
        self._observers.configure(configuration)
        try:
            # What was accepted for an old name until now is carried over as well.
            await self._configure_queue(configuration)
        except QueueError as error:
            sentence = f"what arrived during the reload may wait for another one: {error}"
            self._journal.publish(SpoolTrouble(error=sentence))
        return []

    # What a configuration has running

    async def _configure_queue(self, configuration: Configuration) -> None:
        names = {destination.name: destination.renamed_from for destination in configuration.destinations}
        await self._store.queue.standings.configured(names, now())

    def _forwarder(self, destination: Destination) -> Forwarder:
        return Forwarder(
            destination,
            queue=self._store.queue,
            standings=self._store.queue.standings,
            capabilities=self._store.queue.capabilities,
            spool=self._store.spool,
            transcoder=self._transcoder,
            buffers=self._buffers.apart(destination.max_associations),
            journal=self._journal,
            clock=now,
            chance=SystemRandom().random,
        )


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
