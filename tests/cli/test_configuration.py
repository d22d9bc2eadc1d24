"""``check``, ``schema``, ``log-id``, and what every command has."""

import json
from pathlib import Path

import anyio
import pytest

from router import __version__
from router.journal import log_id
from tests.cli.conftest import HOUSE, Run

pytestmark = pytest.mark.operate

BROKEN = HOUSE / "tests" / "configurations" / "port"
SAMPLE = HOUSE / "config" / "router.yaml"
GOOD = """
listen: {port: 11998}
destinations:
  - {name: PACS, remote_ae_title: PACS_SCP, remote_host: 192.0.2.7, remote_port: 104}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A configuration that is good, with a warning: nobody may send."""
    path = tmp_path / "router.yaml"
    path.write_text(GOOD)
    return path


async def test_check_says_ok_and_what_there_is(router: Run, good: Path) -> None:
    """Results on stdout, warnings beside them."""
    ended = await router("check", "--config", good)
    assert ended.code == 0
    assert ended.out.splitlines()[0] == f"{good}: OK"
    assert "PACS_SCP at 192.0.2.7:104, conservative" in ended.out
    assert "0 passed" in ended.out
    assert "nobody can send" in ended.talk


async def test_check_tells_a_program_the_same(router: Run, good: Path) -> None:
    """``--json`` is one object, with the sentences of ``--explain``."""
    ended = await router("check", "--config", good, "--json", "--explain")
    found = json.loads(ended.out)
    assert (ended.code, ended.talk, found["ok"]) == (0, "", True)
    assert [each["remote_ae_title"] for each in found["destinations"]] == ["PACS_SCP"]
    assert found["routes"][0]["to"] == ["PACS"]
    explanations = {each["of"]: each["sentences"] for each in found["explanations"]}
    assert explanations["route 'everything to PACS'"] == ["every instance goes to PACS"]
    assert "nobody can send" in found["warnings"][0]


async def test_check_tells_every_problem_with_its_place(router: Run) -> None:
    """File, line, column, and the line itself."""
    ended = await router("check", "--config", "router.yaml", cwd=BROKEN)
    assert ended.code == 78
    assert ended.out == (BROKEN / "expected-error").read_text()


async def test_check_tells_a_program_every_problem(router: Run) -> None:
    """The place in fields of their own."""
    ended = await router("check", "--config", "router.yaml", "--json", cwd=BROKEN)
    found = json.loads(ended.out)
    assert (ended.code, found["ok"]) == (78, False)
    assert [(each["file"], each["line"], each["column"]) for each in found["problems"]] == [
        ("router.yaml", 1, 16),
        ("router.yaml", 3, 77),
    ]


async def test_check_knows_the_keywords_of_dicom(router: Run, good: Path) -> None:
    """A route that asks about a misspelt one would never match."""
    await anyio.Path(good).write_text(f"{GOOD}routes: [{{when: {{Modalty: CT}}, to: PACS}}]\n")
    ended = await router("check", "--config", good)
    assert ended.code == 78
    assert "did you mean Modality?" in ended.out


async def test_the_environment_says_where_the_configuration_is(router: Run, good: Path) -> None:
    """As containers do; a ``ROUTER__…`` variable overrides a value in it."""
    ended = await router("check", "--json", ROUTER_CONFIG=str(good), ROUTER__SPOOL__DIRECTORY="/srv/spool")
    assert json.loads(ended.out)["spool"] == "/srv/spool"


async def test_without_a_configuration_nothing_runs(router: Run, tmp_path: Path) -> None:
    """Exit code 78, and the path that was tried."""
    ended = await router("run", "--config", tmp_path / "missing.yaml")
    assert ended.code == 78
    assert "missing.yaml" in ended.talk


async def test_check_runs_the_tests_of_the_configuration(router: Run) -> None:
    """One that fails is an error like any other: exit code 78, its place, what was given, expected and found."""
    case = HOUSE / "tests" / "configurations" / "tests-failing"
    ended = await router("check", "--config", "router.yaml", cwd=case)
    assert (ended.code, ended.out) == (78, (case / "expected-error").read_text())
    found = json.loads((await router("check", "--json", "--config", SAMPLE)).out)
    assert found["tests"] == 2
    assert found["routes"][-1]["to"] == [{"first_of": ["MAIN_PACS", "STANDBY"], "failover_after_seconds": 1800}]


async def test_check_explains_in_words(router: Run) -> None:
    """What each route does, and what each destination gets, when, and how."""
    ended = await router("check", "--explain", "--config", SAMPLE)
    assert (ended.code, ended.talk) == (0, "")
    lines = ended.out.splitlines()
    for line in (
        "  takes instances from CT1 at 10.1.0.0/16",
        "  an instance with calling_ae_title CT* and Modality CT or PT goes to MAIN_PACS",
        "  after it no further route is asked",
        "  every instance goes to the first of MAIN_PACS, STANDBY that works, and moves on after 30 minutes of trouble",
        "  an instance that no route takes is accepted and held for an operator",
        "  proposes with the strategy extended, then compression, then conservative, then universal",
        "  is sent to only Mon, Tue, Wed, Thu, Fri 19:00 to 06:00 on the next day or Sat, Sun all day, local time",
        "  gets at most 10 MB a second",
        "  when more than 200 GiB wait for it, what waits longest is given up",
        "  status C000H to CFFFH means refuse",
        "  gets a study when nothing more of it has come for 1 minute",
    ):
        assert line in lines


async def test_config_show_has_every_value(router: Run, good: Path) -> None:
    """With its origin if asked for: file and line, variable, or default."""
    words = ("config", "show", "--config", good)
    ended = await router(*words)
    assert (ended.code, ended.talk) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["listen[0].port", "11998"] in lines
    assert ["spool.reserve", "5%"] in lines
    ended = await router(*words, "--origin", ROUTER__DRAIN="7s")
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["listen[0].port", "11998", f"{good}:2:16"] in lines
    assert ["drain", "7s", "ROUTER__DRAIN"] in lines
    assert ["spool.reserve", "5%", "default"] in lines
    values = json.loads((await router(*words, "--json")).out)
    assert {"path": "spool.reserve", "value": "5%", "origin": "default"} in values


async def test_init_writes_a_sample_that_works(router: Run, tmp_path: Path) -> None:
    """With the schema that its first line names for editors; what is there already stays as it is."""
    folder = tmp_path / "new" / "router"
    ended = await router("init", folder)
    assert ended.code == 0
    assert f"dicom-router check --config {folder}/router.yaml" in ended.talk
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert sorted(ended.out.splitlines()) == sorted(str(folder / name) for name in written)
    assert written[:1] + written[-2:] == ["destinations/main_pacs.yaml", "router.schema.json", "router.yaml"]
    assert (folder / "router.yaml").read_text() == SAMPLE.read_text()
    assert (await router("check", "--config", folder / "router.yaml")).code == 0
    (folder / "router.schema.json").unlink()
    ended = await router("init", folder)
    assert (ended.code, ended.out) == (73, "")
    assert f"nothing was written, because this is there already: {folder}/destinations/" in ended.talk
    assert not (folder / "router.schema.json").exists()


async def test_init_says_where_it_may_not_write(router: Run, good: Path) -> None:
    """A file stands where the folder would."""
    ended = await router("init", good / "below")
    assert (ended.code, ended.out) == (73, "")
    assert "cannot be written" in ended.talk


async def test_schema_as_a_page(router: Run) -> None:
    """What ``docs/configuration.md`` is."""
    ended = await router("schema", "--markdown")
    assert (ended.code, ended.out) == (0, (HOUSE / "docs" / "configuration.md").read_text())


async def test_schema_is_json_with_descriptions(router: Run) -> None:
    """For editors."""
    ended = await router("schema")
    assert ended.code == 0
    assert json.loads(ended.out)["properties"]["spool"]["description"]


async def test_log_id_is_the_hash_of_the_log(router: Run, good: Path) -> None:
    """Made with the spool's own key; without one there is no log to search."""
    spool = good.parent / "spool"
    words = ("log-id", "2.25.1", "--config", good)
    missing = await router(*words, ROUTER__SPOOL__DIRECTORY=str(spool))
    assert (missing.code, missing.out) == (66, "")
    spool.mkdir()
    (spool / "log.key").write_bytes(b"key")
    ended = await router(*words, ROUTER__SPOOL__DIRECTORY=str(spool))
    assert (ended.code, ended.out.strip()) == (0, log_id("2.25.1", b"key"))


@pytest.mark.parametrize("words", [("qeue",), ("queue", "lst"), ("check", "--confg", "x"), ("queue", "show", "x")])
async def test_a_command_line_that_means_nothing_is_a_usage_error(router: Run, words: tuple[str, ...]) -> None:
    """Exit code 64; nothing on stdout."""
    ended = await router(*words)
    assert (ended.code, ended.out) == (64, "")
    assert "Usage:" in ended.talk


async def test_a_misspelt_command_is_suggested(router: Run) -> None:
    """The way to the right one is short."""
    assert "Did you mean 'queue'?" in (await router("qeue")).talk


async def test_version_is_that_of_the_package(router: Run) -> None:
    """Alone on its line."""
    assert (await router("--version")).out == f"{__version__}\n"
