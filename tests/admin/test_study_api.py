"""Studies, and the story of one instance."""

from datetime import timedelta

import pytest

from router.admin.waits import what_next
from router.durable.queue import Entry
from router.model.delivery import Order, Settlement, State, Wanted
from router.model.outcome import Cause
from tests.admin.served import Served
from tests.admin.test_guard import LOOPBACK, Asker

pytestmark = pytest.mark.unit


FOUND: list[tuple[dict[str, object], list[str]]] = [
    ({}, ["2.25.77", "2.25.9"]),
    ({"study": "2.25.9"}, ["2.25.9"]),
    ({"accession_number": "ACC-77"}, ["2.25.77"]),
    ({"patient_id": "PID-77"}, ["2.25.77"]),
    ({"patient_id": "PID-77", "study": "2.25.9"}, []),
    ({"patient_id": "PID"}, []),
    ({"limit": 1}, ["2.25.77"]),
]


async def test_studies_are_found_by_uid_accession_number_or_patient_id(api: Served) -> None:
    """The latest first; all that is asked must match, and whole."""
    await api.world.accepted("PACS", study="2.25.77", accession_number="ACC-77", patient_id="PID-77")
    for asked, found in FOUND:
        _, answer = await api.ask("POST", "/api/studies", asked)
        assert (asked, [each["study"] for each in answer["studies"]]) == (asked, found)


async def test_a_study_tells_what_there_is_of_it_for_each_destination(api: Served) -> None:
    """How many are waiting, delivered, dead; no patient ID."""
    _, answer = await api.ask("POST", "/api/studies", {"study": "2.25.9"})
    (study,) = answer["studies"]
    assert study.pop("bytes") > 0
    assert study == {
        "study": "2.25.9",
        "accession_number": "A1",
        "instances": 4,
        "first_received_at": "2031-05-07T12:00:00Z",
        "last_received_at": "2031-05-07T12:00:00Z",
        "deliveries": {"": {"held": 1}, "PACS": {"dead": 1, "queued": 1}, "RESEARCH": {"queued": 1}},
    }


async def test_a_question_that_means_nothing_is_refused_without_its_values(api: Served) -> None:
    """They may be a patient's."""
    for body in ({"patient_id": ""}, {"patient_id": "X" * 65}, {"study": "1.2 or DOE"}, {"name": "DOE"}):
        status, answer = await api.ask("POST", "/api/studies", body)
        assert status == 422
        assert "DOE" not in str(answer)
        assert "XX" not in str(answer)


async def test_a_study_tells_where_it_went_and_when(api: Served) -> None:
    """From the history, the latest first; also when nothing of it is in the spool any more."""
    study = await api.get("/api/studies/2.25.9")
    assert study["summary"]["instances"] == 4
    dead, *_ = (each for each in study["happenings"] if each["what"] == "dead")
    assert (dead["destination"], dead["instance"], dead["status"]) == ("PACS", "2.25.12", "C000H")
    assert dead["error"] == "The peer cannot understand the object (C000H)"
    for text in ("2.25.999", "PID-77"):
        status, _ = await api.ask("GET", f"/api/studies/{text}")
        assert status == 404


async def test_an_instance_is_explained_by_its_ulid_its_uid_or_a_delivery(api: Served) -> None:
    """The same story: what happened, how it stands, what comes."""
    ulid = (await api.get("/api/queue/2"))["ulid"]
    told = await api.get("/api/instances/2")
    for name in (ulid, "2.25.12"):
        assert await api.get(f"/api/instances/{name}") == told
    (one,) = told["deliveries"]
    assert (one["delivery"]["delivery"], one["delivery"]["state"]) == (2, "dead")
    assert one["delivery"]["error_comment"] == "as the peer says"
    assert one["next"].startswith("Nothing by itself. The PACS refuses the content of this object")
    assert [(each["what"], each["destination"]) for each in told["happenings"]] == [("dead", "PACS")]


async def test_what_came_twice_under_one_uid_is_told_together(api: Served) -> None:
    """Its ULIDs tell one from the other."""
    await api.world.accepted("RESEARCH", sop_instance="2.25.11")
    told = await api.get("/api/instances/2.25.11")
    assert len({each["delivery"]["ulid"] for each in told["deliveries"]}) == 2
    assert [each["next"] for each in told["deliveries"]] == ["It is sent after what it waits for: its turn."] * 2


async def test_an_instance_that_is_not_known(api: Served) -> None:
    """However it is written."""
    for name in ("99", "2.25.999", "0" * 26, "0", "DOE", "1" * 40):
        status, _ = await api.ask("GET", f"/api/instances/{name}")
        assert (name, status) == (name, 404)


async def test_nothing_about_a_patient_is_told_without_leave(api: Served) -> None:
    """Over TCP, where the configuration does not allow it."""
    client = Asker(LOOPBACK, api.app)
    for path, comment in (
        ("/api/queue/2", lambda told: told["error_comment"]),
        ("/api/instances/2", lambda told: told["deliveries"][0]["delivery"]["error_comment"]),
        ("/api/instances/2", lambda told: told["happenings"][0]["error_comment"]),
        ("/api/studies/2.25.9", lambda told: told["summary"]["accession_number"]),
        ("/api/studies/2.25.9", lambda told: "".join(each["error_comment"] for each in told["happenings"])),
    ):
        status, _, told = await client.ask(path=path)
        assert (status, comment(told)) == (200, "")


async def entry(api: Served, number: int) -> Entry:
    """A delivery."""
    found = await api.world.desk.entry(number)
    assert found is not None
    return found


async def test_what_comes_next_is_told_for_every_state(api: Served) -> None:
    """In words."""
    world = api.world
    later = world.clock() + timedelta(minutes=10)
    claim = await world.queue.claim("RESEARCH", "test", Wanted(1), world.clock())
    assert what_next(await entry(api, 3), None) == "It is being sent now."
    again = Settlement(3, State.QUEUED, later, charged=True, cause=Cause.CANNOT_UNDERSTAND, error="No")
    await world.queue.settle(claim, [again], world.clock())
    told = await api.get("/api/instances/3")
    sentence = "It is sent after what it waits for: its next attempt (No), until 2031-05-07 12:10:00Z."
    assert told["deliveries"][0]["next"] == sentence
    world.clock.advance(timedelta(minutes=10))
    claim = await world.queue.claim("RESEARCH", "test", Wanted(1), world.clock())
    await world.queue.settle(claim, [Settlement(3, State.DELIVERED)], world.clock())
    assert what_next(await entry(api, 3), None).startswith("Nothing: the destination has it.")
    await world.queue.interventions.drop([4], world.clock())
    assert what_next(await entry(api, 4), None) == "Nothing: it was given up for good."
    await world.accepted(Order("PACS", State.HELD))
    assert what_next(await entry(api, 5), None) == "Nothing, until somebody retries or drops it."
