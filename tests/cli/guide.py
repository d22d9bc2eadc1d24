"""``docs/operate.md`` with the real output of its commands: ``python -m tests.cli.guide`` writes it anew.

Every line ``$ dicom-router …`` in a block ``console`` is run, in order, against one scripted daemon.
"""

import re
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio import to_thread

from router.journal import AssociationAccepted, DeadLetter, StoreSucceeded
from router.model.delivery import Settlement, Standing, State, Wanted
from router.model.outcome import Cause
from router.rules.advice import table
from router.rules.pacing import Reason, Wait
from tests.admin.served import Served, served
from tests.cli.conftest import Here
from tests.samples import samples

GUIDE = Path(__file__).parents[2] / "docs" / "operate.md"
CONFIGURATION = """\
spool: {directory: spool}
destinations:
  - {name: PACS, remote_ae_title: PACS_SCP, remote_host: pacs.invalid, remote_port: 104}
  - {name: RESEARCH, remote_ae_title: RESEARCH_SCP, remote_host: pacs.invalid, remote_port: 104}
routes: [{name: CT to the archive, when: {Modality: CT}, to: [PACS]}, {name: all, to: [RESEARCH]}]
"""

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ dicom-router (.*)$", re.MULTILINE)
_TABLE = re.compile(r"^\| what it waits for .*\Z", re.MULTILINE | re.DOTALL)
_VARYING = re.compile(r"(?<=^spool: )\S+ .?B free of \S+ .?B|(?<=\()[0-9A-Z]{26}(?=\))", re.MULTILINE)
"""What is another each time: the disk of this machine, and chance."""


def comparable(text: str) -> str:
    """``text`` without what is another each time."""
    return _VARYING.sub("…", text)


async def replayed(text: str) -> str:
    """``text`` with what its commands say now, and with the table of causes as it is now."""
    with TemporaryDirectory() as folder:
        config = Path(folder) / "guide.yaml"
        config.write_text(CONFIGURATION)
        async with served(Path(folder)) as api:
            await _happen(api)
            here = Here(api.socket)
            pieces, end = [], 0
            for block in _BLOCK.finditer(text):
                pieces += [text[end : block.start()], await _run(block[0], here, config)]
                end = block.end()
            return _TABLE.sub(lambda _: table(), "".join(pieces) + text[end:])


async def _run(block: str, here: Here, config: Path) -> str:
    lines: list[str] = []
    for command in _COMMAND.findall(block):
        own = "" if "--config" in command else f" --config {config}"
        ended = await here(f"{command}{own}")
        lines.append(f"$ dicom-router {command}\n{ended.talk}{ended.out}")
    return "".join(lines)


async def _happen(api: Served) -> None:
    """PACS goes down, RESEARCH had one, and somebody sends still."""
    world, clock = api.world, api.world.clock
    began = clock()
    clock.advance(timedelta(minutes=3))
    later = clock() + timedelta(seconds=40)
    error = "Cannot connect to PACS_SCP at pacs.example:104: Connection refused"
    standing = Standing(4, later, cause=Cause.CONNECT_FAILED, error=error, since=began + timedelta(minutes=2))
    await world.queue.standings.stand("PACS", standing, clock())
    api.forwarders["PACS"].says = Wait(Reason.IN_TROUBLE, later)
    await world.accepted("RESEARCH", sop_instance="2.25.14")
    claim = await world.queue.claim("RESEARCH", "test", Wanted(1), clock())
    done = Settlement(claim.deliveries[0].id, State.DELIVERED, charged=True, status=0, strategy="conservative")
    await world.queue.settle(claim, [done], clock())
    api.activity(
        StoreSucceeded(
            destination="RESEARCH",
            instance="2.25.13",
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            stored_transfer_syntax="1.2.840.10008.1.2.1",
            transfer_syntax="1.2.840.10008.1.2.1",
            converted=False,
            strategy="conservative",
            attempts=1,
            bytes=500_000,
            status="0000H",
            accepted_contexts=2,
            rejected_contexts=0,
        )
    )
    dead = "The peer cannot understand the object (C000H)"
    api.activity(
        DeadLetter(destination="PACS", instance="2.25.12", study="2.25.9", attempt=4, status="C000H", error=dead)
    )
    api.activity(
        AssociationAccepted(
            association="a7",
            calling_ae_title="CT1",
            called_ae_title="ROUTER",
            peer="192.0.2.7:40123",
            accepted_contexts=2,
            rejected_contexts=0,
        )
    )
    api.reserve = 5 * 10**9
    # The world's payloads are not DICOM; routes are told of this one.
    sample = next(each for each in samples() if each.path.name == "CT_small.dcm")
    await to_thread.run_sync(shutil.copy, sample.path, world.directory / (await world.entries())[0].path)


if __name__ == "__main__":
    written = anyio.run(replayed, GUIDE.read_text())
    GUIDE.write_text(written)
    sys.stderr.write(f"{GUIDE} is written\n")
