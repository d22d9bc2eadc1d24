"""The one table of transfer syntaxes (PS3.5 section 10, PS3.6 Table A-1)."""

from dataclasses import dataclass
from enum import StrEnum

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"


class Kind(StrEnum):
    """What a transfer syntax does to pixel data."""

    NATIVE = "native"  # the pixels as they are; the data set may be deflated as a whole
    LOSSLESS = "lossless"  # every pixel comes back
    LOSSY = "lossy"  # may lose; a syntax that allows both counts as lossy
    VIDEO = "video"
    REFERENCED = "referenced"  # the pixels are elsewhere (JPIP)
    UNKNOWN = "unknown"  # private, or younger than this table: passed through as stored


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One row of the table."""

    uid: str
    name: str
    kind: Kind
    explicit_vr: bool = True
    little_endian: bool = True
    deflated: bool = False

    @property
    def encapsulated(self) -> bool:
        """Whether pixel data comes in fragments (PS3.5 A.4). An unknown syntax is taken to be encapsulated."""
        return self.kind is not Kind.NATIVE


def _table(*rows: TransferSyntax) -> dict[str, TransferSyntax]:
    return {row.uid: row for row in rows}


def _compressed(kind: Kind, suffix: str, name: str) -> TransferSyntax:
    return TransferSyntax(f"1.2.840.10008.1.2.{suffix}", name, kind)


TRANSFER_SYNTAXES = _table(
    TransferSyntax(IMPLICIT_VR_LITTLE_ENDIAN, "Implicit VR Little Endian", Kind.NATIVE, explicit_vr=False),
    TransferSyntax(EXPLICIT_VR_LITTLE_ENDIAN, "Explicit VR Little Endian", Kind.NATIVE),
    TransferSyntax(
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "Deflated Explicit VR Little Endian", Kind.NATIVE, deflated=True
    ),
    TransferSyntax(EXPLICIT_VR_BIG_ENDIAN, "Explicit VR Big Endian", Kind.NATIVE, little_endian=False),
    _compressed(Kind.LOSSY, "4.50", "JPEG Baseline (Process 1)"),
    _compressed(Kind.LOSSY, "4.51", "JPEG Extended (Process 2 and 4)"),
    _compressed(Kind.LOSSLESS, "4.57", "JPEG Lossless, Non-Hierarchical (Process 14)"),
    _compressed(
        Kind.LOSSLESS,
        "4.70",
        "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])",
    ),
    _compressed(Kind.LOSSLESS, "4.80", "JPEG-LS Lossless Image Compression"),
    _compressed(Kind.LOSSY, "4.81", "JPEG-LS Lossy (Near-Lossless) Image Compression"),
    _compressed(Kind.LOSSLESS, "4.90", "JPEG 2000 Image Compression (Lossless Only)"),
    _compressed(Kind.LOSSY, "4.91", "JPEG 2000 Image Compression"),
    _compressed(Kind.LOSSLESS, "4.92", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)"),
    _compressed(Kind.LOSSY, "4.93", "JPEG 2000 Part 2 Multi-component Image Compression"),
    _compressed(Kind.REFERENCED, "4.94", "JPIP Referenced"),
    TransferSyntax("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", Kind.REFERENCED, deflated=True),
    _compressed(Kind.VIDEO, "4.100", "MPEG2 Main Profile / Main Level"),
    _compressed(Kind.VIDEO, "4.100.1", "Fragmentable MPEG2 Main Profile / Main Level"),
    _compressed(Kind.VIDEO, "4.101", "MPEG2 Main Profile / High Level"),
    _compressed(Kind.VIDEO, "4.101.1", "Fragmentable MPEG2 Main Profile / High Level"),
    _compressed(Kind.VIDEO, "4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    _compressed(Kind.VIDEO, "4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    _compressed(Kind.VIDEO, "4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    _compressed(Kind.VIDEO, "4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    _compressed(Kind.VIDEO, "4.104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    _compressed(Kind.VIDEO, "4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    _compressed(Kind.VIDEO, "4.105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    _compressed(Kind.VIDEO, "4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    _compressed(Kind.VIDEO, "4.106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    _compressed(Kind.VIDEO, "4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    _compressed(Kind.VIDEO, "4.107", "HEVC/H.265 Main Profile / Level 5.1"),
    _compressed(Kind.VIDEO, "4.108", "HEVC/H.265 Main 10 Profile / Level 5.1"),
    _compressed(Kind.LOSSLESS, "4.110", "JPEG XL Lossless"),
    _compressed(Kind.LOSSY, "4.111", "JPEG XL JPEG Recompression"),
    _compressed(Kind.LOSSY, "4.112", "JPEG XL"),
    _compressed(Kind.LOSSLESS, "4.201", "High-Throughput JPEG 2000 Image Compression (Lossless Only)"),
    _compressed(
        Kind.LOSSLESS, "4.202", "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)"
    ),
    _compressed(Kind.LOSSY, "4.203", "High-Throughput JPEG 2000 Image Compression"),
    _compressed(Kind.REFERENCED, "4.204", "JPIP HTJ2K Referenced"),
    TransferSyntax("1.2.840.10008.1.2.4.205", "JPIP HTJ2K Referenced Deflate", Kind.REFERENCED, deflated=True),
    _compressed(Kind.LOSSLESS, "5", "RLE Lossless"),
    _compressed(Kind.VIDEO, "7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video"),
    _compressed(Kind.VIDEO, "7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video"),
    _compressed(Kind.VIDEO, "7.3", "SMPTE ST 2110-30 PCM Digital Audio"),
    _compressed(Kind.LOSSLESS, "8.1", "Deflated Image Frame Compression"),
)


def transfer_syntax(uid: str) -> TransferSyntax:
    """The row for ``uid``; for a private or unknown one a row of kind UNKNOWN, as Explicit VR Little Endian.

    PS3.5 10.2 and A.4: every encapsulated syntax, private ones by custom too, encodes its data set so.
    """
    return TRANSFER_SYNTAXES.get(uid) or TransferSyntax(uid, uid, Kind.UNKNOWN)
