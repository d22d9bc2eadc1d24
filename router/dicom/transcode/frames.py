"""Fragments and frames of encapsulated pixel data (PS3.5 A.4), and native frames, one at a time."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from router.dicom.transcode.header import (
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    ConversionError,
    Encoding,
    Header,
    Source,
    exactly,
)
from router.dicom.transcode.vr import PIXEL_DATA

LARGEST_FRAGMENT = 0xFFFFFFFE
EXPLICIT = Encoding(explicit=True, little_endian=True)
"""Every encapsulated transfer syntax is so encoded (PS3.5 A.4)."""


def encapsulated(source: Source, frames: int, begins: Callable[[bytes], bool]) -> Iterator[bytes]:
    """The frames of encapsulated pixel data, one after the other.

    Where a frame begins, its first fragment says itself; Basic and Extended Offset Table, which may be missing, empty
    or wrong, are not asked. That it comes out even is checked.

    Args:
        source: at the first item; in the end behind the sequence delimitation item.
        frames: how many there have to be.
        begins: whether a fragment begins a frame.

    Raises:
        ConversionError: it is damaged, or has another number of frames.
    """
    frame: list[bytes] = []
    found = 0
    for fragment in _fragments(source):
        if begins(fragment):
            found += 1
            if frame:
                yield b"".join(frame)
                frame.clear()
        elif not frame:
            raise ConversionError("the first fragment of its pixel data begins no frame")
        if found > frames:
            break
        frame.append(fragment)
    if found != frames:
        raise ConversionError(
            f"it has {'more' if found > frames else found} frames of pixel data, where Number of Frames is {frames}"
        )
    yield b"".join(frame)


def _fragments(source: Source) -> Iterator[bytes]:
    """What follows the Basic Offset Table; empty fragments are none."""
    table = True
    while (header := EXPLICIT.read(source)) is not None:
        if header.tag == SEQUENCE_END:
            return
        if header.tag != ITEM or header.length == UNDEFINED:
            raise ConversionError("encapsulated pixel data holds something that is not a fragment")
        fragment = exactly(source, header.length)
        if fragment and not table:
            yield fragment
        table = False
    raise ConversionError("encapsulated pixel data has no end")


def native(source: Source, length: int, frame_size: int, frames: int) -> Iterator[bytes]:
    """The frames of native pixel data of ``length`` bytes.

    Raises:
        ConversionError: it is longer or shorter than what its description says.
    """
    expected = frame_size * frames
    if length not in {expected, expected + expected % 2}:
        raise ConversionError(f"its pixel data is {length} bytes long, where it describes {expected}")
    for _ in range(frames):
        yield exactly(source, frame_size)
    exactly(source, length - expected)


def write_beginning(target: BinaryIO) -> None:
    """The header of encapsulated pixel data, and a Basic Offset Table that is empty.

    That is as good as a full one (PS3.5 A.4), and right for any number of bytes that may follow.
    """
    EXPLICIT.write(target, Header(PIXEL_DATA, b"OB", UNDEFINED))
    EXPLICIT.write(target, Header(ITEM, b"", 0))


def write_frame(target: BinaryIO, frame: bytes) -> None:
    """One frame as one fragment."""
    if len(frame) > LARGEST_FRAGMENT:
        raise ConversionError("a compressed frame is larger than a fragment can be")
    EXPLICIT.write(target, Header(ITEM, b"", len(frame) + len(frame) % 2))
    target.write(frame)
    target.write(bytes(len(frame) % 2))


def write_end(target: BinaryIO) -> None:
    """The sequence delimitation item."""
    EXPLICIT.write(target, Header(SEQUENCE_END, b"", 0))
