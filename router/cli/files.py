"""Which files there are to send, and why others are not."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.dicom.content import Outgoing

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""A DICOMDIR: it lists objects of its medium and is none itself (PS3.3 annex F)."""
UID_LENGTH = 64


@dataclass(slots=True)
class Found:
    """What there is to send."""

    instances: "list[Outgoing]" = field(default_factory=list)
    """Numbered by their place in this list."""
    names: list[Path] = field(default_factory=list)
    """Of each instance's file, as the user wrote it."""
    skipped: int = 0
    """Files in folders that are no DICOM objects, and DICOMDIRs."""
    unusable: dict[Path, str] = field(default_factory=dict)
    """Files that cannot be read, or were named and are no DICOM objects; and why."""


def find(paths: Iterable[Path]) -> Found:
    """The DICOM objects among ``paths`` and below those that are folders."""
    found = Found()
    for path in paths:
        if path.is_dir():
            for file in _files(path):
                _add(found, file, named=False)
        elif path.is_file():
            _add(found, path, named=True)
        else:
            found.unusable[path] = f"there is no file {path}"
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, in the order of names."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        paths = (Path(parent, name) for name in sorted(files))
        yield from (path for path in paths if path.is_file())  # a pipe would be waited for


def _add(found: Found, path: Path, *, named: bool) -> None:
    from router.dicom.content import Outgoing
    from router.dicom.part10 import Part10Error, read_meta

    try:
        meta = read_meta(path)
        size = path.stat().st_size
    except Part10Error as error:
        if named:
            found.unusable[path] = str(error)
        else:
            found.skipped += 1
        return
    except OSError as error:
        found.unusable[path] = f"{path.name} cannot be read: {error.strerror}"
        return
    identity = meta.identity
    if identity.sop_class == MEDIA_STORAGE_DIRECTORY:
        found.skipped += 1
    elif not all(map(_is_uid, (identity.sop_class, identity.sop_instance, identity.transfer_syntax))):
        found.unusable[path] = f"{path.name} has a UID in its file meta information that cannot be sent"
    else:
        # A link is followed here: the payload itself is opened without following any.
        found.instances.append(
            Outgoing(len(found.names), identity, path.resolve(), meta.header_size, size, digest=None)
        )
        found.names.append(path)


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= UID_LENGTH and text.isascii() and text.isprintable()
