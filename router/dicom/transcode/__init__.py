"""Lossless conversion of instances, in worker processes that limit themselves and may be killed.

Paths cross to the workers, never pixels. In a worker, ``header`` rewrites the data set element by element in the other
VR encoding and copies values; where the pixels change too, ``recoding`` takes its place for Pixel Data and converts one
frame at a time: ``frames`` finds it, ``codestream`` asks what it says about itself, ``codecs`` decodes and encodes it.
"""

from router.model.transfer_syntax import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)

_NATIVE = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
_ENCODED = frozenset({RLE_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, HTJ2K_LOSSLESS})
_LOSSLESS = frozenset(
    {
        *_NATIVE,
        *_ENCODED,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        JPEG_LOSSLESS,
        JPEG_LOSSLESS_SV1,
        "1.2.840.10008.1.2.4.202",
    }
)
_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91, 203))
"""Decoded, never encoded again: what was lost stays lost, and Lossy Image Compression (0028,2110) stays as it is."""


def converts(stored: str, target: str) -> bool:
    """Whether instances stored in one transfer syntax can be converted losslessly to another, as a rule.

    One instance may still be an exception: its pixels, or its private elements, decide in the worker.
    """
    if stored == target:
        return False
    return (stored in _LOSSLESS and target in _NATIVE | _ENCODED) or (stored in _LOSSY and target in _NATIVE)
