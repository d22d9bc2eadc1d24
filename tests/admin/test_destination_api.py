"""How destinations stand, and what operators order for them."""

from datetime import timedelta

import pytest

from router.admin.destination_bodies import STATES
from router.durable.queue import Seen
from router.journal import AssociationAccepted, DestinationTrouble, InstanceAccepted, StoreSucceeded
from router.model.delivery import Order, Standing, State, Wanted
from router.model.outcome import Cause
from router.rules.pacing import Reason, Wait
from tests.admin.served import Served

pytestmark = pytest.mark.unit

SENT = StoreSucceeded(
    destination="PACS",
    instance="2.25.1",
    sop_class="1.2.3",
    stored_transfer_syntax="1.2.840.10008.1.2",
    transfer_syntax="1.2.840.10008.1.2",
    converted=False,
    strategy="universal",
    attempts=1,
    bytes=1000,
    status="0000H",
    accepted_contexts=1,
    rejected_contexts=0,
)


async def test_status_tells_why_a_destination_does_not_work_and_until_when(api: Served) -> None:
    """State, cause, error, time; how many associations; what went well and wrong lately."""
    world = api.world
    later = world.clock() + timedelta(minutes=5)
    standing = Standing(3, later, cause=Cause.CONNECT_FAILED, error="Nobody is there", since=world.clock())
    await world.queue.standings.stand("PACS", standing, world.clock())
    forwarder = api.forwarders["PACS"]
    forwarder.says, forwarder.associations = Wait(Reason.IN_TROUBLE, later), (1, 2)
    api.activity(SENT)
    trouble = DestinationTrouble(destination="PACS", attempt=3, error="Nobody is there", next_attempt_at=later)
    world.clock.advance(timedelta(minutes=1))
    api.activity(trouble)
    (pacs,) = [each for each in (await api.get("/api/status"))["destinations"] if each["name"] == "PACS"]
    assert (pacs["state"], pacs["until"]) == ("in trouble", "2031-05-07T12:05:00Z")
    assert (pacs["cause"], pacs["error"], pacs["failures"]) == ("connect failed", "Nobody is there", 3)
    assert (pacs["associations_open"], pacs["associations_allowed"]) == (1, 2)
    assert (pacs["last_success_at"], pacs["last_error_at"]) == ("2031-05-07T12:00:00Z", "2031-05-07T12:01:00Z")
    assert pacs["last_error"] == "Nobody is there"
    assert pacs["per_minute"] == 0.2


async def test_what_waits_is_what_is_queued_or_in_flight(api: Served) -> None:
    """Its oldest is not something that was delivered, held or given up long ago."""
    world = api.world
    world.clock.advance(timedelta(hours=1))
    await world.accepted("PACS", sop_instance="2.25.20")
    claim = await world.queue.claim("PACS", "test", Wanted(1), world.clock())
    (pacs,) = [each for each in (await api.get("/api/status"))["destinations"] if each["name"] == "PACS"]
    assert [each.id for each in claim.deliveries] == [1]
    size = pacs["waiting"].pop("bytes")
    assert size == sum(pacs["deliveries"][state]["bytes"] for state in ("queued", "in flight"))
    assert pacs["waiting"] == {"deliveries": 2, "oldest": "2031-05-07T12:00:00Z"}
    await world.queue.give_back(claim)
    await world.queue.interventions.drop([1], world.clock())
    (pacs,) = [each for each in (await api.get("/api/status"))["destinations"] if each["name"] == "PACS"]
    assert pacs["waiting"]["oldest"] == "2031-05-07T13:00:00Z"


async def test_what_is_kept_for_no_destination_has_its_line(api: Served) -> None:
    """For no route, and for a name that is not configured."""
    await api.world.accepted(Order("GONE", State.HELD, Cause.NOT_CONFIGURED, "not configured"))
    states = {each["name"]: each["state"] for each in (await api.get("/api/status"))["destinations"]}
    assert states == {"": "no route", "GONE": "not configured", "PACS": "works", "RESEARCH": "works"}


async def test_status_tells_who_is_sending_to_us_and_what_room_there_is(api: Served) -> None:
    """Open associations of the listeners, with what came over each; bytes of the disk."""
    opened = AssociationAccepted(
        association="a7",
        calling_ae_title="CT1",
        called_ae_title="ROUTER",
        peer="192.0.2.7:40123",
        accepted_contexts=1,
        rejected_contexts=0,
    )
    accepted = InstanceAccepted(
        association="a7",
        calling_ae_title="CT1",
        called_ae_title="ROUTER",
        peer="192.0.2.7:40123",
        instance="2.25.1",
        study="2.25.9",
        sop_class="1.2.3",
        stored_transfer_syntax="1.2",
        bytes=500,
        digest="",
        destination=("PACS",),
        route=("all",),
        outcome="queued",
        duration_ms=1.0,
    )
    api.activity(opened)
    api.activity(accepted)
    api.reserve = 77
    status = await api.get("/api/status")
    assert status["associations"] == [
        {
            "association": "a7",
            "calling_ae_title": "CT1",
            "called_ae_title": "ROUTER",
            "peer": "192.0.2.7:40123",
            "since": "2031-05-07T12:00:00Z",
            "instances": 1,
            "bytes": 500,
        }
    ]
    assert 0 < status["spool"]["free_bytes"] <= status["spool"]["disk_bytes"]
    assert status["spool"]["reserve_bytes"] == 77


def test_every_reason_to_wait_is_a_state() -> None:
    """In a word or two."""
    assert set(STATES) == set(Reason)


async def test_pause_and_resume(api: Served) -> None:
    """Stored, and told the forwarder; resuming also tries what is in trouble."""
    world, forwarder = api.world, api.forwarders["PACS"]
    paused = {"destination": "PACS", "state": "paused"}
    assert await api.ask("POST", "/api/destinations/PACS/pause") == (200, paused)
    assert await world.queue.standings.paused("PACS")
    works = {"destination": "PACS", "state": "works"}
    assert await api.ask("POST", "/api/destinations/PACS/resume") == (200, works)
    assert not await world.queue.standings.paused("PACS")
    assert forwarder.orders == ["pause", "retry now", "resume"]


async def test_an_order_for_a_destination_that_does_not_exist(api: Served) -> None:
    """404, with those that do."""
    error = {"error": "there is no destination 'PAX', only PACS, RESEARCH"}
    for verb in ("pause", "resume", "learned"):
        assert await api.ask("POST", f"/api/destinations/PAX/{verb}", {}) == (404, error)
    assert await api.ask("GET", "/api/destinations/PAX") == (404, error)


async def test_one_destination_is_told_with_what_it_was_seen_to_accept(api: Served) -> None:
    """All of its status, its address, and its last hour."""
    world = api.world
    await world.queue.capabilities.learn("PACS", {("1.2.3", "1.2"): Seen.DISLIKED}, world.clock())
    api.activity(SENT)
    shown = await api.get("/api/destinations/PACS")
    (status,) = [each for each in (await api.get("/api/status"))["destinations"] if each["name"] == "PACS"]
    assert shown.items() >= status.items()
    assert (shown["remote_ae_title"], shown["remote_host"], shown["remote_port"]) == ("PACS_SCP", "pacs.invalid", 104)
    at = "2031-05-07T12:00:00Z"
    assert shown["learned"] == [{"sop_class": "1.2.3", "transfer_syntax": "1.2", "seen": "disliked", "learned_at": at}]
    assert shown["minutes"] == [0] * 59 + [1]


async def test_what_a_probe_found_out_is_learned(api: Served) -> None:
    """If it probed who the daemon knows by that name."""
    address = {"remote_ae_title": "PACS_SCP", "remote_host": "pacs.invalid", "remote_port": 104}
    answers = [{"sop_class": "1.2.3", "transfer_syntax": "1.2", "accepted": True}]
    path = "/api/destinations/PACS/learned"
    learned = {"destination": "PACS", "learned": 1}
    assert await api.ask("POST", path, {**address, "answers": answers}) == (200, learned)
    assert api.forwarders["PACS"].learned == {("1.2.3", "1.2"): True}
    status, answer = await api.ask("POST", path, {**address, "remote_port": 105, "answers": []})
    assert (status, answer["error"]) == (
        422,
        "the daemon knows PACS as PACS_SCP at pacs.invalid:104: reload the configuration, then probe again",
    )
