"""Part 10 files: the head that we write before a data set, and the one that we read (PS3.10 7.1).

The spooled file is the promise: it is a valid Part 10 file, and its head says who sent it, so a lost queue can be
rebuilt from the files alone.
"""

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from router.dicom import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from router.model.instance import Envelope, Identity

PREAMBLE = bytes(128) + b"DICM"
"""The preamble is not part of what DIMSE carries, and ours stays zero (PS3.10 7.5)."""

DIGEST_LENGTH = 32
"""xxh3-128 in hexadecimal."""

LARGEST_META = 1 << 20
"""Bytes of file meta information that we are willing to read."""

_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX, _PRIVATE = 0x0002, 0x0003, 0x0010, 0x0102
_REQUIRED = {
    _SOP_CLASS: "Media Storage SOP Class UID (0002,0002)",
    _SOP_INSTANCE: "Media Storage SOP Instance UID (0002,0003)",
    _TRANSFER_SYNTAX: "Transfer Syntax UID (0002,0010)",
}
_LONG_VRS = frozenset({b"OB", b"UR"})


class Part10Error(Exception):
    """Not a Part 10 file that can be used: the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a data set that we spool."""

    content: bytes
    digest_at: int
    """Where in ``content`` the slot for the data set's digest begins."""


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the head of a file says."""

    identity: Identity
    header_size: int
    envelope: Envelope | None
    """Who sent it to us; None: the file was not written by our spool."""
    digest: str | None


def head(identity: Identity, envelope: Envelope) -> Head:
    """Preamble, prefix and file meta information for an instance that arrives.

    The digest's slot is a field of the private information (0002,0102), filled with zeros until it is known.
    """
    private = json.dumps(
        {
            "digest": "0" * DIGEST_LENGTH,
            "peer": [envelope.peer_host, envelope.peer_port],
            "association": envelope.association,
            "received_at": envelope.received_at.isoformat(),
            # Whole and as they were: the AE elements below are cut to what the VR allows.
            "calling_ae_title": envelope.calling_ae_title,
            "called_ae_title": envelope.called_ae_title,
        },
        separators=(",", ":"),
    ).encode("ascii")
    host = f"[{envelope.peer_host}]" if ":" in envelope.peer_host else envelope.peer_host
    address = f"dicom://{host}:{envelope.peer_port}"
    before = b"".join(
        (
            _element(0x0001, b"OB", b"\0\1"),
            _element(_SOP_CLASS, b"UI", _ascii(identity.sop_class)),
            _element(_SOP_INSTANCE, b"UI", _ascii(identity.sop_instance)),
            _element(_TRANSFER_SYNTAX, b"UI", _ascii(identity.transfer_syntax)),
            _element(0x0012, b"UI", _ascii(IMPLEMENTATION_CLASS_UID)),
            _element(0x0013, b"SH", _ascii(IMPLEMENTATION_VERSION_NAME)),
            _element(0x0017, b"AE", _ascii(envelope.calling_ae_title)[:16]),
            _element(0x0018, b"AE", _ascii(envelope.called_ae_title)[:16]),
            _element(0x0027, b"UR", _ascii(address)),
            _element(0x0100, b"UI", _ascii(IMPLEMENTATION_CLASS_UID)),
        )
    )
    last = _element(_PRIVATE, b"OB", private)
    length = _element(0x0000, b"UL", struct.pack("<I", len(before) + len(last)))
    content = PREAMBLE + length + before + last
    slot = b'"digest":"'
    return Head(content, content.index(slot, len(content) - len(last)) + len(slot))


def _ascii(value: str) -> bytes:
    return value.encode("ascii", "replace")


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in {b"UI", b"OB"} else b" "
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHI", 0x0002, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def read_meta(path: Path) -> FileMeta:
    """The file meta information of a Part 10 file. Blocking.

    Raises:
        Part10Error: it is not one, or lacks what C-STORE needs.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start = os.pread(descriptor, LARGEST_META, 0)
    finally:
        os.close(descriptor)
    return meta_of(start, path.name)


def meta_of(start: bytes, name: str) -> FileMeta:
    """The same, of a file that begins so.

    Args:
        start: up to ``LARGEST_META`` bytes.
        name: of the file, for sentences.

    Raises:
        Part10Error: as ``read_meta``.
    """
    if start[128:132] != b"DICM":
        raise Part10Error(f"{name} is not a DICOM Part 10 file: the prefix DICM is missing at byte 128")
    values: dict[int, bytes] = {}
    end = len(PREAMBLE)
    for element, value, after in _elements(start, end):
        values[element] = value
        end = after
    uids = {element: _uid(values.get(element, b"")) for element in _REQUIRED}
    if missing := [_REQUIRED[element] for element, uid in uids.items() if not uid]:
        raise Part10Error(f"{name} lacks {' and '.join(missing)} in its file meta information")
    if spoiled := [_REQUIRED[element] for element, uid in uids.items() if not _can_be_sent(uid)]:
        raise Part10Error(f"{name} has no UID in {' and '.join(spoiled)}: it cannot be sent")
    if start[end : end + 2] == b"\2\0":
        raise Part10Error(f"{name} ends within its file meta information")
    identity = Identity(uids[_SOP_CLASS], uids[_SOP_INSTANCE], uids[_TRANSFER_SYNTAX])
    envelope, digest = _private(values.get(_PRIVATE, b""), values)
    return FileMeta(identity, end, envelope, digest)


def _elements(start: bytes, offset: int) -> Iterator[tuple[int, bytes, int]]:
    """The elements of group 0002: element number, value, offset behind it."""
    while len(start) - offset >= 8:
        group, element, vr, length = struct.unpack_from("<HH2sH", start, offset)
        if group != 0x0002:
            return
        offset += 8
        if vr in _LONG_VRS or vr in {b"UN", b"UT", b"OW"}:
            if len(start) - offset < 4:
                return
            (length,) = struct.unpack_from("<I", start, offset)
            offset += 4
        if length > len(start) - offset:
            return
        offset += length
        yield element, start[offset - length : offset], offset


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")


def _can_be_sent(uid: str) -> bool:
    """As lenient as the SCP is: UIDs that other systems made up are forwarded (`1.02`)."""
    return len(uid) <= 64 and uid.isascii() and uid.isprintable()


def _private(value: bytes, values: dict[int, bytes]) -> tuple[Envelope | None, str | None]:
    if _uid(values.get(0x0100, b"")) != IMPLEMENTATION_CLASS_UID:
        return None, None
    try:
        known = json.loads(value.rstrip(b"\0"))
        host, port = known["peer"]
        envelope = Envelope(
            calling_ae_title=str(known["calling_ae_title"]),
            called_ae_title=str(known["called_ae_title"]),
            peer_host=str(host),
            peer_port=int(port),
            association=str(known["association"]),
            received_at=datetime.fromisoformat(known["received_at"]),
        )
        digest = str(known["digest"])
        _check(envelope, digest)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # A file of another spool's making, or damaged: its data set may still be good.
        return None, None
    return envelope, digest


def _check(envelope: Envelope, digest: str) -> None:
    """What a queue that is rebuilt can keep, compare and show.

    Raises:
        ValueError: it is none of ours: a port that is none, an instant without a zone, or what is not text.
    """
    if not 0 <= envelope.peer_port < 1 << 16 or envelope.received_at.tzinfo is None:
        raise ValueError
    texts = (envelope.calling_ae_title, envelope.called_ae_title, envelope.peer_host, envelope.association, digest)
    for text in texts:
        text.encode("utf-8")
