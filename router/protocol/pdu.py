"""PDUs as they stand on the wire (PS3.8 9.3): types, caps, the small fixed ones, and fragments of P-DATA-TF.

All numbers are big endian. The association PDUs with their items are in `association`.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from router.protocol.states import Stimulus

HEADER: Final = struct.Struct(">BxI")
"""Type and length of what follows: every PDU begins with these six bytes."""

PDV_HEADER: Final = struct.Struct(">IBB")
"""Length of the rest, presentation context id, message control header (PS3.8 9.3.5.1 and E.2)."""

COMMAND: Final = 0x01
LAST: Final = 0x02
"""Bits of the message control header; the others are never checked (PS3.8 E.2)."""

MAXIMUM_SENT: Final = 131072
"""Bytes of a P-DATA-TF that we send to a peer that would take more: larger ones gain nothing."""

TLS_RECORDS: Final = frozenset({0x15, 0x16})
"""What a peer's first byte is that speaks TLS, an alert or a handshake (RFC 8446 5.1): no PDU begins so."""

_SMALLEST_MAXIMUM = 8
"""A maximum length below this could not carry two bytes of content; some peers announce 1 to 6, and take 8."""

_ASSOCIATE_MAXIMUM = 256 * 1024 - HEADER.size
"""128 presentation contexts with 45 transfer syntaxes each take some 160 KiB."""


class PduType(IntEnum):
    """The types of PS3.8 9.3.1."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a PDU by its type alone.

    `smallest` and `largest` are the lengths that its header may announce; None: the maximum length that we offered.
    """

    name: str
    stimulus: Stimulus
    smallest: int
    largest: int | None


KINDS: Final[Mapping[int, Kind]] = {
    PduType.ASSOCIATE_RQ.value: Kind("A-ASSOCIATE-RQ", Stimulus.ASSOCIATE_RQ_PDU, 68, _ASSOCIATE_MAXIMUM),
    PduType.ASSOCIATE_AC.value: Kind("A-ASSOCIATE-AC", Stimulus.ASSOCIATE_AC_PDU, 68, _ASSOCIATE_MAXIMUM),
    PduType.ASSOCIATE_RJ.value: Kind("A-ASSOCIATE-RJ", Stimulus.ASSOCIATE_RJ_PDU, 4, 4),
    PduType.P_DATA_TF.value: Kind("P-DATA-TF", Stimulus.P_DATA_TF_PDU, PDV_HEADER.size, None),
    PduType.RELEASE_RQ.value: Kind("A-RELEASE-RQ", Stimulus.RELEASE_RQ_PDU, 4, 4),
    PduType.RELEASE_RP.value: Kind("A-RELEASE-RP", Stimulus.RELEASE_RP_PDU, 4, 4),
    PduType.ABORT.value: Kind("A-ABORT", Stimulus.ABORT_PDU, 4, 4),
}


def _four(pdu_type: PduType, second: int = 0, third: int = 0, fourth: int = 0) -> bytes:
    return HEADER.pack(pdu_type, 4) + bytes((0, second, third, fourth))


RELEASE_RQ: Final = _four(PduType.RELEASE_RQ)
RELEASE_RP: Final = _four(PduType.RELEASE_RP)


def abort(source: int, reason: int) -> bytes:
    """Return an A-ABORT (PS3.8 9.3.8)."""
    return _four(PduType.ABORT, 0, source, reason)


def reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return _four(PduType.ASSOCIATE_RJ, result, source, reason)


def fragments(
    context_id: int, content: memoryview, peer_maximum: int, *, command: bool, last: bool
) -> Iterator[bytes | memoryview]:
    """Yield P-DATA-TF PDUs: a header, then a slice of `content`, and so on. Equal headers are one object.

    Every fragment fills its PDU, so that only the last can be odd (PS3.8 E.1).

    Args:
        context_id: the presentation context.
        content: a command set, or a part of a data set.
        peer_maximum: the largest PDU the peer takes, in bytes; 0: any.
        command: whether this is a command set.
        last: whether `content` ends it.
    """
    maximum = max(_SMALLEST_MAXIMUM, min(peer_maximum or MAXIMUM_SENT, MAXIMUM_SENT))
    size = (maximum - PDV_HEADER.size) & ~1
    control = COMMAND if command else 0

    def header(length: int, flags: int) -> bytes:
        return HEADER.pack(PduType.P_DATA_TF, length + PDV_HEADER.size) + PDV_HEADER.pack(
            length + 2, context_id, control | flags
        )

    # What ends the content keeps at least one byte, unless there is none at all.
    whole = max(0, len(content) - 1) // size if last else len(content) // size
    full = header(size, 0)
    for start in range(0, whole * size, size):
        yield full
        yield content[start : start + size]
    rest = content[whole * size :]
    if rest or last:
        yield header(len(rest), LAST if last else 0)
        yield rest
