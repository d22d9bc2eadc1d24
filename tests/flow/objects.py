"""Small data sets in Explicit VR Little Endian, made by hand, and how they arrive."""

import struct
from collections.abc import AsyncIterator
from datetime import datetime

from router.dicom.incoming import Offer
from router.dicom.link import Piece
from router.dicom.survey import tags
from router.flow.intake import Routing
from router.model.destination import Destination
from router.model.instance import Envelope, Identity
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from router.rules.acceptance import Listener, Truncated
from router.rules.conditions import Like, Matches
from router.rules.routing import Route, Routes, Target, Unrouted

CT = "1.2.840.10008.5.1.4.1.1.2"
PIXELS = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 40_000) + bytes(40_000)
PACS = Destination("PACS", "PACS_SCP", "pacs.invalid", 104)
CT_TO_PACS = Route("CT to the PACS", Matches("Modality", (Like("CT"),)), (Target(("PACS",)),))


def element(group: int, number: int, vr: bytes, value: str) -> bytes:
    """One element with a short length."""
    raw = value.encode()
    raw += (b"\0" if vr == b"UI" else b" ") * (len(raw) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(raw)) + raw


def data_set(sop_instance: str = "2.25.1", modality: str = "CT") -> bytes:
    """A CT image of zeros."""
    return b"".join(
        (
            element(0x0008, 0x0016, b"UI", CT),
            element(0x0008, 0x0018, b"UI", sop_instance),
            element(0x0008, 0x0060, b"CS", modality),
            element(0x0020, 0x000D, b"UI", "2.25.99"),
            PIXELS,
        )
    )


def offer(
    sop_instance: str = "2.25.1", *, now: datetime, calling: str = "CT1", truncated: Truncated = Truncated.REFUSE
) -> Offer:
    """A C-STORE-RQ for it."""
    return Offer(
        Envelope(calling, "ROUTER", "192.0.2.7", 40123, "a1", now),
        Identity(CT, sop_instance, EXPLICIT_VR_LITTLE_ENDIAN),
        Listener(truncated=truncated),
    )


async def pieces(content: bytes, size: int = 16_000) -> AsyncIterator[Piece]:
    """The data set as receive buffers hold it."""
    parts = [memoryview(content)[start : start + size] for start in range(0, len(content), size)]
    for number, part in enumerate(parts, 1):
        yield Piece([part[: len(part) // 2], part[len(part) // 2 :]], last=number == len(parts))


def routing(*routes: Route, unrouted: Unrouted = Unrouted.HOLD) -> Routing:
    """CT goes to the PACS, unless told otherwise."""
    chosen = Routes(routes or (CT_TO_PACS,))
    return Routing(chosen, {"PACS": PACS}, unrouted, tags(chosen.keywords))
