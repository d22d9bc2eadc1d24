"""What of pynetdicom the protocol relies upon, and why its codec for associations is not used.

Private names and behaviour of a library may change with any release. If one of these fails, look again.
"""

import inspect
import logging
import warnings

import pytest
from pynetdicom import dimse_messages, fsm
from pynetdicom import pdu as pdus
from pynetdicom.pdu_items import PDU_ITEM_TYPES, AbstractSyntaxSubItem

from tests.protocol.pair import association, item, proposed, user_information

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "name",
    ["A_ASSOCIATE_RQ", "A_ASSOCIATE_AC", "A_ASSOCIATE_RJ", "P_DATA_TF", "A_RELEASE_RQ", "A_RELEASE_RP", "A_ABORT_RQ"],
)
def test_pdus_of_the_witness(name: str) -> None:
    """The seven PDUs can be decoded and encoded without an association."""
    pdu = getattr(pdus, name)()
    assert list(inspect.signature(pdu.decode).parameters) == ["bytestream"]
    assert callable(pdu.encode)


def test_messages_of_the_witness() -> None:
    """DIMSE messages are put together from P-DATA primitives, and taken apart."""
    assert list(inspect.signature(dimse_messages.DIMSEMessage.encode_msg).parameters) == [
        "self",
        "context_id",
        "max_pdu_length",
    ]
    assert callable(dimse_messages.DIMSEMessage.decode_msg)


def test_table_of_the_witness() -> None:
    """Table 9-10 is a mapping from event and state to the name of an action."""
    assert fsm.TRANSITION_TABLE["Evt1", "Sta1"] == "AE-1"


def test_unknown_user_information_is_refused() -> None:
    """Reason 1 against its codec: PS3.8 D.2 demands that unknown sub-items be ignored."""
    assert 0x5F not in PDU_ITEM_TYPES
    with pytest.raises(KeyError):
        pdus.A_ASSOCIATE_RQ().decode(association(proposed(1), user_information(item(0x5F, b"later edition"))))


def test_unusual_uids_are_remembered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Reason 2: the text of a peer goes into a warning, whose registry never forgets one, and into the log."""
    syntax = AbstractSyntaxSubItem()
    with caplog.at_level(logging.WARNING, "pynetdicom"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        syntax.decode(item(0x30, b"1.02.peer"))
    assert "1.02.peer" in str(caught[0].message)
    assert "1.02.peer" in caplog.text


@pytest.mark.parametrize("title", [b" " * 16, b"A\\B", b"\xc4\xd6", b"A\nB"])
def test_unusual_ae_titles_cannot_be_decoded(title: bytes) -> None:
    """Reason 3: whether to reject an AE title is the application's decision, with an A-ASSOCIATE-RJ."""
    with pytest.raises(ValueError, match=r"AE Title|decode"):
        pdus.A_ASSOCIATE_RQ().decode(association(proposed(1), calling=title))
