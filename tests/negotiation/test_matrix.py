"""Every object to every kind of peer, over sockets, with conversions in worker processes.

One object of each transfer syntax; with ``DICOM_ROUTER_MATRIX=all`` (``make matrix``) every object, and the tables in
``docs/negotiation.md`` are written anew.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import cache
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest

from router.dicom.buffers import Buffers
from router.dicom.scu import Address
from router.dicom.transcode.pool import Transcoder
from router.flow.attempt import Attempt
from router.flow.probe import probe
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.presentation_context import ContextResult
from router.rules.probing import COMMON_SOP_CLASSES, COMMON_TRANSFER_SYNTAXES, pairs_of
from tests.dicom.peers import deadlines
from tests.dicom.transcode.witness import BASELINE, EXTENDED, Values, differences, part10, read, values
from tests.negotiation.matrix import NATIVE, PEERS, Fate, Peer, expected
from tests.negotiation.objects import Object, all_objects, one_of_each
from tests.negotiation.peers import Playing, Received, playing
from tests.negotiation.table import Cell, write_tables

pytestmark = [pytest.mark.negotiation, pytest.mark.timeout(900)]

ALL = os.environ.get("DICOM_ROUTER_MATRIX") == "all"
PLAYS = [(Strategy.EXTENDED, peer) for peer in PEERS] + [
    (Strategy.CONSERVATIVE, peer)
    for peer in PEERS
    if peer.name in {"only Implicit", "only RLE", "aborts on more than 3 contexts", "answers C000H"}
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For objects, conversions and what peers receive."""
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="module")
def objects(directory: Path, dcmtk: Callable[[str], Path]) -> Sequence[Object]:
    """What is sent."""
    everything = all_objects(directory, dcmtk("dcmcjpeg"))
    return everything if ALL else one_of_each(everything)


@pytest.fixture(scope="module")
async def transcoder(directory: Path) -> AsyncIterator[Transcoder]:
    """One for all peers: its worker processes live as long as the event loop that this fixture keeps."""
    conversions = directory / "conversions"
    conversions.mkdir()
    yield Transcoder(conversions)
    assert not list(conversions.iterdir())


@pytest.fixture(scope="module")
def cells() -> Iterator[list[Cell]]:
    """Collects what became of every object; written down if nothing is missing."""
    collected: list[Cell] = []
    yield collected
    if ALL and len({(cell.strategy, cell.peer) for cell in collected}) == len(PLAYS):
        write_tables(collected)


@pytest.mark.parametrize(("strategy", "peer"), PLAYS, ids=[f"{strategy}, {peer.name}" for strategy, peer in PLAYS])
async def test_every_object(
    *,
    strategy: Strategy,
    peer: Peer,
    objects: Sequence[Object],
    transcoder: Transcoder,
    cells: list[Cell],
    directory: Path,
    tmp_path: Path,
    dcmtk: Callable[[str], Path],
    free_port: Callable[[], int],
) -> None:
    """Outcome, strategies, transfer syntax and associations are those of the rules; what arrived is the original."""
    sop_classes = {each.outgoing.identity.sop_class for each in objects}
    wrong: dict[str, object] = {}
    playing_peer = playing(
        peer, sop_classes, folder=tmp_path / "received", storescp=dcmtk("storescp"), free_port=free_port
    )
    async with playing_peer as up:
        for each in objects:
            fate = await _send(each, up, strategy, transcoder)
            if fate != (due := expected(each, peer, strategy)):
                wrong[each.name] = (fate, due)
            taken = await anyio.to_thread.run_sync(up.taken)
            if fate.cause is None and [received.transfer_syntax for received in taken[-1:]] != [fate.transfer_syntax]:
                wrong[f"{each.name} arrived"] = [received.transfer_syntax for received in taken]
            for received in taken:
                if changes := await anyio.to_thread.run_sync(_changes, each, received, directory):
                    wrong[f"{each.name} as {received.transfer_syntax}"] = changes
            cells.append(Cell(each, peer, strategy, fate))
    assert not wrong


@pytest.mark.parametrize("peer", PEERS, ids=[peer.name for peer in PEERS])
async def test_probe_recommends_the_right_strategy(
    peer: Peer, tmp_path: Path, dcmtk: Callable[[str], Path], free_port: Callable[[], int]
) -> None:
    """What it takes is found out without an instance; what it would answer to one, nobody can tell by that."""
    playing_peer = playing(
        peer, COMMON_SOP_CLASSES, folder=tmp_path / "received", storescp=dcmtk("storescp"), free_port=free_port
    )
    async with playing_peer as up:
        matrix = await probe(
            Address("127.0.0.1", up.port, "PACS", "ROUTER"),
            pairs_of(COMMON_SOP_CLASSES),
            deadlines=deadlines(),
            buffers=Buffers(1),
        )
    assert matrix.strategy is peer.recommended
    assert matrix.words
    accepted = {syntax for (_, syntax), result in matrix.answers.items() if result is ContextResult.ACCEPTANCE}
    if peer.most_contexts is None:
        assert accepted == peer.accepts & {*COMMON_TRANSFER_SYNTAXES}
    else:
        assert matrix.most_contexts == peer.most_contexts


async def _send(each: Object, up: Playing, strategy: Strategy, transcoder: Transcoder) -> Fate:
    destination = Destination(
        "PEER", "PACS", "127.0.0.1", up.port, transfer_syntax_strategy=strategy, max_association_retries=4,
        deadlines=deadlines(),
    )  # fmt: skip
    async with Attempt(destination, transcoder=transcoder, buffers=Buffers(1), journal=Journal()) as attempt:
        async with aclosing(attempt.outcomes([each.outgoing])) as results:
            (fate,) = [Fate.of(result) async for result in results]
        await attempt.release()
    return fate


# What arrived


_SEEN: dict[tuple[str, str, bytes], list[str]] = {}


@cache
def _original_values(path: Path) -> Values:
    return values(path)


def _changes(each: Object, received: Received, directory: Path) -> list[str]:
    """In what a data set that arrived differs from the original: the bytes, or the elements and the pixel values."""
    original = each.outgoing.path
    if received.transfer_syntax == each.stored:
        same = original.read_bytes()[each.outgoing.header_size :] == received.content
        return [] if same else ["bytes"]
    key = (each.name, received.transfer_syntax, sha256(received.content).digest())
    if key not in _SEEN:
        result = directory / "received.dcm"
        result.write_bytes(part10(received.content, received.transfer_syntax))
        _SEEN[key] = differences(original, result) + ([] if _same_pixels(each, result) else ["pixels"])
    return _SEEN[key]


def _same_pixels(each: Object, result: Path) -> bool:
    original = each.outgoing.path
    before, after = read(original), read(result)
    if "PixelData" not in before or each.name == "badVR.dcm":  # the latter has no number of frames to decode
        return ("PixelData" in before) == ("PixelData" in after)
    if before.get("PhotometricInterpretation") == "YBR_FULL_422" and each.stored in NATIVE:
        return bool(before.PixelData == after.PixelData)
    if each.stored in {BASELINE, EXTENDED}:
        # Decoders of lossy JPEG need not agree to the last bit (ISO/IEC 10918-2), nor on how to interpolate colours.
        return bool(np.abs(values(result) - _original_values(original)).mean() < 1)
    return np.array_equal(values(result), _original_values(original))
