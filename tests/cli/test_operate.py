"""What operators order and ask, by commands in this process; how they are written as users write them."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from router.model.delivery import Settlement, Standing, State, Wanted
from router.model.outcome import Cause
from router.rules.pacing import Reason, Wait
from tests.admin.served import Served
from tests.cli.conftest import Here

pytestmark = pytest.mark.operate


async def in_trouble(api: Served) -> None:
    """PACS does not work."""
    later = api.world.clock() + timedelta(minutes=1)
    standing = Standing(2, later, cause=Cause.CONNECT_FAILED, error="Nobody is there", since=api.world.clock())
    await api.world.queue.standings.stand("PACS", standing, api.world.clock())
    api.forwarders["PACS"].says = Wait(Reason.IN_TROUBLE, later)


async def test_status_shows_what_works_and_what_does_not(here: Here, api: Served) -> None:
    """The state in words, until when, and why; the spool and who sends to us."""
    await in_trouble(api)
    ended = await here("status")
    assert (ended.code, ended.talk) == (0, "")
    _, nowhere, pacs, research, why, _, listeners, spool = ended.out.splitlines()
    assert nowhere.split()[:4] == ["(no", "route)", "no", "route"]
    assert pacs.split()[:6] == ["PACS", "in", "trouble", "2031-05-07", "12:01:00Z", "1"]
    assert research.split()[:4] == ["RESEARCH", "works", "-", "1"]
    assert why == "PACS: Nobody is there; 2 failures since 2031-05-07 12:00:00Z"
    assert listeners == "listeners: 0 associations open, 0 instances received over them"
    assert re.fullmatch(r"spool: \S+ .B free of \S+ .B; below 0 B nothing is accepted", spool)


async def test_list_shows_why_each_delivery_waits(here: Here, api: Served) -> None:
    """Or why it does not; the next page by the last number."""
    await in_trouble(api)
    ended = await here("queue list --limit 2")
    _, waiting, dead = ended.out.splitlines()
    assert waiting.split()[:7] == ["1", "PACS", "queued", "in", "trouble", "2031-05-07", "12:01:00Z"]
    assert "peer cannot understand the object" in dead
    assert ended.talk == "there are more than these 2: go on with --after 2, narrow the search, or raise --limit\n"
    ended = await here("queue list --after 2 --study 2.25.9 --json")
    assert [each["delivery"] for each in json.loads(ended.out)["deliveries"]] == [3, 4]


async def test_causes_say_what_to_do(here: Here) -> None:
    """In lines, or as JSON."""
    ended = await here("queue causes")
    assert "1           dead for PACS" in ended.out
    assert "what to do  Look at its comment with `queue show`" in ended.out
    assert len(json.loads((await here("queue causes --json")).out)["causes"]) == 2
    await here("queue drop --from MR1 --yes")
    await here("queue drop --cause 'no route' --yes")
    ended = await here("queue causes")
    assert (ended.out, ended.talk) == ("", "nothing is dead or held\n")


async def test_orders_for_what_filters_match(here: Here, api: Served) -> None:
    """Each says how many."""
    for line, told in (
        ("queue hold --destination PACS", "1 of 1 deliveries are held"),
        ("queue resume --destination PACS", "1 of 1 deliveries are due now"),
        ("queue retry --status C000 --to RESEARCH", "1 of 1 deliveries are due now"),
        ("queue retry --destination RESEARCH --strategy universal --limit 1", "1 of 1 deliveries are due now"),
        ("queue drop --cause 'no route' --yes", "1 of 1 deliveries are given up for good"),
        ("queue resend --state dropped --to PACS", "1 of 1 deliveries are sent once more"),
        ("queue retry --destination NOWHERE", "0 of 0 deliveries are due now"),
    ):
        ended = await here(line)
        assert (line, ended.code, ended.out) == (line, 0, f"{told}\n")
    assert await api.world.states() == ["queued", "queued", "queued", "dropped", "queued"]


async def test_numbers_that_make_no_sense_are_told_one_by_one(here: Here) -> None:
    """With the reason; exit code 65."""
    ended = await here("queue retry 98 99")
    assert (ended.code, ended.out) == (65, "0 of 2 deliveries are due now\n")
    assert ended.talk == "there is no delivery 98\nthere is no delivery 99\n"
    ended = await here("queue resume 1 4")
    assert ended.code == 65
    assert ended.talk == (
        "delivery 1: what is queued cannot be resumed, only what is held\n"
        "the others changed meanwhile, their payload is gone, or their destination is not configured\n"
    )


@pytest.mark.parametrize("verb", ["retry", "hold", "resume", "drop --yes", "resend", "export {folder}"])
async def test_an_order_for_nothing_in_particular_is_a_usage_error(here: Here, verb: str, tmp_path: Path) -> None:
    """And so is one for numbers and filters."""
    line = verb.format(folder=tmp_path / "out")
    for more in ("", " 1 --state dead"):
        ended = await here(f"queue {line}{more}")
        assert (ended.code, ended.out) == (64, "")


async def test_drop_does_nothing_unless_it_is_told_so(here: Here, api: Served) -> None:
    """Without a terminal to ask on, it refuses."""
    ended = await here("queue drop --state dead")
    assert (ended.code, ended.out) == (64, "")
    assert ended.talk == "what is dropped is never sent: say --yes to drop it\n"
    assert "dropped" not in await api.world.states()


@pytest.mark.parametrize(("typed", "state", "code"), [("y\n", "dropped", 0), ("n\n", "dead", 1), ("", "dead", 1)])
async def test_drop_asks_on_a_terminal(  # noqa: PLR0917 -- what is typed, and what follows
    here: Here, api: Served, monkeypatch: pytest.MonkeyPatch, typed: str, state: State, code: int
) -> None:
    """With the number of deliveries."""
    monkeypatch.setattr("router.cli.queue.on_terminal", lambda: True)
    ended = await here("queue drop --state dead", typed=typed)
    assert (ended.code, (await api.world.states())[1]) == (code, state)
    assert "Give up 1 deliveries for good?" in ended.talk


async def test_export_writes_files_and_overwrites_none(here: Here, api: Served, tmp_path: Path) -> None:
    """By ULID; what is there already is left as it is; what is gone is told."""
    folder = tmp_path / "out" / "here"
    ended = await here(f"queue export {folder} 1 2")
    assert (ended.code, ended.talk) == (0, "")
    assert ended.out.startswith(f"2 files written to {folder}, ")
    payloads = {path.name: path for path in api.world.directory.glob("objects/*/*/*.dcm")}
    for written in folder.iterdir():
        assert written.read_bytes() == payloads[written.name].read_bytes()
    assert len([*folder.iterdir()]) == 2
    gone = next(path for name, path in payloads.items() if not (folder / name).exists())
    gone.unlink()
    ended = await here(f"queue export {folder} --study 2.25.9 --json")
    assert ended.code == 65
    found = json.loads(ended.out)
    assert (len(found["written"]), found["there_already"], found["failed"]) == (1, 2, 1)
    assert "is not there any more" in ended.talk


async def test_export_never_overwrites_another_file(here: Here, api: Served, tmp_path: Path) -> None:
    """Exit code 73, and the file is as it was."""
    (ulid,) = [each.ulid for each in await api.world.entries() if each.id == 1]
    precious = tmp_path / f"{ulid}.dcm"
    precious.write_text("precious")
    ended = await here(f"queue export {tmp_path} 1")
    assert (ended.code, ended.talk) == (73, f"{precious}: cannot be written: File exists\n")
    assert precious.read_text() == "precious"


async def test_destinations_are_listed_shown_paused_and_resumed(here: Here, api: Served) -> None:
    """By name; another name is told with those that there are."""
    assert (await here("destination pause PACS")).out == "PACS: paused\n"
    ended = await here("destination list")
    assert [line.split()[:2] for line in ended.out.splitlines()[2:]] == [["PACS", "paused"], ["RESEARCH", "works"]]
    assert (await here("destination resume PACS")).out == "PACS: works\n"
    assert api.forwarders["PACS"].orders == ["pause", "retry now", "resume"]
    shown = (await here("destination show PACS")).out
    assert re.search(r"^address +pacs.invalid:104$", shown, re.MULTILINE)
    ended = await here("destination pause PA/X")
    assert (ended.code, ended.talk) == (65, "there is nothing at /api/destinations/PA/X/pause\n")
    ended = await here("destination show PAX")
    assert (ended.code, ended.talk) == (65, "there is no destination 'PAX', only PACS, RESEARCH\n")


async def test_studies_are_listed_and_shown(here: Here, api: Served) -> None:
    """By what operators know of them."""
    await api.world.accepted("PACS", study="2.25.77", accession_number="ACC-77", patient_id="PID-77")
    for option in ("--study 2.25.77", "--accession ACC-77", "--patient-id PID-77"):
        ended = await here(f"study list {option}")
        (line,) = ended.out.splitlines()[1:]
        assert line.split()[:2] == ["2.25.77", "1"]
        assert line.split()[-5:] == ["PACS", "1", "0", "0", "0"]
    shown = await here("study show --accession A1")
    assert "C000H" in shown.out
    assert json.loads((await here("study show --accession A1 --json")).out).keys() == {"2.25.9"}
    for option, code in (("", 64), ("--patient-id NOBODY", 65), ("--study 2.25.999", 65)):
        assert (await here(f"study show {option}")).code == code


async def test_explain_tells_the_story_of_one_instance(here: Here, tmp_path: Path) -> None:
    """What happened and what comes; why it was routed so is not told without a configuration."""
    ended = await here(f"explain 2.25.12 --config {tmp_path / 'none.yaml'}")
    assert ended.code == 0
    assert re.search(r"^next +Nothing by itself. The PACS refuses", ended.out, re.MULTILINE)
    assert re.search(r"^2031-05-07 12:00:00Z +dead +PACS +2.25.12", ended.out, re.MULTILINE)
    assert ended.talk.startswith("which routes match is not told: ")
    assert "Nothing has happened to it yet." in (await here(f"explain 3 --config {tmp_path / 'none.yaml'}")).out
    assert (await here("explain 99")).code == 65


async def test_a_study_that_has_left_the_spool_is_known_to_the_history(here: Here, api: Served) -> None:
    """By its UID."""
    world = api.world
    await world.accepted("RESEARCH", study="2.25.77", sop_instance="2.25.78")
    for number in (3, 5):
        claim = await world.queue.claim("RESEARCH", "test", Wanted(1), world.clock())
        await world.queue.settle(claim, [Settlement(number, State.DELIVERED)], world.clock())
    await world.queue.remove(world.clock() + timedelta(hours=1), 10)
    ended = await here("study show --study 2.25.77")
    assert ended.code == 0
    assert "is not in the spool any more" in ended.talk
    assert "delivered" in ended.out


async def test_health_is_an_exit_code(here: Here, api: Served) -> None:
    """For health checks of containers: 0, or 75 and why."""
    ended = await here("health")
    assert (ended.code, ended.out, ended.talk) == (0, "ready\n", "")
    api.listening = False
    ended = await here("health")
    assert (ended.code, ended.out) == (75, "")
    assert ended.talk == "the daemon is starting or stopping: its listeners are not open\n"
