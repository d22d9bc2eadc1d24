"""The metrics that there are, each described where it is made; ``docs/metrics.md`` is generated from that."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX = "dicom_router_"

# A further series for each counter, which says when it began, is a series that nobody asks for.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it


@dataclass(frozen=True, slots=True)
class Described:
    """One metric, for people."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Registry:
    """Metrics of one daemon, those of its process among them."""

    def __init__(self) -> None:
        self.collected = CollectorRegistry()
        self.described: list[Described] = []
        ProcessCollector(registry=self.collected)
        self.of_process: Sequence[Described] = [
            Described(
                family.name + ("_total" if family.type == "counter" else ""), family.type, (), family.documentation
            )
            for family in self.collected.collect()
        ]

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A count; ``name`` ends in ``_total``."""
        return Counter(self._describe(name, "counter", labels, meaning), meaning, labels, registry=self.collected)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """A value that goes up and down."""
        return Gauge(self._describe(name, "gauge", labels, meaning), meaning, labels, registry=self.collected)

    def histogram(self, name: str, meaning: str, bounds: Iterable[float], *labels: str) -> Histogram:
        """How long something takes, in seconds, in buckets up to each of ``bounds``."""
        full = self._describe(name, "histogram", labels, meaning)
        return Histogram(full, meaning, labels, buckets=tuple(bounds), registry=self.collected)

    def _describe(self, name: str, kind: str, labels: tuple[str, ...], meaning: str) -> str:
        self.described.append(Described(PREFIX + name, kind, labels, meaning))
        return PREFIX + name


def table(described: Iterable[Described]) -> str:
    """A table in Markdown."""
    rows = (
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |\n"
        for each in described
    )
    return "| name | type | labels | meaning |\n|---|---|---|---|\n" + "".join(rows)
