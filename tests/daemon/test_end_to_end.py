"""Real modalities send real objects through the real program to real PACS."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY

import pytest
from pydicom import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from router.model.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.daemon.conftest import Both, Pacses, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import send
from tests.daemon.objects import Object, made, sample_objects
from tests.daemon.waiting import until

pytestmark = [
    pytest.mark.endtoend,
    # What pydicom, in the peers, thinks of some of its own samples.
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]

MPEG2_MAIN_PROFILE = "1.2.840.10008.1.2.4.100"
LITTLE_ENDIAN = {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN}
NATIVE = {*LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN}
TO_BOTH = [{"to": ["DCMTK", "PACS"]}]
TAKE_ALL = {"truncated": "accept"}
"""Two samples are cut off, and are sent all the same."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A router between modalities and two PACS that take everything."""

    port: int
    program: Callable[[str], Path]
    folder: Path


Sender = Callable[[Bench, Sequence[Object]], None]


def exactly(bench: Bench, objects: Sequence[Object]) -> None:
    """Our own SCU: the bytes of the file."""
    assert send(bench.port, objects) == [0] * len(objects)


def by_dcmsend(bench: Bench, objects: Sequence[Object]) -> None:
    """DCMTK's dcmsend: one association, contexts as the files need them."""
    files = _write(bench, objects)
    _run(bench.program("dcmsend"), "-dn", "-aec", "ROUTER", "127.0.0.1", str(bench.port), *files)


def by_storescu(bench: Bench, objects: Sequence[Object]) -> None:
    """DCMTK's storescu: native objects alone, every SOP class proposed."""
    files = _write(bench, objects)
    _run(bench.program("storescu"), "-R", "-aec", "ROUTER", "127.0.0.1", str(bench.port), *files)


def by_pynetdicom(bench: Bench, objects: Sequence[Object]) -> None:
    """The AE of pynetdicom: data sets decoded and encoded again."""
    application = AE("CT1")
    application.requested_contexts = [build_context(*pair) for pair in dict.fromkeys(each.pair for each in objects)]
    association = application.associate("127.0.0.1", bench.port, ae_title="ROUTER")
    assert association.is_established
    _without_delay(association)
    for path in _write(bench, objects):
        assert association.send_c_store(path).Status == 0
    association.release()


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _without_delay(association: Association) -> None:
    """TCP_NODELAY, without which pynetdicom sends 25 objects a second."""
    transport = association.dul.socket
    assert transport is not None, "it is established"
    assert transport.socket is not None, "it is established"
    transport.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)


def _write(bench: Bench, objects: Sequence[Object]) -> list[Path]:
    return [each.write(bench.folder / f"{number:03}.dcm") for number, each in enumerate(objects)]


@pytest.mark.parametrize("sender", [exactly, by_dcmsend, by_storescu, by_pynetdicom])
def test_every_pacs_has_what_the_modality_sent(
    start: Routers,
    both: Both,
    dcmtk: Callable[[str], Path],
    tmp_path: Path,
    sender: Sender,
) -> None:
    """Every sample reaches a DCMTK and a pynetdicom PACS, each data set identical to the byte with what came."""
    everything = {"propose_stored": "always", "transfer_syntax_strategy": "extended"}
    router = start(listen=TAKE_ALL, destinations=[sink.destination(**everything) for sink in both], routes=TO_BOTH)
    objects = sample_objects(readable=sender is not exactly)
    if sender is by_storescu:
        objects = [each for each in objects if each.identity.transfer_syntax in NATIVE]
    sender(Bench(router.port, dcmtk, tmp_path), objects)
    router.until_delivered()
    spooled = ledger(router.spooled())
    assert len(spooled) == len(objects)
    if sender is exactly:
        assert spooled == ledger(objects)
    for sink in both:
        same(spooled, sink)
    assert len(router.find("instance accepted")) == len(objects)
    assert len(router.find("C-STORE successful", converted=False)) == 2 * len(objects)


def test_a_pacs_that_takes_one_transfer_syntax_gets_native_objects_converted(start: Routers, pacs: Pacses) -> None:
    """Explicit becomes Implicit VR Little Endian, in which all values stay what they were."""
    old = pacs(transfer_syntaxes=[IMPLICIT_VR_LITTLE_ENDIAN])
    router = start(destinations=[old.destination()])
    objects = [each for each in sample_objects(readable=True) if each.identity.transfer_syntax in LITTLE_ENDIAN]
    assert set(send(router.port, objects)) == {0}
    router.until_delivered()
    assert {each.uid: values(each) for each in old.received()} == {each.uid: values(each) for each in objects}
    explicit = sum(each.identity.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN for each in objects)
    assert len(router.find("C-STORE successful", converted=True)) == explicit > 10


def test_what_a_pacs_cannot_take_is_kept_until_it_can(start: Routers, pacs: Pacses) -> None:
    """A video cannot be converted: it is refused with the seed's words, tried again later, and delivered in the end."""
    old = pacs(transfer_syntaxes=[IMPLICIT_VR_LITTLE_ENDIAN])
    router = start(destinations=[old.destination()])
    video = made()
    video = replace(video, identity=replace(video.identity, transfer_syntax=MPEG2_MAIN_PROFILE))
    assert send(router.port, [video, made(2)]) == [0, 0]
    (line,) = router.wait_for("delivery deferred")
    sop_class = video.identity.sop_class
    assert line["error"].startswith(
        f"No compatible presentation context for '{sop_class}'. Peer accepted transfer syntaxes: "
    )
    assert "Recommendation: " in line["error"]
    assert line["next_attempt_at"] > line["timestamp"]
    assert router.find("All C-STORE strategies failed", instance=video.uid)
    until(lambda: router.tally(old.name) == {"queued": 1, "delivered": 1}, "the video alone waiting")
    old.stop()
    old.transfer_syntaxes.append(MPEG2_MAIN_PROFILE)
    old.start()
    router.client.post("/api/queue/retry", {"destination": old.name, "state": "queued"})
    router.until_delivered()
    assert [each.dataset for each in old.received() if each.uid == video.uid] == [video.dataset]


def values(one: Object) -> Mapping[tuple[int, ...], bytes]:
    """The bytes of each value, by the tags that lead to it; lengths of groups are none of its elements' business."""
    source = BytesIO(one.dataset)
    dataset = read_dataset(source, one.identity.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN, is_little_endian=True)
    return dict(_values(dataset))


def _values(dataset: Dataset) -> Iterator[tuple[tuple[int, ...], bytes]]:
    for tag in sorted(dataset.keys()):
        raw = dataset.get_item(tag)
        if dataset[tag].VR == "SQ":
            for number, part in enumerate(dataset[tag].value):
                yield from (((int(tag), number, *path), value) for path, value in _values(part))
        elif tag.element:
            yield (int(tag),), bytes(raw.value or b"")
