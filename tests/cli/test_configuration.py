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
    assert "nobody can send" in ended.talk


async def test_check_tells_a_program_the_same(router: Run, good: Path) -> None:
    """``--json`` is one object."""
    ended = await router("check", "--config", good, "--json")
    found = json.loads(ended.out)
    assert (ended.code, ended.talk, found["ok"]) == (0, "", True)
    assert [each["remote_ae_title"] for each in found["destinations"]] == ["PACS_SCP"]
    assert found["routes"][0]["to"] == ["PACS"]
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
