"""What the journal tells, counted."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

from router.admin.registry import Registry
from router.journal import (
    AssociationAccepted,
    AssociationLost,
    AssociationRefused,
    AssociationReleased,
    ConnectionRefused,
    DeadLetter,
    Defect,
    Delivered,
    DeliveryDeferred,
    DestinationTrouble,
    Event,
    FailedOver,
    Fallback,
    HistoryTrouble,
    InstanceAccepted,
    InstanceRefused,
    QuotaExceeded,
    Reloaded,
    ReloadRefused,
    Removed,
    SpoolTrouble,
    Started,
    StoreSucceeded,
    StrategiesFailed,
    Unexpected,
)
from router.rules.acceptance import Listener, names

OTHER: Final = "other"
"""A label for what has no name in the configuration."""

RECEIVING = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
DELIVERING = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
"""Upper bounds of histograms, in seconds: one object in a local network, and a night without the PACS."""

REASONS = {
    "RJ 1/1/2": "application context name not supported",
    "RJ 1/1/3": "calling AE title not recognized",
    "RJ 1/1/7": "called AE title not recognized",
    "RJ 1/2/2": "protocol version not supported",
    "RJ 2/3/2": "local limit exceeded",
}
"""Why associations are rejected, in the words of PS3.8 Table 9-21."""


class Counters:
    """A subscriber of the journal."""

    def __init__(self, registry: Registry, *, clock: Callable[[], datetime]) -> None:
        """Counters.

        Args:
            registry: where they are kept.
            clock: the time of day, for when something was last seen.
        """
        self._clock = clock
        self._source = _sources(())
        counter, gauge, histogram = registry.counter, registry.gauge, registry.histogram
        self._up_since = gauge("up_since_timestamp_seconds", "When the daemon became ready, since 1970; 0 before.")
        # In
        self._connections_rejected = counter(
            "connections_rejected_total", "Connections that ended before they became an association."
        )
        self._associations_active = gauge("associations_active", "Associations of peers that are open.")
        self._associations = counter(
            "associations_total",
            "Associations that peers asked for: accepted or rejected, for which reason (PS3.8 Table 9-21).",
            "outcome",
            "reason",
        )
        self._associations_ended = counter(
            "associations_ended_total", "Associations of peers that are over: released, or lost.", "outcome"
        )
        self._received = counter(
            "instances_received_total",
            "C-STOREs of peers, by source (as `allow` names it): queued, held, dropped, or refused.",
            "source",
            "outcome",
        )
        self._received_bytes = counter("received_bytes_total", "Bytes of payloads that were accepted.", "source")
        self._refused = counter("instances_refused_total", "C-STOREs that were answered with a failure.", "status")
        self._last_received = gauge(
            "source_last_received_timestamp_seconds", "When the latest instance was accepted, since 1970.", "source"
        )
        self._receive_duration = histogram(
            "receive_duration_seconds",
            "From the C-STORE-RQ to the commit, before the answer: network and disk.",
            RECEIVING,
        )
        # Out
        self._attempts = counter(
            "delivery_attempts_total",
            "Attempts at one instance: delivered, deferred, or dead; the reason is a cause of the queue.",
            "destination",
            "outcome",
            "reason",
        )
        self._delivered = counter(
            "delivered_instances_total", "Instances that a destination has, by strategy.", "destination", "strategy"
        )
        self._delivered_bytes = counter("delivered_bytes_total", "Bytes of payloads delivered.", "destination")
        self._converted = counter(
            "converted_instances_total", "Instances delivered in another transfer syntax than stored.", "destination"
        )
        self._latency = histogram(
            "delivery_latency_seconds", "From receiving an instance to its delivery.", DELIVERING, "destination"
        )
        self._last_success = gauge(
            "destination_last_success_timestamp_seconds", "When a C-STORE last succeeded, since 1970.", "destination"
        )
        self._trouble = counter(
            "destination_failures_total",
            "Times that a destination as a whole did not work, by cause.",
            "destination",
            "reason",
        )
        self._fallbacks = counter(
            "negotiation_fallback_total", "Falls to another strategy, by the one fallen to.", "destination", "strategy"
        )
        self._strategies_failed = counter(
            "strategies_failed_total", "Instances that no strategy could send, at one attempt.", "destination"
        )
        self._dead = counter("dead_letters_total", "Deliveries that were given up.", "destination")
        self._failed_over = counter(
            "failed_over_total", "Deliveries that moved from a destination in trouble to another.", "destination", "to"
        )
        self._given_up = counter(
            "quota_given_up_total", "Deliveries given up because more waited than the quota.", "destination"
        )
        self._per_destination = (
            self._given_up,
            self._delivered_bytes,
            self._converted,
            self._latency,
            self._strategies_failed,
            self._dead,
        )
        # The daemon itself
        self._removed = counter("payloads_removed_total", "Payloads removed because every destination has them.")
        self._spool_trouble = counter("spool_trouble_total", "Times that spool or queue could not do their work.")
        self._history_trouble = counter("history_trouble_total", "Times that the history could not be kept.")
        self._defects = counter("defects_total", "Errors in the router itself; please report them.")
        self._reload_successful = gauge("config_last_reload_successful", "1 unless the latest reload was refused.")
        self._reload_successful.set(1)
        self._reloaded = gauge(
            "config_last_reload_timestamp_seconds", "When a configuration was last put in force, since 1970."
        )
        self._warnings = counter("library_warnings_total", "Warnings and errors of libraries.")

    def configure(self, listeners: Iterable[Listener], destinations: Iterable[str]) -> None:
        """The names that are labels from now on; each destination has its series before anything happens."""
        self._source = _sources(listeners)
        for destination in destinations:
            for metric in self._per_destination:
                metric.labels(destination)

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915 -- a table, one row per kind of event
        """Count what happened."""
        match event:
            case InstanceAccepted():
                source = self._source(event.calling_ae_title)
                self._received.labels(source, event.outcome).inc()
                self._received_bytes.labels(source).inc(event.bytes)
                self._last_received.labels(source).set(self._now())
                self._receive_duration.observe(event.duration_ms / 1000)
            case StoreSucceeded():
                self._delivered.labels(event.destination, event.strategy).inc()
                self._delivered_bytes.labels(event.destination).inc(event.bytes)
                self._converted.labels(event.destination).inc(event.converted)
                self._last_success.labels(event.destination).set(self._now())
            case Delivered():
                self._attempts.labels(event.destination, "delivered", "").inc()
                self._latency.labels(event.destination).observe(event.duration_ms / 1000)
            case DeliveryDeferred():
                self._attempts.labels(event.destination, "deferred", event.cause or OTHER).inc()
            case DeadLetter():
                self._attempts.labels(event.destination, "dead", event.cause or OTHER).inc()
                self._dead.labels(event.destination).inc()
            case DestinationTrouble():
                self._trouble.labels(event.destination, event.cause or OTHER).inc()
            case Fallback():
                self._fallbacks.labels(event.destination, event.strategy).inc()
            case FailedOver(destination=(before, after)):
                self._failed_over.labels(before, after).inc(event.outcome)
            case QuotaExceeded():
                self._given_up.labels(event.destination).inc(event.outcome)
            case StrategiesFailed():
                self._strategies_failed.labels(event.destination).inc()
            case InstanceRefused():
                self._received.labels(self._source(event.calling_ae_title), "refused").inc()
                self._refused.labels(event.status).inc()
            case AssociationAccepted():
                self._associations.labels("accepted", "").inc()
                self._associations_active.inc()
            case AssociationRefused():
                self._associations.labels("rejected", REASONS.get(event.status, OTHER)).inc()
            case AssociationReleased():
                self._associations_ended.labels("released").inc()
                self._associations_active.dec()
            case AssociationLost():
                self._associations_ended.labels("lost").inc()
                self._associations_active.dec()
            case ConnectionRefused():
                self._connections_rejected.inc()
            case Started():
                self._up_since.set(self._now())
                self._reloaded.set(self._now())
            case Reloaded():
                self._reload_successful.set(1)
                self._reloaded.set(self._now())
            case ReloadRefused():
                self._reload_successful.set(0)
            case Removed():
                self._removed.inc(event.outcome)
            case SpoolTrouble():
                self._spool_trouble.inc()
            case HistoryTrouble():
                self._history_trouble.inc()
            case Defect():
                self._defects.inc()
            case Unexpected():
                self._warnings.inc()
            case _:
                pass  # gauges tell the rest, or nobody counts it

    def _now(self) -> float:
        return self._clock().timestamp()


def _sources(listeners: Iterable[Listener]) -> Callable[[str], str]:
    """Calling AE title → what `allow` calls it, titles before patterns; other, if it does not name it."""
    allowed = [each for listener in listeners for each in listener.allow if each.ae_title is not None]
    allowed.sort(key=lambda each: "*" in (each.ae_title or "") or "?" in (each.ae_title or ""))

    @lru_cache(maxsize=1024)
    def source(calling: str) -> str:
        return next((each.ae_title or OTHER for each in allowed if names(each, calling.strip(" "))), OTHER)

    return source
