"""Commands that ask a running daemon."""

import json
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from tests.admin.served import Served
from tests.cli.conftest import Here, Run

pytestmark = pytest.mark.operate


async def test_list_shows_a_line_for_each_delivery(here: Here) -> None:
    """With a heading; nothing is cut."""
    ended = await here("queue list")
    assert (ended.code, ended.talk) == (0, "")
    heading, first, second, _, last = ended.out.splitlines()
    assert heading.split()[:3] == ["DELIVERY", "DESTINATION", "STATE"]
    assert first.split()[:3] == ["1", "PACS", "queued"]
    assert "dead" in second
    assert "peer cannot understand the object" in second
    assert "(no route)" in last


async def test_list_filters_and_says_when_there_is_more(here: Here, api: Served) -> None:
    """The filters of the API, a duration with its unit."""
    api.world.clock.advance(timedelta(hours=1))
    line = "queue list --json --state dead --cause 'peer cannot understand the object'"
    found = json.loads((await here(line)).out)
    assert [each["delivery"] for each in found["deliveries"]] == [2]
    found = json.loads((await here("queue list --json --from MR1 --destination PACS --older-than 30m")).out)
    assert [each["delivery"] for each in found["deliveries"]] == [2]
    ended = await here("queue list --limit 2")
    assert "more than these 2" in ended.talk


async def test_show_tells_all_of_one_delivery(here: Here, api: Served) -> None:
    """As lines, or as JSON."""
    ended = await here("queue show 2")
    assert "error_comment" in ended.out
    found = json.loads((await here("queue show 2 --json")).out)
    assert found == await api.get("/api/queue/2")


async def test_show_of_what_does_not_exist_is_a_data_error(here: Here) -> None:
    """The daemon's sentence, exit code 65."""
    ended = await here("queue show 99")
    assert (ended.code, ended.out, ended.talk) == (65, "", "there is no delivery 99\n")


async def test_retry_by_number_and_by_filter(here: Here, api: Served) -> None:
    """Says how many are due now."""
    ended = await here("queue retry --state dead")
    assert (ended.code, ended.out) == (0, "1 of 1 deliveries are due now\n")
    assert await api.world.states() == ["queued", "queued", "queued", "held"]
    ended = await here("queue retry 1 4 --json")
    assert (ended.code, json.loads(ended.out)["changed"]) == (65, 1)


@pytest.mark.parametrize("words", [(), ("1", "--state", "dead"), ("--older-than", "5 parsecs")])
async def test_retry_of_nothing_in_particular_is_a_usage_error(
    router: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """A slip must not send everything again; the daemon is not even asked."""
    ended = await router("queue", "retry", *words, "--socket", tmp_path / "s")
    assert (ended.code, ended.out) == (64, "")


async def test_status_shows_every_destination(here: Here, api: Served) -> None:
    """How it stands and what there is for it."""
    ended = await here("status")
    assert [line.split()[0] for line in ended.out.splitlines()[:4]] == ["DESTINATION", "(no", "PACS", "RESEARCH"]
    told, asked = json.loads((await here("status --json")).out), await api.get("/api/status")
    assert told.keys() == asked.keys()
    assert told["destinations"] == asked["destinations"]


async def test_reload_says_whether_the_new_configuration_is_in_force(here: Here, api: Served) -> None:
    """Exit code 78 and every problem if it is not."""
    ended = await here("reload")
    assert (ended.code, ended.out) == (0, "the new configuration is in force\n")
    api.problems = ["router.yaml:1:1  error  nothing is right"]
    ended = await here("reload")
    assert (ended.code, ended.out) == (78, "")
    assert ended.talk.startswith("router.yaml:1:1  error  nothing is right\n")


async def test_the_socket_is_found_by_the_configuration(router: Run, api: Served, tmp_path: Path) -> None:
    """No command needs to be told a path twice."""
    config = tmp_path / "router.yaml"
    destination = "{name: PACS, remote_ae_title: PACS, remote_host: 192.0.2.7, remote_port: 104}"
    config.write_text(f"socket: {api.socket}\ndestinations: [{destination}]\n")
    assert (await router("queue", "list", "--config", config)).code == 0


@pytest.mark.parametrize("words", [("queue", "list"), ("queue", "retry", "1"), ("status",), ("reload",)])
async def test_without_a_daemon_a_command_says_so(router: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 69, also when a dead daemon left its socket behind."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    for name in ("missing", "dead"):
        ended = await router(*words, "--socket", tmp_path / name)
        assert (ended.code, ended.out) == (69, "")
        assert ended.talk.startswith("no daemon answers on")
