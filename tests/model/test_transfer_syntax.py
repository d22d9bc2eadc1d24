from itertools import chain

import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES

from router.model.transfer_syntax import TRANSFER_SYNTAXES, Kind, TransferSyntax, transfer_syntax
from tests.samples import large_samples, samples

pytestmark = pytest.mark.unit

rows = pytest.mark.parametrize("row", TRANSFER_SYNTAXES.values(), ids=lambda row: row.uid)

JPIP_DEFLATE = ("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")


def test_the_table_is_pynetdicoms_registry() -> None:
    """The same transfer syntaxes, in number and identity: a new release of pynetdicom shows up here."""
    assert set(TRANSFER_SYNTAXES) == set(ALL_TRANSFER_SYNTAXES)


def test_what_pydicom_can_read_is_in_the_table() -> None:
    """Every syntax that pydicom lists as usable has a row."""
    assert set(AllTransferSyntaxes) <= set(TRANSFER_SYNTAXES)


def test_only_retired_and_uncompressed_encapsulated_syntaxes_are_missing() -> None:
    """What PS3.6 registers and the table lacks is retired, or 1.2.1.98, which no toolkit sends: passed as stored."""
    registered = {uid: row for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax"}
    current = {uid for uid in set(registered) - set(TRANSFER_SYNTAXES) if registered[uid][3] != "Retired"}
    assert current == {"1.2.840.10008.1.2.1.98"}


@rows
def test_a_row_says_what_the_registry_says(row: TransferSyntax) -> None:
    """Name (PS3.6 Table A-1), VR, byte order, deflation and encapsulation agree with pydicom's registry."""
    uid = UID(row.uid)
    assert (row.name, row.explicit_vr, row.little_endian) == (uid.name, not uid.is_implicit_VR, uid.is_little_endian)
    assert row.encapsulated == uid.is_encapsulated
    # pydicom calls one syntax deflated; PS3.5 A.7 and A.12 deflate the data sets of two JPIP syntaxes as well.
    assert row.deflated == (uid.is_deflated or uid in JPIP_DEFLATE)


@rows
def test_lossless_is_what_the_name_promises(row: TransferSyntax) -> None:
    """A syntax in which an encoder may lose something is never of kind LOSSLESS."""
    promised = "Lossless" in row.name and "Lossy" not in row.name
    assert (row.kind is Kind.LOSSLESS) == (promised or row.name == "Deflated Image Frame Compression")


@rows
def test_video_is_what_moves(row: TransferSyntax) -> None:
    """MPEG, HEVC and SMPTE streams are of kind VIDEO, and nothing else is."""
    assert (row.kind is Kind.VIDEO) == any(word in row.name for word in ("MPEG", "HEVC", "SMPTE"))


def test_names_are_unique() -> None:
    """A log line that names a syntax by its name is unambiguous."""
    assert len({row.name for row in TRANSFER_SYNTAXES.values()}) == len(TRANSFER_SYNTAXES)


def test_what_nobody_knows_is_passed_on_as_stored() -> None:
    """A private syntax is of kind UNKNOWN: explicit VR little endian, its pixel data encapsulated (PS3.5 A.4)."""
    private = transfer_syntax("1.2.826.0.1.3680043.9.1")
    assert private == TransferSyntax("1.2.826.0.1.3680043.9.1", "1.2.826.0.1.3680043.9.1", Kind.UNKNOWN)
    assert (private.explicit_vr, private.little_endian, private.encapsulated) == (True, True, True)


def test_real_objects_have_a_known_syntax() -> None:
    """Every sample object of pydicom has a row, and they cover native, lossless and lossy syntaxes."""
    kinds = {transfer_syntax(sample.transfer_syntax).kind for sample in chain(samples(), large_samples())}
    assert kinds == {Kind.NATIVE, Kind.LOSSLESS, Kind.LOSSY}
