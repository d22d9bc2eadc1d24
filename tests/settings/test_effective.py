"""What is in force, value by value, and where it comes from."""

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from router.settings import Effective, load
from router.settings.effective import effective
from router.settings.source import read

pytestmark = pytest.mark.unit

TEXT = """listen: {port: 104, allow: [{ae_title: CT1}]}
routes:
  - {name: all, when: {not: {Modality: [SR, PR]}}, to: [{first_of: [A, B], failover_after: 10m}, C]}
  - {to: {first_of: [A, B]}}
destinations:
  - {name: A, remote_ae_title: A, remote_host: a, remote_port: 104, retry: {initial: 3s}, statuses: {0110: bury}}
  - {name: B, remote_ae_title: B, remote_host: b, remote_port: 104}
"""


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Effective]:
    """Of a configuration with a file of its own for one destination, and one variable."""
    path = tmp_path / "router.yaml"
    path.write_text(TEXT)
    (tmp_path / "destinations").mkdir()
    (tmp_path / "destinations" / "C.yaml").write_text("remote_ae_title: C\nremote_host: c\nremote_port: 104\n")
    environment = {"ROUTER__SPOOL__DIRECTORY": "/srv", "ROUTER__LISTEN__HOST": "127.0.0.1"}
    return {each.path: each for each in load(path, environment=environment).values}


@pytest.mark.parametrize(
    ("path", "value", "origin"),
    [
        ("listen[0].port", "104", "router.yaml:1:16"),
        ("listen[0].host", "127.0.0.1", "ROUTER__LISTEN__HOST"),
        ("listen[0].ae_title", "", "default"),
        ("listen[0].allow[0].ae_title", "CT1", "router.yaml:1:40"),
        ("listen[0].allow[0].hosts", "[]", "default"),
        ("listen[0].deadlines.idle", "10m", "default"),
        ("spool.directory", "/srv", "ROUTER__SPOOL__DIRECTORY"),
        ("routes[all].when", "{not: {Modality: [SR, PR]}}", "router.yaml:3:23"),
        ("routes[all].to", "[{first_of: [A, B], failover_after: 10m}, C]", "router.yaml:3:56"),
        ("routes[all].stop", "false", "default"),
        ("routes[1].to.first_of", "[A, B]", "router.yaml:4:21"),
        ("destinations[A].retry.initial", "3s", "router.yaml:6:86"),
        ("destinations[A].retry.maximum", "30m", "default"),
        ("destinations[A].statuses", "{0110: bury}", "router.yaml:6:101"),
        ("destinations[B].remote_port", "104", "router.yaml:7:64"),
        ("destinations[C].name", "C", "C.yaml:1:1"),
        ("destinations[C].remote_host", "c", "C.yaml:2:14"),
        ("unrouted", "hold", "default"),
        ("http", "", "default"),
    ],
)
def test_every_value_has_its_origin(values: dict[str, Effective], path: str, value: str, origin: str) -> None:
    """As it would stand in the file; with file, line and column, or variable, or as a default."""
    found = values[path]
    assert (found.value, found.origin.rpartition("/")[2]) == (value, origin)


def test_listeners_that_are_not_written_are_there_too(tmp_path: Path) -> None:
    """The default of a list of sections is shown section by section."""
    path = tmp_path / "router.yaml"
    path.write_text("")
    values = {each.path: each.value for each in effective(read(path))}
    assert values["listen[0].port"] == "11112"


def test_secrets_are_masked(tmp_path: Path) -> None:
    """Whether the file or a variable says them; one that is not there is not made up."""

    class Section(BaseModel):
        secret: SecretStr | None = None
        another: SecretStr | None = None
        plain: str = ""

    path = tmp_path / "router.yaml"
    path.write_text("secret: 12345\nplain: text\n")
    found = [(each.path, each.value) for each in effective(read(path), Section)]
    assert found == [("secret", "***"), ("another", ""), ("plain", "text")]
