"""The how-to pages, typed along: each command on them ends well, beside a daemon, a file and a PACS that accepts."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from router.cli import app
from tests.admin.served import Served
from tests.cli.conftest import Here, invoked
from tests.docs.pages import DOCS, Page
from tests.peers import AE_TITLE, EVERYTHING, accepting
from tests.samples import samples

pytestmark = pytest.mark.operate

CONFIGURATION = """\
spool: {{directory: spool}}
destinations:
  - {{name: PACS, remote_ae_title: {title}, remote_host: 127.0.0.1, remote_port: {port}}}
routes: [{{name: all, to: [PACS]}}]
"""
A_READERS_OWN = re.compile(r"\b(?:NEW_PACS|FIRST_PACS|MAIN_PACS|REMOTE_SITE|AI)\b")
"""Destinations of those who read; here there is one."""
A_READERS_FILE = "/path/to/one.dcm"
A_READERS_PACS = "pacs.example:104"
BY_OTHERS = {"curl": "HTTP, which tests/daemon/test_http.py speaks", "alias": "a shell's own"}
"""Programs on these pages that are not ours, and why they are not run here."""

PAGES = [Page(path) for path in sorted((DOCS / "howto").glob("*.md"))]
COMMANDS = typer.main.get_command(app)


def options(words: list[str]) -> set[str]:
    """What the command of a line knows."""
    command: Any = COMMANDS
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("page", PAGES, ids=str)
async def test_what_is_typed_along_ends_well(page: Page, api: Served, here: Here, tmp_path: Path) -> None:
    """In the order of the page, against one daemon; what a page asks for is there before."""
    config = tmp_path / "reader.yaml"
    with accepting(*EVERYTHING) as pacs:
        config.write_text(CONFIGURATION.format(title=AE_TITLE, port=pacs.port))
        (api.world.directory / "log.key").write_bytes(bytes(32))  # the daemon has one
        one = next(each.path for each in samples() if each.path.name == "CT_small.dcm")
        for line in page.commands():
            program, *words = shlex.split(
                A_READERS_OWN.sub("PACS", line)
                .replace(A_READERS_FILE, str(one))
                .replace(A_READERS_PACS, f"127.0.0.1:{pacs.port}")
            )
            if program != "dicom-router":
                assert program in BY_OTHERS, f"nobody runs this: {line}"
                continue
            known = options(words)
            words += ["--config", str(config)] * ("--config" in known and "--config" not in words)
            words += ["--socket", str(api.socket)] * ("--socket" in known)
            ended = await invoked(shlex.join(words), typed="y\n")
            assert ended.code == 0, f"{line}\n{ended.talk}{ended.out}"
