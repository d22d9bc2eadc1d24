"""What a data set says about its pixels, before they come (PS3.3 C.7.6.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from router.dicom.transcode.header import (
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    ConversionError,
    Encoding,
    Header,
    Source,
    exactly,
    skip,
)
from router.dicom.transcode.vr import LONGEST_VALUE, PIXEL_DATA

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00008, 0x7FE00009
_PIXELS = {PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA}

_NAMES = {
    0x00280002: "Samples per Pixel",
    0x00280004: "Photometric Interpretation",
    0x00280006: "Planar Configuration",
    0x00280008: "Number of Frames",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280100: "Bits Allocated",
    0x00280101: "Bits Stored",
    0x00280102: "High Bit",
    0x00280103: "Pixel Representation",
}


@dataclass(frozen=True, slots=True)
class Image:
    """Frames of pixels, each ``rows`` × ``columns`` × ``samples``, in cells of ``bits_allocated`` bits."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric_interpretation: str
    planar: bool
    """Native frames hold one plane after the other (Planar Configuration 1)."""

    @property
    def frame_size(self) -> int:
        """Bytes of a native frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    @property
    def size(self) -> int:
        """Bytes of all native frames, without padding."""
        return self.frame_size * self.frames

    @classmethod
    def of(cls, values: Mapping[int, bytes], *, little_endian: bool) -> Self:
        """From the values of the attributes.

        Raises:
            ConversionError: one is missing, or cannot be.
        """

        def number(tag: int, default: int | None = None) -> int:
            value = values.get(tag, b"")
            if not value and default is not None:
                return default
            if len(value) != 2:
                raise ConversionError(f"it has pixel data, and no valid {_NAMES[tag]}")
            return int.from_bytes(value, "little" if little_endian else "big")

        frames = values.get(0x00280008, b"").strip(b"\0 ") or b"1"
        if not frames.isdigit() or not 0 < int(frames) < 1 << 31:
            raise ConversionError("it has no valid Number of Frames")
        samples = number(0x00280002)
        allocated = number(0x00280100)
        stored = number(0x00280101, allocated)
        image = cls(
            rows=number(0x00280010),
            columns=number(0x00280011),
            frames=int(frames),
            samples=samples,
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=number(0x00280102, stored - 1),
            signed=number(0x00280103, 0) == 1,
            photometric_interpretation=values.get(0x00280004, b"").decode("ascii", "replace").strip("\0 "),
            planar=samples > 1 and number(0x00280006, 0) == 1,
        )
        if allocated not in {8, 16, 32}:
            raise ConversionError(f"pixel cells of {allocated} bits cannot be compressed or decompressed here")
        if samples not in {1, 3} or not image.frame_size or not 0 < stored <= allocated:
            raise ConversionError("what it says about its pixels contradicts itself")
        return image


def describe(source: Source, encoding: Encoding) -> tuple[Image, Header] | None:
    """Read as far as the pixel data; the source is at its value then.

    Returns:
        The image, and the header of Pixel Data; None: there is no pixel data.

    Raises:
        ConversionError: the pixels are floating point, or are not described well enough, or the data set is damaged.
    """
    values: dict[int, bytes] = {}
    while (header := encoding.read(source)) is not None:
        if header.tag in _PIXELS:
            if header.tag != PIXEL_DATA:
                raise ConversionError("its pixels are floating point numbers")
            return Image.of(values, little_endian=encoding.little_endian), header
        if header.length == UNDEFINED:
            _skip_sequence(source, encoding, header)
        elif header.tag in _NAMES and header.length <= LONGEST_VALUE:
            values[header.tag] = exactly(source, header.length)
        else:
            skip(source, header.length)
    return None


def _skip_sequence(source: Source, encoding: Encoding, header: Header) -> None:
    """To the end of a sequence of undefined length: a stack of how elements are encoded, no recursion."""
    stack = [Encoding(encoding.explicit and header.vr != b"UN", encoding.little_endian)]
    while stack:
        inner = stack[-1].read(source)
        if inner is None:
            raise ConversionError("a sequence of undefined length has no end")
        if inner.tag in {ITEM_END, SEQUENCE_END}:
            stack.pop()
        elif inner.length == UNDEFINED:
            stack.append(Encoding(stack[-1].explicit and inner.vr != b"UN", encoding.little_endian))
        else:
            skip(source, inner.length)
