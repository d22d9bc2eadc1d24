"""The demonstration as users run it: a child process that plays modality, router and PACS."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import pytest
from anyio.abc import Process

from tests.samples import samples

pytestmark = [pytest.mark.endtoend, pytest.mark.timeout(60)]

HOUSE = Path(__file__).parents[2]
CUT_OFF = ["MR_truncated.dcm", "rtplan_truncated.dcm"]
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"

UNRELIABLE = """
import sys
from router.demo import main
from router.demo.pacs import Pacs
from router.model.destination import Strategy

class Forgetful(Pacs):
    def _store(self, event):
        status = super()._store(event)
        self.received.clear()
        return status

sys.exit(main(json=True, pacs=(
    Pacs("STUBBORN", "refuses everything for good", strategy=Strategy.EXTENDED, answer=lambda _: 0x0122),
    Forgetful("FORGETFUL", "says yes and keeps nothing", strategy=Strategy.EXTENDED),
)))
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a demonstration left."""

    code: int
    report: dict[str, Any]
    talk: str


def environment(temporary: Path) -> dict[str, str]:
    """Of a demonstration that keeps what is temporary in a folder of the test."""
    return {**os.environ, "PYTHONPATH": str(HOUSE), "TMPDIR": str(temporary)}


def left_in(folder: Path) -> list[Path]:
    """What lies there."""
    return list(folder.iterdir())


async def demonstrate(*words: str, temporary: Path) -> Ended:
    """Run one to its end."""
    ended = await anyio.run_process([sys.executable, *words], env=environment(temporary), check=False)
    assert ended.stdout, ended.stderr.decode()
    return Ended(ended.returncode, json.loads(ended.stdout), ended.stderr.decode())


async def test_everything_that_can_be_delivered_is(tmp_path: Path) -> None:
    """Every whole object reaches every PACS that can have it, and the report says how, and why others did not.

    ``--keep`` leaves a configuration that is valid, the spool, and the files of each PACS.
    """
    ended = await demonstrate("-m", "router", "demo", "--json", "--keep", temporary=tmp_path)
    whole = [sample for sample in samples() if sample.path.name not in CUT_OFF]
    stored = [sample.transfer_syntax for sample in whole]
    assert (ended.code, ended.report["problems"]) == (0, []), ended.talk
    assert ended.report["complete"]
    assert ended.report["modality"]["sent"] == len(samples())
    assert ended.report["modality"]["accepted"] == len(whole)
    assert [refused["files"] for refused in ended.report["modality"]["refused"]] == [CUT_OFF]

    pacs = {each["name"]: each for each in ended.report["destinations"]}
    assert list(pacs) == ["ARCHIVE", "LEGACY", "NERVOUS", "FICKLE", "COMPACT", "FLAKY", "BUSY"]
    for name in ("ARCHIVE", "FLAKY", "BUSY"):
        assert pacs[name]["delivered"] == pacs[name]["deliverable"] == len(whole)
        assert pacs[name]["not_delivered"] == []
    assert pacs["ARCHIVE"]["compared"] == {"the same bytes": len(whole)}
    for name in ("LEGACY", "NERVOUS", "FICKLE"):
        each = pacs[name]
        assert each["delivered"] == each["deliverable"] >= stored.count(IMPLICIT) + stored.count(EXPLICIT)
        assert each["compared"]["the same bytes"] == stored.count(IMPLICIT) == each["delivered"] - each["converted"]
        assert each["compared"]["the same value in every element"] == stored.count(EXPLICIT)
    for name in ("LEGACY", "NERVOUS", "FICKLE", "COMPACT"):
        each = pacs[name]
        assert {reason["cause"] for reason in each["not_delivered"]} <= {
            "no usable presentation context",
            "cannot be converted",
        }
        assert sum(reason["count"] for reason in each["not_delivered"]) == len(whole) - each["delivered"]
    _fallback_is_at_work(pacs, ended.talk)
    compact = pacs["COMPACT"]
    assert compact["delivered"] == compact["deliverable"] > compact["converted"] > 0
    assert compact["compared"]["the same bytes"] == stored.count(JPEG_2000_LOSSLESS)
    assert set(compact["strategies"]) == {"compression"}
    errors = [error for reason in compact["not_delivered"] for error in reason["errors"]]
    assert "The instance cannot be converted: it has no pixel data that could be compressed" in errors
    assert pacs["FLAKY"]["troubles"] > 0
    assert pacs["BUSY"]["answers"]["A700H"] > 0
    assert pacs["BUSY"]["attempts"] >= pacs["BUSY"]["answers"]["0000H"] == len(whole)

    folder = Path(ended.report["folder"])
    assert left_in(tmp_path) == [folder]
    for name, each in pacs.items():
        assert len(left_in(folder / name)) == each["delivered"]
    assert folder / "spool" / "queue.db" in left_in(folder / "spool")
    check = [sys.executable, "-m", "router", "check", "--config", str(folder / "router.yaml")]
    assert (await anyio.run_process(check, env=environment(tmp_path), check=False)).returncode == 0


def _fallback_is_at_work(pacs: dict[str, Any], talk: str) -> None:
    """At negotiation and at C-STORE, and each of them is told."""
    nervous, fickle = pacs["NERVOUS"], pacs["FICKLE"]
    assert set(nervous["strategies"]) == {"universal"}
    assert set(nervous["answers"]) == {"0000H"}
    assert fickle["answers"]["C000H"] > 0
    assert fickle["strategies"]["universal"] > 0
    for each in (nervous, fickle):
        assert each["fallbacks"]["universal"] > 0
        told = [line for line in talk.splitlines() if each["name"] in line and "Using universal fallback, " in line]
        assert len(told) == 1


async def test_what_was_not_delivered(tmp_path: Path) -> None:
    """A PACS that refuses for good, or says to have stored what it has not, ends it with 1; nothing is left behind."""
    ended = await demonstrate("-c", UNRELIABLE, temporary=tmp_path)
    assert ended.code == 1
    assert not ended.report["complete"]
    stubborn, forgetful = ended.report["destinations"]
    whole = ended.report["modality"]["accepted"]
    assert (stubborn["delivered"], stubborn["answers"]) == (0, {"0122H": whole})
    assert [(reason["cause"], reason["count"]) for reason in stubborn["not_delivered"]] == [
        ("SOP class not supported", whole)
    ]
    assert (forgetful["delivered"], forgetful["answers"]) == (0, {"0000H": whole})
    assert [problem.split(": 693_J2KI.dcm, ")[0] for problem in ended.report["problems"]] == [
        f"STUBBORN: {whole} objects that it can take have not arrived",
        f"FORGETFUL: {whole} objects that it can take have not arrived",
        f"FORGETFUL: {whole} objects are not there as the router's journal says",
    ]
    assert left_in(tmp_path) == []


async def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends it with the shell's code for that, and leaves nothing behind."""
    start = partial(
        anyio.open_process,
        [sys.executable, "-m", "router", "demo"],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    async with await start() as process:
        await _until(process, b"has gone down")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        assert await process.wait() == 128 + signal.SIGINT
    assert left_in(tmp_path) == []


async def test_stay(tmp_path: Path) -> None:
    """It goes on until Ctrl-C, with the page that it names, and then reports as ever."""
    start = partial(
        anyio.open_process,
        [sys.executable, "-m", "router", "demo", "--stay"],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    async with await start() as process:
        said = await _until(process, b"until Ctrl-C")
        address = re.search(rb"http://127.0.0.1:\d+", said)
        assert address is not None
        page = await anyio.to_thread.run_sync(lambda: urlopen(address.group().decode()).read())
        assert b"COMPACT" in page
        os.killpg(process.pid, signal.SIGINT)
        assert await process.wait() == 0
    assert left_in(tmp_path) == []


async def _until(process: Process, words: bytes) -> bytes:
    """Read what the process says until it has said ``words``."""
    said = b""
    assert process.stderr is not None
    while words not in said:
        said += await process.stderr.receive()
    return said
