"""What the demonstration expects of its PACS: the verdict is no better than that."""

from collections.abc import Iterator

import pytest
from pynetdicom import AE, build_context, evt
from pynetdicom.events import Event

from router.demo.pacs import HOST, Pacs, usual
from router.model.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
)

pytestmark = pytest.mark.unit

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


@pytest.fixture
def pacs() -> Iterator[dict[str, Pacs]]:
    """Those of the demonstration, still down, by name."""
    found = {each.name: each for each in usual()}
    yield found
    for each in found.values():
        each.close()


def test_what_a_pacs_must_have(pacs: dict[str, Pacs]) -> None:
    """What it takes as stored, what only changes its VR encoding, and plain pixels where it takes a compression."""
    compact, fickle = pacs["COMPACT"], pacs["FICKLE"]
    assert compact.must_have(JPEG_2000_LOSSLESS, plain_image=False)
    assert compact.must_have(IMPLICIT_VR_LITTLE_ENDIAN, plain_image=True)
    assert compact.must_have(EXPLICIT_VR_LITTLE_ENDIAN, plain_image=True)
    assert not compact.must_have(EXPLICIT_VR_LITTLE_ENDIAN, plain_image=False)
    assert fickle.must_have(EXPLICIT_VR_LITTLE_ENDIAN, plain_image=False)
    assert not fickle.must_have(EXPLICIT_VR_BIG_ENDIAN, plain_image=False)


def test_what_a_pacs_can_have(pacs: dict[str, Pacs]) -> None:
    """What was lost is not encoded again: a PACS that takes lossless compression only never gets it."""
    assert pacs["COMPACT"].can_have(EXPLICIT_VR_BIG_ENDIAN)
    assert not pacs["COMPACT"].can_have(JPEG_BASELINE)
    assert pacs["LEGACY"].can_have(JPEG_BASELINE)


@pytest.mark.parametrize(("syntaxes", "answer"), [(1, "A_ASSOCIATE_AC"), (2, "A_ABORT_RQ")])
def test_nervous(pacs: dict[str, Pacs], syntaxes: int, answer: str) -> None:
    """Two presentation contexts for one SOP class are answered with an A-ABORT; one is accepted."""
    pacs["NERVOUS"].open(None)
    answers: list[str] = []

    def note(event: Event) -> None:
        answers.append(type(event.pdu).__name__)

    proposed = [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN][:syntaxes]
    association = AE().associate(
        HOST,
        pacs["NERVOUS"].port,
        contexts=[build_context(CT_IMAGE, syntax) for syntax in proposed],
        evt_handlers=[(evt.EVT_PDU_RECV, note)],
    )
    if association.is_established:
        association.release()
    assert answers[0] == answer
