"""`spool check` and `spool rebuild`, on the spool of a real program."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.program import Program

pytestmark = pytest.mark.trust

DESTINATION = {"name": "PACS", "remote_ae_title": "PACS", "remote_host": "127.0.0.1", "remote_port": 9}


@pytest.fixture
def program(tmp_path: Path, free_port: object) -> Program:
    """A router whose destination is down; not started yet."""
    assert callable(free_port)
    return Program(tmp_path / "router", free_port(), destinations=[DESTINATION])


@pytest.mark.timeout(60)
async def test_check_and_rebuild(router: Run, program: Program) -> None:
    """Beside the daemon, and after it; a flaw is exit code 1; what is rebuilt has no flaw any more."""
    with program:
        program.start()
        assert send(program.port, [made(1), made(2)]) == [0, 0]
        words = ("--config", program.path)
        beside = await router("spool", "check", *words)
        assert (beside.code, beside.out) == (0, "")
        assert beside.talk.startswith("2 payloads, ")
        refused = await router("spool", "rebuild", *words)
        assert (refused.code, refused.out) == (75, "")
        assert "another daemon" in refused.talk
    damaged, _ = sorted(program.spool.glob("objects/**/*.dcm"))
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"!!")
    (program.spool / "queue.db").unlink()
    checked = await router("spool", "check", *words, "--json")
    assert checked.code == 1
    found = json.loads(checked.out)
    assert found["payloads"] == 2
    assert [each["flaw"] for each in found["findings"]] == ["queue unreadable", "payload damaged"]
    rebuilt = await router("spool", "rebuild", *words, "--json")
    assert (rebuilt.code, json.loads(rebuilt.out)) == (0, {"adopted": 2, "queued": 2})
    again = await router("spool", "rebuild", *words)
    assert [line.split() for line in again.out.splitlines()[1:]] == [["adopted", "2"], ["queued", "2"]]
    assert len(list(program.spool.glob("queue.db.damaged-*"))) == 1
    checked = await router("spool", "check", *words)
    assert checked.code == 1
    assert checked.out.splitlines()[1].startswith(f"payload damaged  {damaged.relative_to(program.spool)}  its digest")


async def test_check_of_what_is_no_spool(router: Run, program: Program) -> None:
    """A sentence, and the exit code of an input that is missing."""
    ended = await router("spool", "check", "--config", program.path)
    assert (ended.code, ended.out) == (66, "")
    assert "cannot be read" in ended.talk
