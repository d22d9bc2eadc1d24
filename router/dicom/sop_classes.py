"""Which abstract syntaxes we store: every Storage class, and what no registry knows."""

from functools import cache
from typing import cast

from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class
from pynetdicom.service_class import StorageServiceClass

from router.model.presentation_context import VERIFICATION

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""A DICOMDIR lives on media and is never sent (PS3.4 annex I)."""


@cache
def storage_sop_classes() -> dict[str, str]:
    """UID → name of every Storage SOP class in the registries of pynetdicom and pydicom."""
    known = {
        str(uid): str(uid.name)
        for uid in vars(sop_class).values()
        if isinstance(uid, sop_class.SOPClass) and cast("object", uid.service_class) is StorageServiceClass
    }
    for uid, (name, kind, *_) in UID_dictionary.items():
        if (
            kind == "SOP Class"
            and uid != MEDIA_STORAGE_DIRECTORY
            and name.split(" (")[0].split(" - ")[0].endswith("Storage")
        ):
            known.setdefault(uid, name)
    return known


def is_storage(uid: str, *, accept_unknown: bool) -> bool:
    """Whether instances of this abstract syntax are stored and forwarded.

    Args:
        uid: as proposed.
        accept_unknown: private classes, and those younger than the registries, count as Storage; what is known to be
            something else (Query/Retrieve, Verification, a service of another kind) never does.
    """
    if uid in storage_sop_classes():
        return True
    known_as_something_else = uid in UID_dictionary or uid == VERIFICATION
    return accept_unknown and not known_as_something_else and _is_uid(uid)


def name_of(uid: str) -> str:
    """The SOP class in words; the UID itself for one that no registry knows."""
    return "Verification" if uid == VERIFICATION else storage_sop_classes().get(uid, uid)


def _is_uid(uid: str) -> bool:
    return 0 < len(uid) <= 64 and all(part.isdecimal() and part.isascii() for part in uid.split("."))  # noqa: PLR2004 -- PS3.5 9.1
