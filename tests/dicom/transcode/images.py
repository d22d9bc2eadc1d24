"""Images made for a test: a data set of the fewest elements around given pixel data."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from router.dicom.transcode.header import Encoding, Header, rewrite
from tests.dicom.transcode.witness import EXPLICIT, PIXEL_DATA, part10

Cells = npt.NDArray[np.unsignedinteger]
LITTLE = Encoding.of(EXPLICIT)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """In Explicit VR Little Endian."""
    target = BytesIO()
    LITTLE.write(target, Header(tag, vr, len(value)))
    return target.getvalue() + value


def encapsulated(fragments: Iterable[bytes], table: bytes = b"") -> bytes:
    """Pixel Data of fragments."""
    items = b"".join(b"\xfe\xff\0\xe0" + struct.pack("<I", len(each)) + each for each in (table, *fragments))
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + items + b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Picture:
    """Cells (frames × rows × columns × samples), and what a data set says about them."""

    cells: Cells
    bits_stored: int = 0
    signed: bool = False
    planar: bool = False
    colours: bytes = b""
    rows: int = 0
    frames: bytes = b""
    before: bytes = b""
    """Elements between the description and the pixels."""
    after: bytes = b""

    def described(self) -> bytes:
        """The elements before the pixels."""
        frames, rows, columns, samples = self.cells.shape
        bits = 8 * self.cells.itemsize
        stored = self.bits_stored or bits
        colours = self.colours or (b"RGB " if samples > 1 else b"MONOCHROME2 ")

        def short(tag: int, value: int) -> bytes:
            return element(tag, b"US", struct.pack("<H", value))

        number = self.frames or str(frames).encode()
        return b"".join(
            (
                element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
                element(0x00080018, b"UI", b"1.2.3\0"),
                element(0x00090010, b"LO", b"ACME"),
                element(0x00091001, b"FD", struct.pack("<d", 1.5)),
                short(0x00280002, samples),
                element(0x00280004, b"CS", colours),
                short(0x00280006, self.planar) if samples > 1 else b"",
                element(0x00280008, b"IS", number + b" " * (len(number) % 2)),
                short(0x00280010, self.rows or rows),
                short(0x00280011, columns),
                short(0x00280100, bits),
                short(0x00280101, stored),
                short(0x00280102, stored - 1),
                short(0x00280103, self.signed),
                element(0x00282110, b"CS", b"01"),
                self.before,
            )
        )

    def native(self) -> bytes:
        """The value of native pixel data in Little Endian, padded."""
        ordered = np.moveaxis(self.cells, -1, 1) if self.planar else self.cells
        value = ordered.astype(self.cells.dtype.newbyteorder("<")).tobytes()
        return value + bytes(len(value) % 2)

    def write(self, path: Path, syntax: str = EXPLICIT, fragments: Iterable[bytes] | None = None, **kept: Any) -> Path:
        """A file, native unless ``fragments`` are given."""
        vr = b"OB" if self.cells.itemsize == 1 else b"OW"
        pixels = element(PIXEL_DATA, vr, self.native()) if fragments is None else encapsulated(fragments, **kept)
        content = self.described() + pixels + self.after
        if syntax != EXPLICIT and fragments is None:
            target = BytesIO()
            rewrite(BytesIO(content), target, LITTLE, Encoding.of(syntax))
            content = target.getvalue()
        path.write_bytes(part10(content, syntax))
        return path
