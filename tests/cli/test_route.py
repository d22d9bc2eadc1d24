"""``route``: where a file would go, and how."""

import json
from pathlib import Path

import anyio
import pytest

from router.model.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_LS_LOSSLESS,
)
from tests.cli.conftest import Run
from tests.samples import samples

pytestmark = pytest.mark.negotiation

CONFIGURATION = """
listen: {ae_title: ROUTER, port: 11112, allow_any: true}
spool: {directory: spool}
routes:
  - {name: research, when: {calling_ae_title: MR1}, to: [RESEARCH]}
  - {name: CT, when: {Modality: CT, calling_ae_title: "CT*"}, to: [MAIN], stop: true}
  - {name: the rest, to: [RESEARCH]}
unrouted: refuse
destinations:
  - {name: MAIN, remote_ae_title: MAIN, remote_host: 192.0.2.1, remote_port: 104}
  - name: RESEARCH
    remote_ae_title: RESEARCH
    remote_host: 192.0.2.2
    remote_port: 104
    transfer_syntax_strategy: compression
    prefer: smallest
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two destinations, three routes."""
    path = tmp_path / "router.yaml"
    path.write_text(CONFIGURATION)
    return path


def sample(name: str) -> Path:
    """One of pydicom's files."""
    return next(each.path for each in samples() if each.path.name == name)


async def test_route_says_which_routes_match_and_why(router: Run, config: Path) -> None:
    """And what would be sent: the strategies of the chain, with what each may propose, the best first."""
    ended = await router("route", sample("CT_small.dcm"), "--config", config, "--calling", "CT1")
    assert (ended.code, ended.talk) == (0, "")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "research no calling_ae_title: wanted MR1, found CT1" in lines
    assert "CT matches Modality: wanted CT, found CT and calling_ae_title: wanted CT*, found CT1" in lines
    assert "the rest no not asked: route 'CT' ended the search" in lines
    assert "MAIN: queued" in lines
    start = lines.index("MAIN: queued") + 2
    assert lines[start:] == [
        f"conservative Explicit VR Little Endian {EXPLICIT_VR_LITTLE_ENDIAN} as stored",
        f"conservative Implicit VR Little Endian {IMPLICIT_VR_LITTLE_ENDIAN} converted",
        f"universal Implicit VR Little Endian {IMPLICIT_VR_LITTLE_ENDIAN} converted",
    ]


async def test_route_for_programs(router: Run, config: Path) -> None:
    """The sender is a guess where nobody names one; a preference of the destination counts."""
    ended = await router("route", sample("CT_small.dcm"), "--config", config, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert (found["calling_ae_title"], found["called_ae_title"], found["remark"]) == ("ROUTER", "ROUTER", "")
    assert [each["matched"] for each in found["routes"]] == [False, False, True]
    (delivery,) = found["deliveries"]
    assert (delivery["destination"], delivery["state"]) == ("RESEARCH", "queued")
    assert [each["strategy"] for each in delivery["strategies"]] == [
        "compression",
        "standard",
        "conservative",
        "universal",
    ]
    assert delivery["strategies"][0]["transfer_syntaxes"][0] == {
        "uid": JPEG_LS_LOSSLESS,
        "name": "JPEG-LS Lossless Image Compression",
        "converted": True,
    }


async def test_what_no_route_takes_is_said(router: Run, config: Path) -> None:
    """With what becomes of it."""
    await anyio.Path(config).write_text(CONFIGURATION.replace("  - {name: the rest, to: [RESEARCH]}\n", ""))
    ended = await router("route", sample("CT_small.dcm"), "--config", config)
    assert ended.code == 0
    assert "It is refused: no route takes this instance" in ended.out


async def test_what_cannot_be_read_is_said(router: Run, tmp_path: Path, config: Path) -> None:
    """A file that is no DICOM object is a data error, one that is missing has no input."""
    text = tmp_path / "text"
    text.write_text("not DICOM")
    ended = await router("route", text, "--config", config)
    assert (ended.code, "not a DICOM Part 10 file" in ended.talk) == (65, True)
    ended = await router("route", tmp_path / "missing", "--config", config)
    assert (ended.code, "cannot be read" in ended.talk) == (66, True)
