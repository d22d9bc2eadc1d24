"""``echo`` and ``send``, with pynetdicom as the PACS."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, evt

from router.cli.send import BATCH
from router.dicom.part10 import read_meta
from router.model.presentation_context import VERIFICATION
from tests.cli.conftest import Run
from tests.samples import Sample, samples

pytestmark = pytest.mark.negotiation

Natives = Callable[[int], Sequence[Sample]]


class Pacs:
    """Keeps the data sets that it gets, and answers a C-STORE with what its ``statuses`` say, in turn, then 0000H."""

    def __init__(self, syntaxes: Sequence[str]) -> None:
        self.statuses: list[int] = []
        self.comment = ""
        self.received: dict[str, tuple[str, bytes]] = {}
        """SOP Instance UID → transfer syntax and data set of those answered with 0000H."""
        self.calling: set[str] = set()
        self._ae = AE("PACS_SCP")
        self._ae.require_called_aet = True
        self._ae.add_supported_context(VERIFICATION)
        for context in StoragePresentationContexts:
            self._ae.add_supported_context(context.abstract_syntax, list(syntaxes))  # type: ignore[arg-type]
        server: Any = self._ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.address = f"127.0.0.1:{server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> Dataset:
        request: Any = event.request
        self.calling.add(event.assoc.requestor.ae_title)
        answer = Dataset()
        answer.Status = self.statuses.pop(0) if self.statuses else 0x0000
        if self.comment:
            answer.ErrorComment = self.comment
        if answer.Status == 0x0000:
            self.received[request.AffectedSOPInstanceUID] = event.context.transfer_syntax, request.DataSet.getvalue()
        return answer


@pytest.fixture
def pacs() -> Iterator[Callable[..., Pacs]]:
    """Starts a PACS that accepts these transfer syntaxes, by default all."""
    running: list[Pacs] = []

    def start(*syntaxes: str) -> Pacs:
        running.append(Pacs(syntaxes or ALL_TRANSFER_SYNTAXES))
        return running[-1]

    with warnings.catch_warnings(action="ignore"):
        yield start
        for each in running:
            each.close()


@cache
def natives() -> Sequence[Sample]:
    """Samples in Explicit VR Little Endian whose file meta information tells the truth, each with a UID of its own."""
    found: dict[str, Sample] = {}
    for sample in samples():
        identity = read_meta(sample.path).identity
        honest = (identity.sop_class, identity.sop_instance) == (sample.sop_class, sample.sop_instance)
        if honest and sample.transfer_syntax == ExplicitVRLittleEndian and "truncated" not in sample.path.name:
            found.setdefault(sample.sop_instance, sample)
    return [*found.values()]


@pytest.fixture
def native() -> Natives:
    """Gives that many of them."""
    known = natives()
    assert len(known) >= 4
    return lambda count: known[:count]


def data_set(sample: Sample) -> bytes:
    """The data set as it stands in the file, behind (0002,0000) and the bytes that it counts."""
    content = sample.path.read_bytes()
    assert content[132:138] == b"\2\0\0\0UL"
    return content[144 + int.from_bytes(content[140:144], "little") :]


async def test_echo_says_that_a_pacs_answers(router: Run, pacs: Callable[..., Pacs]) -> None:
    """With how long it took, for people and for programs."""
    words = ("echo", pacs().address, "--aet", "PACS_SCP")
    ended = await router(*words)
    assert (ended.code, ended.talk) == (0, "")
    assert "answered C-ECHO with 0000H" in ended.out
    found = json.loads((await router(*words, "--json")).out)
    assert (found["ok"], found["status"]) == (True, "0000H")


async def test_echo_knows_the_destinations_of_the_configuration(
    router: Run, pacs: Callable[..., Pacs], tmp_path: Path
) -> None:
    """By name; another name is a usage error that tells the known ones."""
    host, port = pacs().address.split(":")
    config = tmp_path / "router.yaml"
    destination = f"{{name: MAIN, remote_ae_title: PACS_SCP, remote_host: {host}, remote_port: {port}}}"
    config.write_text(f"destinations: [{destination}]\n")
    assert (await router("echo", "MAIN", "--config", config)).code == 0
    ended = await router("echo", "MIAN", "--config", config)
    assert (ended.code, "only MAIN" in ended.talk) == (64, True)


async def test_echo_says_why_a_pacs_does_not_answer(
    router: Run, pacs: Callable[..., Pacs], free_port: Callable[[], int]
) -> None:
    """Exit code 69, with the Standard's reason or the network's."""
    ended = await router("echo", pacs().address, "--aet", "ANOTHER")
    assert (ended.code, ended.out, "called AE title not recognized" in ended.talk) == (69, "", True)
    ended = await router("echo", f"127.0.0.1:{free_port()}", "--json")
    assert (ended.code, json.loads(ended.out)["cause"]) == (69, "connect failed")


@pytest.mark.parametrize(
    "words",
    [
        ("localhost:0",),
        (":104",),
        ("localhost:x",),
        ("localhost:104", "--aet", "SEVENTEEN_LETTERS"),
        ("localhost:104", "--calling", " "),
    ],
)
async def test_an_address_that_cannot_be_is_a_usage_error(router: Run, words: tuple[str, ...]) -> None:
    """Nobody is called."""
    assert (await router("echo", *words)).code == 64


async def test_send_stores_files_as_they_are(
    router: Run, pacs: Callable[..., Pacs], tmp_path: Path, native: Natives
) -> None:
    """Byte for byte, from a folder and its folders; what is not DICOM is skipped and counted."""
    peer = pacs()
    sent = native(4)
    for number, sample in enumerate(sent):
        folder = tmp_path / "study" / f"series {number}"
        folder.mkdir(parents=True)
        (folder / "IM1").symlink_to(sample.path)
    (tmp_path / "study" / "README").write_text("not DICOM")
    words = ("send", tmp_path / "study", "--to", peer.address, "--aet", "PACS_SCP", "--calling", "CT1")
    ended = await router(*words, "--json")
    found = json.loads(ended.out)
    assert (ended.code, ended.talk) == (0, "")
    assert (found["stored"], found["skipped"], len(found["files"])) == (4, 1, 4)
    assert {each["outcome"] for each in found["files"]} == {"stored"}
    assert {uid: content for uid, (_, content) in peer.received.items()} == {
        sample.sop_instance: data_set(sample) for sample in sent
    }
    assert peer.calling == {"CT1"}


async def test_send_converts_for_a_pacs_that_wants_another_syntax(
    router: Run, pacs: Callable[..., Pacs], native: Natives
) -> None:
    """As the router would; the summary counts."""
    peer = pacs(ImplicitVRLittleEndian)
    (sample,) = native(1)
    ended = await router("send", sample.path, "--to", peer.address, "--aet", "PACS_SCP")
    assert ended.code == 0, ended.talk
    assert ended.out.splitlines()[1].split() == ["stored", "1"]
    assert peer.received[sample.sop_instance][0] == ImplicitVRLittleEndian


@pytest.mark.parametrize("case", [(0x0122, "refused", 65), (0xA700, "deferred", 75)])
async def test_send_says_which_files_were_not_stored_and_why(
    router: Run, pacs: Callable[..., Pacs], native: Natives, case: tuple[int, str, int]
) -> None:
    """The name of the file to stderr, with a sentence of ours: the peer's comment may name a patient."""
    status, outcome, code = case
    peer = pacs()
    peer.statuses = [status]
    peer.comment = "DOE^JANE"
    first, second = native(2)
    words = ("send", first.path, second.path, "--to", peer.address, "--aet", "PACS_SCP", "--strategy", "conservative")
    ended = await router(*words)
    assert ended.code == code
    assert f"{status:04X}H" in ended.talk
    assert str(first.path) in ended.talk
    assert str(second.path) not in ended.talk
    assert "DOE" not in ended.talk + ended.out
    peer.statuses = [status]
    ended = await router(*words, "--json")
    files = json.loads(ended.out)["files"]
    assert [(each["outcome"], each["status"]) for each in files] == [(outcome, f"{status:04X}H"), ("stored", "0000H")]
    assert "DOE" not in ended.out


async def test_send_says_that_nobody_listens(router: Run, free_port: Callable[[], int], native: Natives) -> None:
    """Once for all files; exit code 69."""
    first, second = native(2)
    ended = await router("send", first.path, second.path, "--to", f"127.0.0.1:{free_port()}")
    assert ended.code == 69
    assert ended.talk.count("Cannot connect") == 1
    assert "0 of 2 stored" in ended.out


async def test_send_gives_up_on_a_destination_in_trouble(
    router: Run, free_port: Callable[[], int], native: Natives, tmp_path: Path
) -> None:
    """It is not called again for those that did not fit into the first attempt: they are reported as not tried."""
    (sample,) = native(1)
    for number in range(BATCH + 1):
        (tmp_path / f"{number}").symlink_to(sample.path)
    ended = await router("send", tmp_path, "--to", f"127.0.0.1:{free_port()}", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["deferred"], found["not_tried"]) == (69, BATCH, 1)


async def test_send_of_nothing_has_no_input(router: Run, tmp_path: Path) -> None:
    """A folder without DICOM objects; exit code 66."""
    (tmp_path / "README").write_text("not DICOM")
    ended = await router("send", tmp_path, "--to", "127.0.0.1:104")
    assert (ended.code, ended.talk) == (66, "no DICOM object among 1 files\n")


async def test_send_of_a_named_file_that_is_not_dicom_is_a_data_error(
    router: Run, pacs: Callable[..., Pacs], tmp_path: Path, native: Natives
) -> None:
    """The others are sent all the same."""
    readme = tmp_path / "README"
    readme.write_text("not DICOM")
    (sample,) = native(1)
    ended = await router("send", readme, tmp_path / "missing", sample.path, "--to", pacs().address, "--aet", "PACS_SCP")
    assert ended.code == 65
    assert "1 of 1 stored" in ended.out
    assert "README is not a DICOM Part 10 file" in ended.talk
    assert f"there is no file {tmp_path / 'missing'}" in ended.talk
