"""Metrics for Prometheus: counters that follow the journal, gauges that are read when somebody scrapes.

Labels come from the configuration and from closed lists, never from a peer: an AE title that nobody configured is
``other``. So neither a hostile peer nor a busy day can make more series, and nothing about a patient is in them.
"""

import platform
from collections.abc import Callable, Sequence
from datetime import datetime

from anyio import Lock, to_thread
from prometheus_client import generate_latest

from router import __version__
from router.admin.counters import Counters
from router.admin.guard import Objection
from router.admin.health import Health
from router.admin.readings import Readings
from router.admin.registry import Registry, table
from router.durable.queue import Desk
from router.journal import Event
from router.model.destination import Destination
from router.rules.acceptance import Listener

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All of one daemon."""

    def __init__(
        self, *, desk: Desk, health: Health, clock: Callable[[], datetime], lines_lost: Callable[[], int] = int
    ) -> None:
        """Metrics; subscribe them to the journal.

        Args:
            desk: asked at a scrape.
            health: likewise.
            clock: the time of day.
            lines_lost: of the log, so far.
        """
        self.registry = Registry()
        self._counters = Counters(self.registry, clock=clock)
        self._readings = Readings(self.registry, desk=desk, health=health, lines_lost=lines_lost, clock=clock)
        self._objections = self.registry.counter(
            "http_requests_refused_total", "Requests over TCP refused for their Host, Origin, token or role.", "reason"
        )
        build = self.registry.gauge("build_info", "1; the labels say what runs.", "version", "python")
        build.labels(__version__, platform.python_version()).set(1)
        self._turn = Lock()

    def __call__(self, event: Event) -> None:
        """Count what happened."""
        self._counters(event)

    def objected(self, objection: Objection) -> None:
        """A request was refused by the guard."""
        self._objections.labels(objection).inc()

    def configure(self, listeners: Sequence[Listener], destinations: Sequence[Destination]) -> None:
        """The names that may be labels from now on."""
        known = [destination.name for destination in destinations]
        self._counters.configure(listeners, known)
        self._readings.configure(listeners, destinations)

    async def exposition(self) -> bytes:
        """What a scrape is answered."""
        async with self._turn:
            await self._readings.read()
            return await to_thread.run_sync(generate_latest, self.registry.collected)


def reference(metrics: Metrics) -> str:
    """``docs/metrics.md``."""
    registry = metrics.registry
    return f"""\
# Metrics

`GET /metrics` in the text format of Prometheus, over TCP (section `http` of the configuration) and over the Unix
socket. Labels come from the configuration and from closed lists, never from a peer: `other` stands for what the
configuration does not name, the destination `none` for what no route took. `source` is the AE title or pattern under
`listen.allow`. Of all of them `dicom_router_queue_oldest_age_seconds` is the one to alert on.

This page is generated from the code; a test compares the two.

{table(sorted(registry.described, key=lambda each: each.name))}
The process itself:

{table(registry.of_process)}"""
