"""What a compressed frame says about itself: asked before a codec is, for codecs believe it."""

import struct
from dataclasses import dataclass

from router.dicom.transcode.header import ConversionError

_JP2 = bytes.fromhex("0000000c6a5020200d0a870a")
"""The signature box of the JP2 file format, in which some wrap the codestream although PS3.5 A.4.4 forbids it."""
_SOC_SIZ = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_SOS, _APP0, _APP14 = 0xDA, 0xE0, 0xEE


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The frame as its codestream describes it."""

    rows: int
    columns: int
    samples: int
    precision: int
    """Bits of a sample."""
    signed: bool = False
    process: int = 0
    """JPEG, JPEG-LS: the SOF marker's second byte."""
    colour: str = ""
    """JPEG: RGB or YBR_FULL; empty: it does not say."""


def begins_jpeg(fragment: bytes) -> bool:
    """Whether a JPEG or JPEG-LS frame begins with this fragment."""
    return fragment.startswith(_JPEG)


def begins_jpeg_2000(fragment: bytes) -> bool:
    """Whether a JPEG 2000 or HTJ2K frame begins with this fragment."""
    return fragment.startswith((_SOC_SIZ, _JP2))


def require_end(frame: bytes) -> None:
    """Codecs make up what is missing at the end.

    Behind the end there may be zeros, fill bytes, or one byte of padding, which some leave as they found it.

    Raises:
        ConversionError: the end marker is missing.
    """
    if _END not in frame[-3:] and not frame.rstrip(b"\0\xff").endswith(_END):
        raise ConversionError("it is cut short: the marker at the end is missing")


def jpeg(frame: bytes) -> FrameHeader:
    """Of a JPEG (ISO/IEC 10918-1) or JPEG-LS (ISO/IEC 14495-1) frame.

    Raises:
        ConversionError: it has none.
    """
    found: FrameHeader | None = None
    colour = ""
    for marker, offset, length in _segments(frame):
        if marker in _SOF and length >= 6:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, offset)
            identifiers = frame[offset + 6 : offset + length : 3]
            if identifiers == b"RGB":
                colour = "RGB"
            found = FrameHeader(rows, columns, samples, precision, process=marker)
        elif marker == _APP14 and frame.startswith(b"Adobe", offset) and length >= 12:
            colour = "YBR_FULL" if frame[offset + 11] else "RGB"
        elif marker == _APP0 and frame.startswith(b"JFIF\0", offset):
            colour = colour or "YBR_FULL"
    if found is None:
        raise ConversionError("it has no frame header")
    return FrameHeader(found.rows, found.columns, found.samples, found.precision, process=found.process, colour=colour)


def _segments(frame: bytes) -> "list[tuple[int, int, int]]":
    """Marker, offset and length of each marker segment's content, as far as the first scan."""
    segments = []
    offset = 2
    while offset + 4 <= len(frame):
        if frame[offset] != 0xFF:
            break
        marker = frame[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        (length,) = struct.unpack_from(">H", frame, offset + 2)
        if marker == _SOS or length < 2:
            break
        segments.append((marker, offset + 4, min(length - 2, len(frame) - offset - 4)))
        offset += 2 + length
    return segments


def without_application_segments(frame: bytes) -> bytes:
    """A JPEG-LS frame without what stands before its frame header: a SPIFF header names colours that may be wrong."""
    for marker, offset, _ in _segments(frame):
        if marker in _SOF:
            return frame[:2] + frame[offset - 4 :]
    raise ConversionError("it has no frame header")


def jpeg_2000_codestream(frame: bytes) -> bytes:
    """The codestream, without the boxes of a JP2 file around it: what they say about colours is not DICOM's.

    Raises:
        ConversionError: it has none.
    """
    if not frame.startswith(_JP2):
        return frame
    offset = 0
    while offset + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, offset)
        if kind == b"jp2c":
            return frame[offset + 8 : offset + length if length else None]
        if length < 8:
            break
        offset += length
    raise ConversionError("it has no codestream")


def jpeg_2000(codestream: bytes) -> FrameHeader:
    """Of a JPEG 2000 (ISO/IEC 15444-1 A.5.1) or HTJ2K codestream.

    Raises:
        ConversionError: it has none, or its samples are not all of one kind.
    """
    if not codestream.startswith(_SOC_SIZ) or len(codestream) < 45:
        raise ConversionError("it is no codestream")
    right, bottom, left, top = struct.unpack_from(">4I", codestream, 8)
    (samples,) = struct.unpack_from(">H", codestream, 40)
    components = {codestream[42 + 3 * number : 45 + 3 * number] for number in range(samples)}
    if len(components) != 1 or len(component := components.pop()) != 3 or component[1:] != b"\1\1":
        raise ConversionError("its samples differ in precision or are subsampled")
    return FrameHeader(
        bottom - top, right - left, samples, precision=(component[0] & 0x7F) + 1, signed=bool(component[0] & 0x80)
    )
