"""The library face, against PACS of pynetdicom."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom.presentation import PresentationContext, build_context

from router.api import (
    StorageBackend,
    StorageBackendError,
    analyze_accepted_contexts,
    create_presentation_contexts_with_fallback,
    find_compatible_transfer_syntax,
)
from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.flow.attempt import Attempt
from router.journal import Journal
from router.model.destination import ProposeStored, Strategy
from router.model.instance import Identity
from router.model.outcome import Refused
from router.model.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    RLE_LOSSLESS,
)
from tests.flow.pacs import Relabels
from tests.peers import AE_TITLE, EVERYTHING, accepting
from tests.samples import Sample, samples

pytestmark = pytest.mark.negotiation

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def sample(name: str) -> Sample:
    """One of pydicom's files."""
    (found,) = [each for each in samples() if each.path.name == name]
    return found


def header_size(of: Sample) -> int:
    """Bytes before the data set: (0002,0000) counts those that follow it."""
    with of.path.open("rb") as file:
        return 144 + int.from_bytes(file.read(144)[140:], "little")


CT, LOSSY = sample("CT_small.dcm"), sample("SC_rgb_jpeg_dcmtk.dcm")


def config(port: int, **changes: object) -> dict[str, object]:
    """The seed's three keys, and more."""
    return {"remote_ae_title": AE_TITLE, "remote_host": "127.0.0.1", "remote_port": port, **changes}


def test_three_keys_are_enough_and_mean_conservative() -> None:
    """As the first document has it."""
    assert StorageBackend(config(104)).destination.transfer_syntax_strategy is Strategy.CONSERVATIVE


async def test_what_the_peer_takes_goes_as_it_is() -> None:
    """The result's three keys, and the rest as attributes; the data set arrives byte for byte."""
    with accepting(*EVERYTHING) as pacs:
        result = await StorageBackend(config(pacs.port)).store_async(CT.path)
    assert (result["strategy_used"], result["attempts_made"]) == ("conservative", 1)
    assert result["transfer_syntax"] == EXPLICIT_VR_LITTLE_ENDIAN
    assert (result.status, result.converted, result.strategies_tried) == (0, False, ("conservative",))
    with pytest.raises(KeyError, match="strategy"):
        result["strategy"]
    content = await anyio.Path(CT.path).read_bytes()
    assert pacs.received == [(EXPLICIT_VR_LITTLE_ENDIAN, content[header_size(CT) :])]


async def test_a_peer_that_takes_implicit_only_gets_it() -> None:
    """By a conversion, within the same association."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        result = await StorageBackend(config(pacs.port)).store_async(str(CT.path))
    assert (result.converted, result.transfer_syntax) == (True, IMPLICIT_VR_LITTLE_ENDIAN)
    assert [syntax for syntax, _ in pacs.received] == [IMPLICIT_VR_LITTLE_ENDIAN]


async def test_fallback_is_told() -> None:
    """A peer that refuses C-STOREs in one transfer syntax costs a second association."""
    with accepting(*EVERYTHING, answer=lambda syntax: 0xC000 if syntax == EXPLICIT_VR_LITTLE_ENDIAN else 0) as pacs:
        result = await StorageBackend(config(pacs.port)).store_async(CT.path)
    assert (result["strategy_used"], result["attempts_made"]) == ("universal", 2)
    assert result.strategies_tried == ("conservative", "universal")
    assert pacs.associations == 2


def test_store_waits_in_a_script_without_an_event_loop() -> None:
    """A data set as it was read, and one made in memory without file meta information."""
    read = dcmread(CT.path)
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.PatientName = "DOE^JANE"
    with accepting(*EVERYTHING) as pacs:
        backend = StorageBackend(config(pacs.port))
        for dataset in (read, made):
            assert backend.store(dataset)["transfer_syntax"] == EXPLICIT_VR_LITTLE_ENDIAN
    assert b"DOE^JANE" in pacs.received[1][1]
    assert not hasattr(made, "file_meta")


async def test_a_class_that_the_peer_does_not_take_is_refused_with_the_reason() -> None:
    """The sentence of the first document, what would help, and the names of the UIDs."""
    with accepting(*EVERYTHING, sop_classes=[MRImageStorage]) as pacs, pytest.raises(StorageBackendError) as refused:
        await StorageBackend(config(pacs.port)).store_async(CT.path)
    assert str(refused.value) == (
        "No compatible presentation context for '1.2.840.10008.5.1.4.1.1.2'. Peer accepted transfer syntaxes: []. "
        "Recommendation: Ask the peer's administrator to enable this SOP class; "
        "the peer takes it in no transfer syntax "
        "(CT Image Storage, stored in Explicit VR Little Endian; accepted: none)"
    )


async def test_an_instance_that_nothing_can_carry_is_refused_with_the_reason() -> None:
    """A lossy one, where the configuration forbids the way that would be there."""
    with accepting(RLE_LOSSLESS) as pacs:
        backend = StorageBackend(config(pacs.port, decompress_lossy=False))
        with pytest.raises(StorageBackendError) as refused:
            await backend.store_async(LOSSY.path)
    assert str(refused.value).startswith(
        f"No compatible presentation context for '{LOSSY.sop_class}'. Peer accepted transfer syntaxes: []. "
        "Recommendation: Ask the peer's administrator to enable JPEG Baseline (Process 1) for this SOP class"
    )


async def test_the_sentence_of_the_first_document() -> None:
    """Word for word, where another strategy would help: the list of the destination's own has no fallback.

    That the peer takes Implicit is known from another instance of the class, in the same association.
    """
    here = StorageBackend(config(104, transfer_syntaxes=[EXPLICIT_VR_LITTLE_ENDIAN]))
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        destination = replace(here.destination, remote_port=pacs.port, propose_stored=ProposeStored.ALWAYS)
        instances = [
            Outgoing(number, Identity(CT.sop_class, f"2.25.{number}", syntax), CT.path, header_size(CT), 39205, None)
            for number, syntax in enumerate((IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN))
        ]
        async with Attempt(destination, transcoder=Relabels(), buffers=Buffers(1), journal=Journal()) as attempt:
            results = [result async for result in attempt.outcomes(instances)]
            await attempt.release()
    (error,) = [result.outcome.error for result in results if isinstance(result.outcome, Refused)]
    assert error.startswith(
        "No compatible presentation context for '1.2.840.10008.5.1.4.1.1.2'. "
        "Peer accepted transfer syntaxes: ['1.2.840.10008.1.2']. "
        "Recommendation: Use 'universal' strategy for this peer (CT Image Storage"
    )


async def test_a_peer_that_does_not_know_us_says_so() -> None:
    """An AE title that it does not have."""
    with accepting(*EVERYTHING) as pacs:
        backend = StorageBackend(config(pacs.port, remote_ae_title="ANOTHER"))
        with pytest.raises(StorageBackendError, match="called AE title not recognized"):
            await backend.store_async(CT.path)
    assert pacs.received == []


async def test_a_peer_that_is_down_says_so(free_port: Callable[[], int]) -> None:
    """Nobody listens."""
    with pytest.raises(StorageBackendError, match="Cannot connect to PACS_SCP at 127"):
        await StorageBackend(config(free_port())).store_async(CT.path)


def test_a_key_that_does_not_exist_is_refused_with_a_suggestion() -> None:
    """And a value that cannot be."""
    with pytest.raises(StorageBackendError, match="remote_port"):
        StorageBackend({"remote_ae_title": AE_TITLE, "remote_host": "127.0.0.1", "remote_prt": 104})
    with pytest.raises(StorageBackendError, match="did you mean transfer_syntax_strategy"):
        StorageBackend(config(104, transfer_syntax_stratgy="universal"))
    with pytest.raises(StorageBackendError, match="transfer_syntax_strategy"):
        StorageBackend(config(104, transfer_syntax_strategy="magic"))


async def test_what_is_no_instance_is_not_sent(tmp_path: Path) -> None:
    """A file that is none, one that is not there, a data set without its UIDs."""
    backend = StorageBackend(config(104))
    text = tmp_path / "text"
    await anyio.Path(text).write_text("not DICOM")
    with pytest.raises(StorageBackendError, match="not a DICOM Part 10 file"):
        await backend.store_async(text)
    with pytest.raises(StorageBackendError, match="missing"):
        await backend.store_async(tmp_path / "missing")
    with pytest.raises(StorageBackendError, match="cannot be encoded"):
        await backend.store_async(Dataset())


# The three functions


def context(abstract_syntax: str, transfer_syntax: str, result: int | None = None) -> PresentationContext:
    """One with an answer."""
    built: PresentationContext = build_context(abstract_syntax, transfer_syntax)
    if result is not None:
        built.result = result
    return built


@pytest.mark.parametrize(
    ("strategy", "syntaxes"),
    [
        ("universal", [IMPLICIT_VR_LITTLE_ENDIAN]),
        ("conservative", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN]),
    ],
)
def test_contexts_for_an_instance(strategy: str, syntaxes: list[str]) -> None:
    """One for each pair, the most compatible first, with odd identifiers; no more than asked for."""
    dataset = dcmread(CT.path)
    contexts = create_presentation_contexts_with_fallback(dataset, strategy)
    assert [(each.abstract_syntax, each.transfer_syntax) for each in contexts] == [
        (CTImageStorage, [syntax]) for syntax in syntaxes
    ]
    assert [each.context_id for each in contexts] == [2 * number + 1 for number in range(len(syntaxes))]
    assert len(create_presentation_contexts_with_fallback(dataset, "extended", max_contexts=3)) == 3


def test_what_a_peer_accepted_in_words() -> None:
    """By class, with the least strategy that proposes all of it."""
    contexts = [
        context(CTImageStorage, IMPLICIT_VR_LITTLE_ENDIAN, 0),
        context(CTImageStorage, RLE_LOSSLESS, 4),
        context(MRImageStorage, IMPLICIT_VR_LITTLE_ENDIAN, 3),
    ]
    assert analyze_accepted_contexts(contexts) == {
        "accepted": {CTImageStorage: [IMPLICIT_VR_LITTLE_ENDIAN]},
        "rejected": {CTImageStorage: [RLE_LOSSLESS], MRImageStorage: [IMPLICIT_VR_LITTLE_ENDIAN]},
        "recommended_strategy": "universal",
    }
    assert analyze_accepted_contexts(contexts[1:])["recommended_strategy"] is None
    compressing = analyze_accepted_contexts([context(CTImageStorage, JPEG_2000_LOSSLESS, 0)])
    assert compressing["recommended_strategy"] == "compression"


@pytest.mark.parametrize(
    ("accepted", "best"),
    [
        ([IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN], EXPLICIT_VR_LITTLE_ENDIAN),
        ([JPEG_2000_LOSSLESS, IMPLICIT_VR_LITTLE_ENDIAN], IMPLICIT_VR_LITTLE_ENDIAN),
        ([JPEG_2000_LOSSLESS], JPEG_2000_LOSSLESS),
        ([JPEG_BASELINE], None),
        ([], None),
    ],
)
def test_the_best_context_for_an_instance(accepted: list[str], best: str | None) -> None:
    """As stored, else by a lossless conversion; never a lossy one, nor one of another class."""
    contexts = [
        context(MRImageStorage, EXPLICIT_VR_LITTLE_ENDIAN, 0),
        *(context(CTImageStorage, each, 0) for each in accepted),
    ]
    found: Any = find_compatible_transfer_syntax(dcmread(CT.path), contexts)
    assert found is None if best is None else (found in contexts and found.transfer_syntax == [best])
