"""The documentation tells of a program that there is: its commands, its configuration, its pages."""

import re
import shlex
from collections.abc import Iterator, Mapping
from io import StringIO
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from router.cli import app
from router.dicom.survey import known_keywords
from router.settings import load
from router.settings.document import DestinationSection, Document
from tests.certificates import Authority
from tests.docs.pages import DOCS, ROOT, Page, guides, pages

pytestmark = pytest.mark.unit

DCMTK = {"storescp", "storescu"}
SHELL = {"alias", "cd", "cp", "curl", "export", "git", "ls", "mkdir"}
OF_A_ROUTER = {*Document.model_fields}
OF_A_DESTINATION = {*DestinationSection.model_fields}
SHELL_ENDS = {"|", "&&", ">", ">>", ";"}
OF_THE_SYSTEM = {
    "deploy/container/secrets.sh": "the compose file and its services: tests/deploy/test_image.py",
    "deploy/install": "tests/deploy/test_image.py",
    "docker": "no engine on every machine; what the image holds: tests/deploy/test_image.py",
    "echo": "writes a file of tokens",
    "kubectl": "no cluster; the manifests: tests/deploy/test_files.py",
    "ln": "the roll-back of deploy/install",
    "pip": "what make setup does",
    "python3": "what make setup does",
    "systemctl": "systemd does not run everywhere; the units: tests/deploy/test_systemd.py",
    "umask": "a shell's own",
}
"""Programs of others, in what administrators type, and where what they do is tested instead."""


COMMANDS = typer.main.get_command(app)


def parsed(words: list[str]) -> None:
    """Understand a command line as the program would, without running it."""
    command: Any = COMMANDS
    while commands := getattr(command, "commands", None):
        assert words, f"{command.name} needs a command"
        assert words[0] in commands, f"{words[0]} is no command of {command.name}"
        command, words = commands[words[0]], words[1:]
    if not {"--help", "--version"} & set(words):
        command.make_context(command.name, list(words))


def own_commands(line: str) -> Iterator[list[str]]:
    """The arguments of each ``dicom-router`` that a line of a shell runs."""
    words = shlex.split(line, comments=True)
    for ends, group in groupby(words, SHELL_ENDS.__contains__):
        program, *arguments = group
        if not ends and Path(program).name == "dicom-router":
            yield arguments


@pytest.mark.parametrize("page", pages(), ids=str)
def test_commands_exist_with_these_options(page: Page) -> None:
    """What is typed on any page is what the program understands."""
    for line in page.commands():
        for arguments in own_commands(line):
            parsed(arguments)


@pytest.mark.parametrize("page", pages(), ids=str)
def test_commands_that_are_spoken_of_exist(page: Page) -> None:
    """Within sentences too, where arguments may be left out."""
    for code in re.findall(r"`dicom-router ([a-z][^`]*)`", page.text):
        command: Any = COMMANDS
        for word in code.split():
            commands: Mapping[str, Any] = getattr(command, "commands", {})
            if not commands or not word.isalpha():
                break
            assert word in commands, code
            command = commands[word]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
        assert {word.partition("=")[0] for word in re.findall(r"(?<!\S)--[a-z-]+", code)} <= known, code


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_program_is_known(page: Page) -> None:
    """Somebody has decided how what it does is tested: the commands of guides are run, in test_guide and test_howto."""
    for line in page.commands():
        first = shlex.split(line, comments=True)[0]
        own = {"dicom-router", "pip"} if Path(first).is_absolute() else {"dicom-router"}
        assert Path(first).name in own or first in {"make", *DCMTK, *SHELL, *OF_THE_SYSTEM}, line


@pytest.mark.parametrize("page", guides(), ids=str)
def test_guides_use_what_is_there(page: Page) -> None:
    """In what is typed along there is our program, DCMTK, a target of the Makefile, or what every shell has."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in page.commands():
        first, *rest = shlex.split(line)
        if first == "make":
            assert rest[0] in targets
        else:
            assert first in {"dicom-router", *DCMTK, *SHELL}, line


def files_of_a_reader(folder: Path) -> Mapping[str, str]:
    """What a sample may name and does not bring along, by the key that names it."""
    authority = Authority(folder)
    credential = authority.issue("router")
    made = {"certificate": credential.certificate, "key": credential.key, "client_ca": authority.path}
    made |= {"ca": authority.path, "tokens_file": folder / "tokens", "users_file": folder / "users"}
    for name, content in (("tokens", "reader read reader-0123456789\n"), ("users", "CT1 passcode-0123456789\n")):
        (folder / name).touch(0o600)
        (folder / name).write_text(content)
    return {key: str(path) for key, path in made.items()}


def _with_files(written: Any, files: Mapping[str, str]) -> Any:
    match written:
        case dict():
            paths = {key: path for key, path in files.items() if isinstance(written.get(key), str)}
            if "hosts" in written or "ae_title" in written:
                paths.pop("certificate", None)  # a row of `allow` has the name in a certificate there
            return {key: paths.get(key) or _with_files(value, files) for key, value in written.items()}
        case list():
            return [_with_files(each, files) for each in written]
        case _:
            return written


def completed(block: str, files: Mapping[str, str] = MappingProxyType({})) -> str:
    """A fragment of a configuration as a whole one: what it leaves out is added, ``files`` are where it looks."""
    written = _with_files(YAML(typ="safe").load(block), files)
    remote = {"remote_ae_title": "PACS", "remote_host": "pacs.example", "remote_port": 104}
    if written.keys() <= OF_A_DESTINATION:
        return _dumped({"destinations": [{"name": "PACS"} | remote | written]})
    assert written.keys() <= OF_A_ROUTER, f"neither a router's nor a destination's: {written.keys() - OF_A_ROUTER}"
    there = {destination["name"] for destination in written.get("destinations", ())}
    named = {name for route in written.get("routes", ()) for name in _names(route["to"])}
    added = [{"name": name} | remote for name in sorted(named - there)]
    if not named | there:
        added = [{"name": "PACS"} | remote]
    return _dumped(written | {"destinations": [*written.get("destinations", ()), *added]})


def _names(to: Any) -> list[str]:
    match to:
        case str():
            return [to]
        case {"first_of": several}:
            return [*several]
        case _:
            return [name for each in to for name in _names(each)]


def _dumped(tree: dict[str, Any]) -> str:

    stream = StringIO()
    YAML(typ="safe").dump(tree, stream)
    return stream.getvalue()


def configurations(page: Page) -> list[str]:
    """The blocks of YAML that are the router's; others belong to other programs, and not into a guide."""
    ours = OF_A_ROUTER | OF_A_DESTINATION
    blocks = page.blocks("yaml")
    return blocks if page in guides() else [block for block in blocks if YAML(typ="safe").load(block).keys() & ours]


@pytest.mark.parametrize("page", [page for page in pages() if configurations(page)], ids=str)
def test_configurations_are_taken(page: Page, tmp_path: Path) -> None:
    """Every sample passes ``check``, with its DICOM keywords, its own tests of routes, and the files that it names."""
    files = files_of_a_reader(tmp_path)
    for number, block in enumerate(configurations(page)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(completed(block, files))
        load(path, environment={}, known_keywords=known_keywords())


def test_the_tutorial_is_one_configuration(tmp_path: Path) -> None:
    """Its two files, as they stand there and under the names that it gives them, belong together."""
    text = Page(DOCS / "tutorial.md").text
    files = re.findall(r"^`tutorial/(\S+\.yaml)`.*?^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for name, content in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    configuration = load(tmp_path / "router.yaml", environment={}, known_keywords=known_keywords())
    (listener,), (destination,) = configuration.listeners, configuration.destinations
    assert f"storescp --aetitle {destination.remote_ae_title} --output-directory tutorial/pacs " in text
    assert f" {destination.remote_port}\n" in text
    assert f"storescu --call ROUTER {listener.host} {listener.port} tutorial/ct.dcm" in text


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_lead_somewhere(page: Page) -> None:
    """To a file that there is, and to a heading in it; from the site to nothing outside of it."""
    for path, anchor in page.links():
        assert path.exists(), path
        assert page.path.parent == ROOT or path.is_relative_to(DOCS), path
        assert not anchor or anchor in Page(path).anchors(), f"{path}#{anchor}"


def test_every_page_is_in_the_navigation_and_on_the_map() -> None:
    """``mkdocs.yml`` and ``docs/index.md`` lead to each page, once."""
    named = [*_pages_of(YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"])]
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert len(named) == len(set(named))
    assert set(named) == there
    assert {str(path.relative_to(DOCS)) for path, _ in Page(DOCS / "index.md").links()} == there - {"index.md"}


def _pages_of(nav: Any) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from _pages_of(below if isinstance(below, list) else [below])
