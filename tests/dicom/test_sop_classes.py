"""Which abstract syntaxes are stored: every Storage class, and what nobody knows."""

import pytest
from pydicom._uid_dict import UID_dictionary
from pynetdicom import AllStoragePresentationContexts, QueryRetrievePresentationContexts

from router.dicom.sop_classes import MEDIA_STORAGE_DIRECTORY, is_storage, name_of, storage_sop_classes
from router.model.presentation_context import VERIFICATION
from tests.samples import large_samples, samples

pytestmark = pytest.mark.unit

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize("accept_unknown", [False, True])
def test_every_storage_class_is_stored(*, accept_unknown: bool) -> None:
    """Pynetdicom's registry, and every sample there is."""
    known = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    known |= {sample.sop_class for sample in (*samples(), *large_samples())} & set(UID_dictionary)
    assert len(known) > 150
    assert {uid for uid in known if not is_storage(uid, accept_unknown=accept_unknown)} == set()


@pytest.mark.parametrize("accept_unknown", [False, True])
def test_what_is_known_as_something_else_is_not(*, accept_unknown: bool) -> None:
    """Query/Retrieve, Verification, storage commitment, printing, DICOMDIR, transfer syntaxes."""
    others = {str(context.abstract_syntax) for context in QueryRetrievePresentationContexts}
    others |= {
        VERIFICATION,
        MEDIA_STORAGE_DIRECTORY,
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.5.1.1.9",
        "1.2.840.10008.1.2",
    }
    others |= {uid for uid, (_, kind, *_) in UID_dictionary.items() if kind != "SOP Class"}
    assert {uid for uid in others if is_storage(uid, accept_unknown=accept_unknown)} == set()


@pytest.mark.parametrize("uid", ["1.2.3.4", "1.02.3", "1.2.840.113619.4.26", "1" * 64])
def test_unknown_classes_as_configured(uid: str) -> None:
    """Private ones, and those younger than the registries."""
    assert is_storage(uid, accept_unknown=True)
    assert not is_storage(uid, accept_unknown=False)


@pytest.mark.parametrize("uid", ["", "1..2", "1.2.", "a.b", "1" * 65, "../../etc", "1.²"])
def test_what_is_no_uid_is_never_stored(uid: str) -> None:
    """However lenient."""
    assert not is_storage(uid, accept_unknown=True)


def test_names() -> None:
    """Words for people; the UID where there are none."""
    assert name_of(CT) == "CT Image Storage"
    assert name_of("1.2.3") == "1.2.3"
    assert "1.2.840.10008.5.1.4.1.1.6" in storage_sop_classes()  # retired, and some modality still sends it
