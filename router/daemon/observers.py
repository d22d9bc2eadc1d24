"""Who looks on: health, metrics, activity, the supervisor and alerts follow the journal and ask, and move nothing."""

from collections.abc import Callable, Mapping

import anyio.abc

from router.admin import Activity, Alerts, Concerns, Health, Metrics, Systemd, WatchedDisk
from router.daemon.clock import now
from router.daemon.store import Store
from router.flow.forwarders import Forwarders
from router.journal import Journal
from router.settings import Configuration


class Observers:
    """All of one daemon."""

    def __init__(
        self,
        store: Store,
        forwarders: Forwarders,
        *,
        configuration: Configuration,
        journal: Journal,
        disk: WatchedDisk,
        environment: Mapping[str, str],
        running: Callable[[], bool],
        lines_lost: Callable[[], int],
    ) -> None:
        """They subscribe to the journal.

        Args:
            store: what they ask.
            forwarders: likewise.
            configuration: to begin with.
            journal: what happens.
            disk: what it noticed.
            environment: in which a supervisor says where it wants to be told.
            running: whether the daemon is between start and stop.
            lines_lost: of the log, so far.
        """
        desk = store.desk
        self.health = Health(
            standings=store.queue.standings,
            spool=store.spool,
            disk=disk,
            reserve=configuration.spool.reserve.of,
            listening=running,
        )
        self.metrics = Metrics(desk=desk, health=self.health, clock=now, lines_lost=lines_lost)
        self.activity = Activity(now)
        self.systemd = Systemd(environment, health=self.health, forwarders=forwarders, desk=desk)
        self._concerns = Concerns(desk=desk, health=self.health, forwarders=forwarders, clock=now)
        self._alerts = Alerts(self._concerns, journal=journal, clock=now)
        self.configure(configuration)
        for subscriber in (self.metrics, self.activity, self.systemd, self._concerns):
            journal.subscribe(subscriber)

    def configure(self, configuration: Configuration) -> None:
        """What there is to look at from now on."""
        self.metrics.configure(configuration.listeners, configuration.destinations)
        self.activity.configure(destination.name for destination in configuration.destinations)
        self._concerns.configure(configuration)
        self._alerts.configure(configuration.alerts)

    def start(self, serving: anyio.abc.TaskGroup) -> None:
        """Look on from now on, also while the daemon starts."""
        serving.start_soon(self.health.run)
        serving.start_soon(self.systemd.run)

    def started(self, serving: anyio.abc.TaskGroup) -> None:
        """The daemon has started: what is wrong from now on is worth an alert."""
        serving.start_soon(self._alerts.run)
