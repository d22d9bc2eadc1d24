"""Gauges that are read when somebody scrapes: the queue, the spool, the health of the daemon."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import anyio
from anyio import to_thread
from prometheus_client import Gauge

from router.admin.counters import OTHER
from router.admin.health import Health
from router.admin.registry import Registry
from router.dicom.credentials import CredentialsError, Files, certificates
from router.durable.queue import Desk, QueueError, Tally
from router.model.delivery import OPEN, State
from router.model.destination import Destination
from router.rules.acceptance import Listener

FSYNCING = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10)
"""Upper bounds of a histogram, in seconds: from an NVMe disk to one that is about to die."""

NO_DESTINATION = "none"
"""A label for what no route took."""

FRESH_SECONDS = 3.0
FRESH_TIMES = 20
"""What the desk said holds for some seconds, and for twenty times as long as it took: a long queue is asked rarely."""


class Readings:
    """What stands in the queue and on the disk."""

    def __init__(
        self,
        registry: Registry,
        *,
        desk: Desk,
        health: Health,
        lines_lost: Callable[[], int],
        clock: Callable[[], datetime],
    ) -> None:
        """Readings.

        Args:
            registry: where they are kept.
            desk: asked on its own connection, never in the writer's way.
            health: knows disk and loop.
            lines_lost: of the log.
            clock: the time of day.
        """
        self._destinations: Sequence[str] = ()
        self._certified: dict[tuple[str, str], Files] = {}
        """What is encrypted: its kind and its name."""
        self._desk = desk
        self._health = health
        self._lines_lost = lines_lost
        self._clock = clock
        self._stale_at = -1.0
        self._owed: dict[str, datetime | None] = {}
        """Since when the oldest waits for each configured destination, as the desk said."""
        gauge = registry.gauge
        self._age = gauge(
            "queue_oldest_age_seconds",
            "How long ago the oldest instance was received that a destination is still owed; 0: nothing waits.",
            "destination",
        )
        self._entries = gauge("queue_entries", "Deliveries, by state.", "destination", "state")
        self._bytes = gauge("queue_bytes", "Bytes of their payloads, by state.", "destination", "state")
        self._up = gauge("destination_up", "1 while a destination works, as far as is known.", "destination")
        self._held = gauge(
            "destination_held",
            "1 while a destination is held: an administrator has to change something.",
            "destination",
        )
        self._paused = gauge("destination_paused", "1 while an operator keeps a destination back.", "destination")
        self._certificates = gauge(
            "tls_certificate_expiry_timestamp_seconds",
            "When a certificate, or the last CA in a file, ends, since 1970; missing: the file cannot be read.",
            "use",
            "name",
            "file",
        )
        self._readable = gauge("queue_readable", "1 while the queue answers; 0: the gauges of the queue are missing.")
        self._free = gauge("spool_free_bytes", "Free space on the disk of the spool.")
        self._size = gauge("spool_disk_bytes", "Size of the disk of the spool.")
        self._reserve = gauge("spool_reserve_bytes", "Free space below which instances are refused.")
        fsyncs = registry.histogram(
            "spool_fsync_duration_seconds",
            "How long the disk of the spool takes to have a payload, or its name, on stable storage.",
            FSYNCING,
        )
        health.disk.observe = fsyncs.observe
        self._ready = gauge("ready", "1 while `/readyz` says ready.")
        self._lag = gauge("event_loop_lag_seconds", "How late the event loop came to its latest beat.")
        self._lost = registry.counter(
            "log_events_dropped_total", "Log lines that found no room or could not be written."
        )
        self._lost_before = 0

    def configure(self, listeners: Iterable[Listener], destinations: Sequence[Destination]) -> None:
        """Those that are configured: no other name is a label."""
        self._destinations = [destination.name for destination in destinations]
        self._certified = {("listener", each.name): each.tls for each in listeners if each.tls is not None}
        self._certified |= {("destination", each.name): each.tls for each in destinations if each.tls is not None}
        self._stale_at = -1.0

    async def read(self) -> None:
        """Everything anew, but for what the desk said a moment ago."""
        began = anyio.current_time()
        if began >= self._stale_at:
            await self._read_queue()
            await to_thread.run_sync(self._read_certificates)
            ended = anyio.current_time()
            self._stale_at = ended + max(FRESH_SECONDS, FRESH_TIMES * (ended - began))
        for destination, oldest in self._owed.items():
            age = timedelta() if oldest is None else self._clock() - oldest
            self._age.labels(destination).set(max(0.0, age.total_seconds()))
        free, size, reserve = await to_thread.run_sync(self._health.space)
        self._free.set(free)
        self._size.set(size)
        self._reserve.set(reserve)
        self._ready.set(not await self._health.reasons())
        self._lag.set(self._health.lag)
        lost = self._lines_lost()
        self._lost.inc(lost - self._lost_before)
        self._lost_before = lost

    async def _read_queue(self) -> None:
        self._owed = {}
        for gauge in (self._entries, self._bytes, self._up, self._held, self._paused, self._age):
            gauge.clear()
        try:
            tallies, standings = await self._desk.tallies(), await self._desk.standings()
            paused = await self._desk.paused()
        except QueueError:
            self._readable.set(0)
            return
        self._readable.set(1)
        self._owed = dict.fromkeys(self._destinations)
        for name in self._destinations:
            for state in State:
                self._entries.labels(name, state)
        for tally in tallies:
            self._count(tally)
        for name, standing in standings.items():
            if name in self._destinations:
                self._up.labels(name).set(not standing.failures and not standing.held)
                self._held.labels(name).set(standing.held)
                self._paused.labels(name).set(name in paused)

    def _read_certificates(self) -> None:
        self._certificates.clear()
        for (use, name), tls in self._certified.items():
            with suppress(CredentialsError):
                for each in certificates(tls):
                    self._certificates.labels(use, name, str(each.path)).set(each.not_after.timestamp())

    def _count(self, tally: Tally) -> None:
        name = tally.destination if tally.destination in self._destinations else OTHER
        name = name if tally.destination else NO_DESTINATION
        _add(self._entries, name, tally.state, tally.deliveries)
        _add(self._bytes, name, tally.state, tally.size)
        if name in self._owed and tally.state in OPEN and tally.oldest is not None:
            self._owed[name] = min(tally.oldest, self._owed[name] or tally.oldest)


def _add(gauge: Gauge, destination: str, state: State, value: float) -> None:
    gauge.labels(destination, state).inc(value)
