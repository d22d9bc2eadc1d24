"""Every metric moves when what it counts happens, and no label comes from a peer."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from prometheus_client import generate_latest

from router.admin.counters import Counters
from router.admin.guard import Objection
from router.admin.metrics import reference
from router.admin.readings import FRESH_SECONDS
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
    LinesLost,
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
from router.model.delivery import Standing
from router.model.destination import Destination
from router.model.outcome import Cause
from router.model.tls import TlsClient, TlsServer
from router.rules.acceptance import Allowed, Listener
from tests.admin.served import Served
from tests.certificates import Authority
from tests.durable.world import NOON

pytestmark = pytest.mark.unit

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
SOURCE = Path(__file__).read_text()
PATIENT = "DOE^JOHN"
UID = "1.2.840.4711"

ACCEPTED = InstanceAccepted(
    association="A1",
    calling_ae_title="CT1",
    called_ae_title="ROUTER",
    peer="192.0.2.7",
    instance=UID,
    study=UID,
    sop_class=UID,
    stored_transfer_syntax=UID,
    bytes=1000,
    digest="d",
    destination=("PACS",),
    route=("everything",),
    outcome="queued",
    duration_ms=120.0,
)
REFUSED = InstanceRefused(
    association="A1",
    calling_ae_title=PATIENT,
    peer="192.0.2.7",
    instance=UID,
    sop_class=UID,
    stored_transfer_syntax=UID,
    status="A700H",
    error="the spool has reached its reserve",
)
STORED = StoreSucceeded(
    destination="PACS",
    instance=UID,
    sop_class=UID,
    stored_transfer_syntax=UID,
    transfer_syntax=UID,
    converted=True,
    strategy="universal",
    attempts=2,
    bytes=1000,
    status="0000H",
    accepted_contexts=1,
    rejected_contexts=0,
)
ASSOCIATED = AssociationAccepted(
    association="A1",
    calling_ae_title="CT1",
    called_ae_title="ROUTER",
    peer="192.0.2.7",
    accepted_contexts=1,
    rejected_contexts=0,
)
RELEASED = AssociationReleased(association="A1", calling_ae_title="CT1", peer="192.0.2.7", duration_ms=1.0)
LOST = AssociationLost(association="A1", calling_ae_title="CT1", peer="192.0.2.7", error=PATIENT, duration_ms=1.0)
DEFERRED = DeliveryDeferred(
    destination="PACS",
    instance=UID,
    study=UID,
    attempt=1,
    status="A700H",
    cause=Cause.OUT_OF_RESOURCES,
    error="later",
    next_attempt_at=None,
)
DEAD = DeadLetter(
    destination="PACS", instance=UID, study=UID, attempt=9, status="C000H", cause=Cause.CANNOT_UNDERSTAND, error="no"
)
TROUBLE = DestinationTrouble(
    destination="PACS", attempt=1, cause=Cause.CONNECT_FAILED, error="nobody answers", next_attempt_at=None
)

Sample = tuple[str, frozenset[tuple[str, str]]]
Samples = Mapping[Sample, float]

_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def refused(status: str) -> AssociationRefused:
    """An association that was rejected."""
    return AssociationRefused(
        association="A1", calling_ae_title=PATIENT, called_ae_title=PATIENT, peer="192.0.2.7", status=status, error=""
    )


def parsed(text: str) -> Samples:
    """The samples of an exposition, without the prefix of their names."""
    return {
        (name.removeprefix("dicom_router_"), frozenset(_LABEL.findall(labels))): float(value)
        for name, labels, value in _LINE.findall(text)
    }


def sample(name: str, **labels: str) -> Sample:
    """One of them."""
    return name, frozenset(labels.items())


async def scraped(api: Served) -> Samples:
    """What a scrape is told."""
    return parsed((await api.metrics.exposition()).decode())


LISTENER = Listener(allow=(Allowed("C*"), Allowed("CT1"), Allowed("MR [1]"), Allowed(None)))
DESTINATIONS = [Destination(name, name, "pacs", 104) for name in ("PACS", "RESEARCH")]


@pytest.fixture
async def metrics(api: Served) -> Served:
    """An API whose configuration names two destinations, an AE title and a pattern."""
    api.metrics.configure([LISTENER], DESTINATIONS)
    return api


class Counted:
    """Counters by themselves."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.counters = Counters(self.registry, clock=lambda: NOON)
        self.counters.configure([LISTENER], [each.name for each in DESTINATIONS])

    def samples(self) -> Samples:
        """What a scrape is told."""
        return parsed(generate_latest(self.registry.collected).decode())


@pytest.mark.parametrize(
    ("events", "moved"),
    [
        ([Started(version="1")], {sample("up_since_timestamp_seconds"): NOON.timestamp()}),
        ([ConnectionRefused(peer="192.0.2.7", error=PATIENT)], {sample("connections_rejected_total"): 1}),
        (
            [ASSOCIATED, ASSOCIATED, ASSOCIATED, RELEASED, LOST],
            {
                sample("associations_active"): 1,
                sample("associations_total", outcome="accepted", reason=""): 3,
                sample("associations_ended_total", outcome="released"): 1,
                sample("associations_ended_total", outcome="lost"): 1,
            },
        ),
        (
            [refused("RJ 1/1/3"), refused("RJ 9/9/9")],
            {
                sample("associations_total", outcome="rejected", reason="calling AE title not recognized"): 1,
                sample("associations_total", outcome="rejected", reason="other"): 1,
                sample("associations_active"): 0,
            },
        ),
        (
            [ACCEPTED, ACCEPTED],
            {
                sample("instances_received_total", source="CT1", outcome="queued"): 2,
                sample("received_bytes_total", source="CT1"): 2000,
                sample("source_last_received_timestamp_seconds", source="CT1"): NOON.timestamp(),
                sample("receive_duration_seconds_count"): 2,
                sample("receive_duration_seconds_sum"): 0.24,
                sample("receive_duration_seconds_bucket", le="0.1"): 0,
                sample("receive_duration_seconds_bucket", le="0.25"): 2,
            },
        ),
        (
            [REFUSED],
            {
                sample("instances_received_total", source="other", outcome="refused"): 1,
                sample("instances_refused_total", status="A700H"): 1,
            },
        ),
        (
            [STORED],
            {
                sample("delivered_instances_total", destination="PACS", strategy="universal"): 1,
                sample("delivered_bytes_total", destination="PACS"): 1000,
                sample("delivered_bytes_total", destination="RESEARCH"): 0,
                sample("converted_instances_total", destination="PACS"): 1,
                sample("destination_last_success_timestamp_seconds", destination="PACS"): NOON.timestamp(),
            },
        ),
        (
            [Delivered(destination="PACS", instance=UID, study=UID, duration_ms=1500.0)],
            {
                sample("delivery_attempts_total", destination="PACS", outcome="delivered", reason=""): 1,
                sample("delivery_latency_seconds_sum", destination="PACS"): 1.5,
                sample("delivery_latency_seconds_count", destination="RESEARCH"): 0,
            },
        ),
        (
            [DEFERRED],
            {
                sample(
                    "delivery_attempts_total",
                    destination="PACS",
                    outcome="deferred",
                    reason="peer is out of resources",
                ): 1
            },
        ),
        (
            [DEAD],
            {
                sample(
                    "delivery_attempts_total",
                    destination="PACS",
                    outcome="dead",
                    reason="peer cannot understand the object",
                ): 1,
                sample("dead_letters_total", destination="PACS"): 1,
                sample("dead_letters_total", destination="RESEARCH"): 0,
            },
        ),
        ([TROUBLE], {sample("destination_failures_total", destination="PACS", reason="connect failed"): 1}),
        (
            [Fallback(destination="PACS", strategy="universal", strategies_tried=("standard",), error=PATIENT)],
            {sample("negotiation_fallback_total", destination="PACS", strategy="universal"): 1},
        ),
        (
            [
                StrategiesFailed(
                    destination="PACS",
                    instance=UID,
                    sop_class=UID,
                    stored_transfer_syntax=UID,
                    strategies_tried=("universal",),
                    attempts=1,
                    error=PATIENT,
                )
            ],
            {sample("strategies_failed_total", destination="PACS"): 1},
        ),
        ([Removed(outcome=7)], {sample("payloads_removed_total"): 7}),
        (
            [FailedOver(destination=("PACS", "RESEARCH"), outcome=5)],
            {sample("failed_over_total", destination="PACS", to="RESEARCH"): 5},
        ),
        (
            [QuotaExceeded(destination="PACS", outcome=2, bytes=1000, error=PATIENT)],
            {sample("quota_given_up_total", destination="PACS"): 2},
        ),
        ([HistoryTrouble(error=PATIENT)], {sample("history_trouble_total"): 1}),
        ([Defect(peer="192.0.2.7", error=PATIENT)], {sample("defects_total"): 1}),
        ([SpoolTrouble(error=PATIENT)], {sample("spool_trouble_total"): 1}),
        ([Unexpected(error=PATIENT)], {sample("library_warnings_total"): 1}),
        ([ReloadRefused(error=PATIENT)], {sample("config_last_reload_successful"): 0}),
        (
            [ReloadRefused(error=PATIENT), Reloaded()],
            {
                sample("config_last_reload_successful"): 1,
                sample("config_last_reload_timestamp_seconds"): NOON.timestamp(),
            },
        ),
    ],
)
def test_counters_follow_the_journal(events: list[Event], moved: Mapping[Sample, float]) -> None:
    """What happened is counted, and nothing of a peer's gets into a label."""
    counted = Counted()
    before = counted.samples()
    for event in events:
        counted.counters(event)
    after = counted.samples()
    assert {each: after[each] for each in moved} == pytest.approx(moved)
    assert any(before.get(each) != value for each, value in moved.items())
    told = str(after)
    assert not any(each in told for each in (PATIENT, UID, "192.0.2.7"))


def test_what_nobody_counts_changes_nothing() -> None:
    """The log's own loss is read at a scrape."""
    counted = Counted()
    before = counted.samples()
    counted.counters(LinesLost(error=""))
    assert _ours(counted.samples()) == _ours(before)


def _ours(samples: Samples) -> Samples:
    return {each: value for each, value in samples.items() if not each[0].startswith("process_")}


@pytest.mark.parametrize(
    ("calling", "source"),
    [("CT1", "CT1"), (" CT1 ", "CT1"), ("CT2", "C*"), ("MR [1]", "MR [1]"), ("MR 1", "other"), (PATIENT, "other")],
)
def test_a_source_is_called_as_the_configuration_names_it(calling: str, source: str) -> None:
    """Its AE title before a pattern; whoever is not named is one of the others."""
    counted = Counted()
    counted.counters(replace(ACCEPTED, calling_ae_title=calling))
    assert counted.samples()[sample("instances_received_total", source=source, outcome="queued")] == 1


async def test_names_that_were_configured_at_first_may_be_others_after_a_reload(metrics: Served) -> None:
    """From then on the new ones are labels."""
    metrics.metrics.configure([Listener(allow=(Allowed("MR*"),))], [Destination("NEW", "NEW", "pacs", 104)])
    metrics.metrics(ACCEPTED)
    samples = await scraped(metrics)
    assert samples[sample("instances_received_total", source="other", outcome="queued")] == 1
    assert samples[sample("queue_oldest_age_seconds", destination="NEW")] == 0
    assert sample("queue_oldest_age_seconds", destination="PACS") not in samples


async def test_the_queue_is_told_per_destination_and_state(metrics: Served) -> None:
    """One waits for PACS and one is dead, one waits for RESEARCH, and one found no route."""
    metrics.world.clock.advance(timedelta(minutes=10))
    samples = await scraped(metrics)
    entries = {
        (destination, state): samples.get(sample("queue_entries", destination=destination, state=state))
        for destination in ("PACS", "RESEARCH", "none", "other")
        for state in ("queued", "dead", "held")
    }
    assert {key: value for key, value in entries.items() if value} == {
        ("PACS", "queued"): 1,
        ("PACS", "dead"): 1,
        ("RESEARCH", "queued"): 1,
        ("none", "held"): 1,
    }
    size = samples[sample("queue_bytes", destination="PACS", state="queued")]
    assert size == samples[sample("queue_bytes", destination="none", state="held")] > 0
    assert samples[sample("queue_oldest_age_seconds", destination="PACS")] == 600
    assert samples[sample("queue_readable")] == 1


async def test_a_destination_that_is_owed_nothing_has_age_zero(metrics: Served) -> None:
    """Dead letters do not wait for the destination, they wait for an operator."""
    metrics.metrics.configure([], [Destination("IDLE", "IDLE", "pacs", 104)])
    metrics.world.clock.advance(timedelta(minutes=10))
    samples = await scraped(metrics)
    assert samples[sample("queue_oldest_age_seconds", destination="IDLE")] == 0
    assert samples[sample("queue_entries", destination="IDLE", state="queued")] == 0


async def test_destinations_that_are_not_configured_are_one(metrics: Served) -> None:
    """Whatever they were called: the queue may still have something for them."""
    metrics.metrics.configure([], [Destination("PACS", "PACS", "pacs", 104)])
    await metrics.world.accepted("RESEARCH", sop_instance="2.25.15")
    samples = await scraped(metrics)
    assert samples[sample("queue_entries", destination="other", state="queued")] == 2
    assert not any(("destination", "RESEARCH") in labels for name, labels in samples if name.startswith("queue"))


async def test_a_destination_is_up_until_it_fails_or_is_held(metrics: Served) -> None:
    """As the queue has it stored."""
    up, held = (sample(name, destination="PACS") for name in ("destination_up", "destination_held"))
    samples = await scraped(metrics)
    assert (samples[up], samples[held]) == (1, 0)
    for standing, expected in ((Standing(failures=3), (0, 0)), (Standing(held=True), (0, 1))):
        await metrics.world.queue.standings.stand("PACS", standing, metrics.world.clock())
        metrics.metrics.configure([], [Destination("PACS", "PACS", "pacs", 104)])
        samples = await scraped(metrics)
        assert (samples[up], samples[held]) == expected


async def test_a_destination_that_an_operator_keeps_back_is_paused(metrics: Served) -> None:
    """Which is no failure of its own."""
    assert (await scraped(metrics))[sample("destination_paused", destination="PACS")] == 0
    await metrics.world.queue.interventions.pause("PACS", metrics.world.clock(), paused=True)
    metrics.metrics.configure([], DESTINATIONS)
    samples = await scraped(metrics)
    assert samples[sample("destination_paused", destination="PACS")] == 1
    assert samples[sample("destination_paused", destination="RESEARCH")] == 0


async def test_the_end_of_every_certificate_is_told(metrics: Served, tmp_path: Path) -> None:
    """Of those that listeners and destinations use; a file that cannot be read has none."""
    authority = await to_thread.run_sync(Authority, tmp_path)
    ours = await to_thread.run_sync(authority.issue, "router")
    encrypted = Listener(name="tls", tls=TlsServer(ours.certificate, ours.key, client_ca=authority.path))
    sound = replace(DESTINATIONS[0], tls=TlsClient(ca=authority.path))
    broken = replace(DESTINATIONS[1], tls=TlsClient(ca=tmp_path / "missing.pem"))
    metrics.metrics.configure([encrypted], [sound, broken])
    found = {
        tuple(dict(labels)[each] for each in ("use", "name", "file")): value
        for (name, labels), value in (await scraped(metrics)).items()
        if name == "tls_certificate_expiry_timestamp_seconds"
    }
    assert found.keys() == {
        ("listener", "tls", str(ours.certificate)),
        ("listener", "tls", str(authority.path)),
        ("destination", "PACS", str(authority.path)),
    }
    assert min(found.values()) > NOON.timestamp() - 100 * 366 * 86400


async def test_the_desk_is_not_asked_at_every_scrape(metrics: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said holds for a while; ages go on."""
    age = sample("queue_oldest_age_seconds", destination="RESEARCH")
    entries = sample("queue_entries", destination="RESEARCH", state="queued")
    assert (await scraped(metrics))[age] == 0
    await metrics.world.accepted("RESEARCH", sop_instance="2.25.15")
    metrics.world.clock.advance(timedelta(seconds=30))
    samples = await scraped(metrics)
    assert (samples[age], samples[entries]) == (30, 1)
    later = anyio.current_time() + 1000 * FRESH_SECONDS
    monkeypatch.setattr("router.admin.readings.anyio.current_time", lambda: later)
    assert (await scraped(metrics))[entries] == 2


async def test_a_queue_that_cannot_be_asked_takes_nothing_else_with_it(metrics: Served) -> None:
    """The counters are told all the same, and the gauges of the queue are missing rather than wrong."""
    await to_thread.run_sync(metrics.world.desk.close)
    metrics.metrics(ACCEPTED)
    samples = await scraped(metrics)
    assert samples[sample("queue_readable")] == 0
    assert sample("queue_entries", destination="PACS", state="dead") not in samples
    assert samples[sample("instances_received_total", source="CT1", outcome="queued")] == 1


async def test_spool_loop_and_log_are_read_at_a_scrape(metrics: Served) -> None:
    """Room on the disk and the reserve, how late the loop is, lines that were lost, whether it is ready."""
    metrics.reserve = 4096
    metrics.lines_lost = 3
    metrics.health.lag = 0.25
    samples = await scraped(metrics)
    assert 0 < samples[sample("spool_free_bytes")] <= samples[sample("spool_disk_bytes")]
    assert samples[sample("spool_reserve_bytes")] == 4096
    assert samples[sample("event_loop_lag_seconds")] == 0.25
    assert samples[sample("log_events_dropped_total")] == 3
    assert samples[sample("ready")] == 1
    metrics.lines_lost, metrics.listening = 5, False
    samples = await scraped(metrics)
    assert samples[sample("log_events_dropped_total")] == 5
    assert samples[sample("ready")] == 0


async def test_every_fsync_of_the_spool_is_timed(metrics: Served) -> None:
    """Of payloads and of folders."""
    count = sample("spool_fsync_duration_seconds_count")
    before = (await scraped(metrics))[count]
    await metrics.world.accepted("PACS", sop_instance="2.25.15")
    assert (await scraped(metrics))[count] >= before + 2


async def test_refusals_of_the_guard_are_counted(metrics: Served) -> None:
    """By what was objected to."""
    metrics.metrics.objected(Objection.TOKEN)
    assert (await scraped(metrics))[sample("http_requests_refused_total", reason="token")] == 1


async def test_build_and_process_are_told(metrics: Served) -> None:
    """The version, memory, descriptors."""
    samples = await scraped(metrics)
    assert [dict(labels).keys() for name, labels in samples if name == "build_info"] == [{"version", "python"}]
    assert samples[sample("process_resident_memory_bytes")] > 0
    assert samples[sample("process_open_fds")] > 0


async def test_every_metric_has_a_test_that_makes_it_move(metrics: Served) -> None:
    """Its name stands in this file; that it moves, the tests above see."""
    for each in metrics.metrics.registry.described:
        assert f'"{each.name.removeprefix("dicom_router_")}' in SOURCE, each.name
        assert each.kind != "counter" or each.name.endswith("_total")


async def test_the_document_is_current(metrics: Served) -> None:
    """``docs/metrics.md`` is what ``reference`` says, word for word."""
    assert reference(metrics.metrics) == DOCUMENT
