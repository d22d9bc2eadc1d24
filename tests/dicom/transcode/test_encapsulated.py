"""Fragments and frames as peers send them, and as they should not."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from router.dicom.content import ContentError
from router.dicom.transcode import recoding
from router.dicom.transcode.header import ConversionError
from router.dicom.transcode.worker import write_converted
from tests.dicom.transcode.images import Cells, Picture, element, encapsulated
from tests.dicom.transcode.witness import (
    BASELINE,
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    J2K,
    JPEG_LS,
    LOSSLESS_SV1,
    PIXEL_DATA,
    RLE,
    converted,
    outgoing,
    part10,
    read,
    values,
)

pytestmark = pytest.mark.negotiation

CELLS: Cells = np.random.default_rng(11).integers(0, 4000, (3, 40, 50, 1)).astype("<u2")


def even(frame: bytes) -> bytes:
    """As a fragment."""
    return frame + bytes(len(frame) % 2)


def frames(syntax: str, cells: Cells = CELLS) -> list[bytes]:
    """The planes, compressed."""
    encoders: dict[str, Any] = {
        JPEG_LS: imagecodecs.jpegls_encode,
        J2K: lambda plane: imagecodecs.jpeg2k_encode(plane, codecformat="J2K", reversible=True),
        HTJ2K: imagecodecs.htj2k_encode,
        LOSSLESS_SV1: lambda plane: imagecodecs.jpeg8_encode(plane, lossless=True, bitspersample=16),
        RLE: rle,
    }
    return [even(bytes(encoders[syntax](plane[:, :, 0]))) for plane in cells]


def rle(plane: Cells) -> bytes:
    """Two segments of literal runs (PS3.5 annex G)."""
    segments = []
    for byte in (1, 0):
        content = plane.view("u1").reshape(*plane.shape, 2)[:, :, byte].tobytes()
        pieces = [content[start : start + 100] for start in range(0, len(content), 100)]
        segments.append(even(b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)))
    return struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13) + b"".join(segments)


def split(frame: bytes, count: int) -> list[bytes]:
    """A frame in several fragments of even length."""
    size = len(frame) // count // 2 * 2
    return [frame[number * size : (number + 1) * size if number + 1 < count else None] for number in range(count)]


def table(fragments: list[list[bytes]]) -> bytes:
    """The Basic Offset Table for fragments by frame."""
    offsets, at = [], 0
    for frame in fragments:
        offsets.append(at)
        at += sum(8 + len(fragment) for fragment in frame)
    return struct.pack(f"<{len(offsets)}I", *offsets)


SYNTAXES = [RLE, LOSSLESS_SV1, JPEG_LS, J2K, HTJ2K]
PICTURE = Picture(CELLS)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kind", ["no table", "a table", "a wrong table", "an extended table"])
def test_offset_tables(syntax: str, kind: str, tmp_path: Path) -> None:
    """With or without; after the conversion the extended one is gone."""
    fragments = frames(syntax)
    basic = {"a table": table([[each] for each in fragments]), "a wrong table": bytes(12)}.get(kind, b"")
    extended = element(0x7FE00001, b"OV", bytes(24)) + element(0x7FE00002, b"OV", bytes(24))
    picture = replace(PICTURE, before=extended) if kind == "an extended table" else PICTURE
    original = picture.write(tmp_path / "original", syntax, fragments, table=basic)
    for target in (IMPLICIT, EXPLICIT, BIG_ENDIAN, RLE if syntax != RLE else J2K):
        result = converted(original, target, tmp_path)
        assert np.array_equal(values(result), CELLS)
        assert "ExtendedOffsetTable" not in read(result)
        assert "ExtendedOffsetTableLengths" not in read(result)


@pytest.mark.parametrize("syntax", SYNTAXES[1:])
@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_frames_of_several_fragments(syntax: str, count: int, tmp_path: Path, *, with_table: bool) -> None:
    """Each begins where its codestream begins; an empty fragment is none."""
    pieces = [split(frame, 4) for frame in frames(syntax, CELLS[:count])]
    pieces[0].insert(2, b"")
    flat = [fragment for frame in pieces for fragment in frame]
    original = Picture(CELLS[:count]).write(
        tmp_path / "original", syntax, flat, table=table(pieces) if with_table else b""
    )
    assert read(converted(original, EXPLICIT, tmp_path)).PixelData == CELLS[:count].tobytes()


def test_what_follows_the_pixels_is_kept(tmp_path: Path) -> None:
    """A data set does not end with them."""
    picture = replace(PICTURE, after=element(0xFFFCFFFC, b"OB", b"\0\0"))
    original = picture.write(tmp_path / "original", JPEG_LS, frames(JPEG_LS))
    assert read(converted(original, IMPLICIT, tmp_path))[0xFFFCFFFC].value == b"\0\0"


def refused(original: Path, reason: str, tmp_path: Path, target: str = EXPLICIT) -> None:
    """It is, for that reason."""
    with pytest.raises(ConversionError, match=reason):
        converted(original, target, tmp_path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_wrong_number_of_frames(syntax: str, tmp_path: Path) -> None:
    """Too few and too many: no frame is made up, none is left out."""
    refused(
        PICTURE.write(tmp_path / "few", syntax, frames(syntax)[:2]), "has 2 frames .* Number of Frames is 3", tmp_path
    )
    one = replace(PICTURE, frames=b"1")
    refused(one.write(tmp_path / "many", syntax, frames(syntax)), "more frames", tmp_path)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("part", [0.3, 0.9, 0.99])
def test_truncated_frame(syntax: str, part: float, tmp_path: Path) -> None:
    """What is missing is not made up by the codec."""
    fragments = frames(syntax)
    fragments[1] = fragments[1][: int(len(fragments[1]) * part) // 2 * 2]
    refused(PICTURE.write(tmp_path / "original", syntax, fragments), "frame 2: ", tmp_path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_wrong_rows(syntax: str, tmp_path: Path) -> None:
    """A frame of another size than the data set says, asked before it is decoded."""
    original = replace(PICTURE, rows=41).write(tmp_path / "original", syntax, frames(syntax))
    refused(
        original, "frame 1: (it has 40 Rows, 50 Columns and Samples per Pixel 1, where|a segment is shorter)", tmp_path
    )


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_wrong_bits(syntax: str, tmp_path: Path) -> None:
    """Cells too narrow for the samples of the frame."""
    narrow = Picture(CELLS.astype("u1")).write(tmp_path / "original", syntax, frames(syntax))
    refused(narrow, "frame 1: it has (16 bits, where Bits Allocated is 8|2 segments)", tmp_path)


@pytest.mark.parametrize(
    ("fragments", "reason"),
    [
        ([], "has 0 frames"),
        ([b"\xff\xd8\xff\xd9"], "no frame header"),
        ([b"\0" * 100], "begins no frame"),
        ([b"\xff\xd8\xff\xc0\0\4\0\0"], "no frame header"),
        ([b"\xff\xd8\xff\xc0\0\x11\x08\0\x28\0\x32\1\1\x11\0\xff\xd9"], "another JPEG process"),
        ([b"\xff\xd8\xff\xc3\0\x0b\x10\0\x28\0\x32\1\1\x11\0\xff\xd9"], "codec refuses"),
    ],
)
def test_damaged_jpeg(fragments: list[bytes], reason: str, tmp_path: Path) -> None:
    """Refused with what is known about it."""
    refused(Picture(CELLS[:1]).write(tmp_path / "original", LOSSLESS_SV1, fragments), reason, tmp_path)


@pytest.mark.parametrize(
    ("offsets", "reason"),
    [
        ((2, 64, 30), "overlap"),
        ((2, 60, 1000), "overlap"),
        ((2, 64, 1 << 30), "overlap"),
        ((1, 64), "1 segments"),
    ],
)
def test_damaged_rle(offsets: tuple[int, ...], reason: str, tmp_path: Path) -> None:
    """Segments that lie about where they are."""
    frame = struct.pack("<16I", *offsets, *[0] * (16 - len(offsets))) + frames(RLE)[0][64:]
    refused(Picture(CELLS[:1]).write(tmp_path / "original", RLE, [frame]), reason, tmp_path)


def test_pixel_data_without_end(tmp_path: Path) -> None:
    """Its sequence delimitation item is missing, or it holds something else."""
    content = PICTURE.described() + encapsulated(frames(JPEG_LS))
    (tmp_path / "original").write_bytes(part10(content[:-8], JPEG_LS))
    refused(tmp_path / "original", "no end", tmp_path)
    (tmp_path / "original").write_bytes(part10(content[:-8] + element(0x00420011, b"OB", b""), JPEG_LS))
    refused(tmp_path / "original", "not a fragment", tmp_path)


def test_pixel_data_of_the_other_kind(tmp_path: Path) -> None:
    """Native in an encapsulated transfer syntax, and the other way round."""
    content = PICTURE.described() + element(PIXEL_DATA, b"OW", PICTURE.native())
    (tmp_path / "native").write_bytes(part10(content, JPEG_LS))
    refused(tmp_path / "native", "not encoded as its transfer syntax says", tmp_path)
    encapsulation = PICTURE.described() + encapsulated(frames(JPEG_LS))
    (tmp_path / "encapsulated").write_bytes(part10(encapsulation, EXPLICIT))
    refused(tmp_path / "encapsulated", "stands in a native transfer syntax", tmp_path, IMPLICIT)
    refused(tmp_path / "encapsulated", "not encoded as its transfer syntax says", tmp_path, RLE)


def test_bomb_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that says it is a huge image is refused before a frame is decoded; a small image may grow."""
    cells: Cells = np.zeros((1, 2000, 2000, 1), "<u2")
    original = Picture(cells).write(tmp_path / "original", JPEG_LS, frames(JPEG_LS, cells))
    assert outgoing(original).size * 1000 < cells.nbytes
    assert read(converted(original, EXPLICIT, tmp_path)).PixelData == cells.tobytes()
    monkeypatch.setattr(recoding, "LARGEST_UNSUSPECTED", 1 << 20)
    refused(original, "would become 8000000: that is taken for an attack", tmp_path)
    huge = replace(Picture(cells), rows=65535).write(tmp_path / "huge", JPEG_LS, frames(JPEG_LS, cells))
    refused(huge, "taken for an attack", tmp_path)


def test_deflated_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is inflated has a limit; it is not inflated first and measured then."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = element(0x00420011, b"OB", bytes(1 << 20)) * 32
    (tmp_path / "original").write_bytes(part10(deflater.compress(zeros) + deflater.flush(), DEFLATED))
    assert len(converted(tmp_path / "original", EXPLICIT, tmp_path).read_bytes()) > 32 << 20
    monkeypatch.setattr(recoding, "LARGEST_UNSUSPECTED", 1 << 20)
    refused(tmp_path / "original", "grows beyond measure", tmp_path)


def test_what_follows_a_deflated_data_set(tmp_path: Path) -> None:
    """Some add the checksum of gzip: no part of the data set, but of the payload, whose digest counts it."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = PICTURE.described() + element(PIXEL_DATA, b"OW", PICTURE.native())
    deflated = deflater.compress(content) + deflater.flush() + bytes(100_000)
    (tmp_path / "original").write_bytes(part10(deflated, DEFLATED))
    assert read(converted(tmp_path / "original", EXPLICIT, tmp_path)).PixelData == PICTURE.native()
    with pytest.raises(ContentError, match="digest differs"):
        write_converted(replace(outgoing(tmp_path / "original"), digest="0" * 32), EXPLICIT, str(tmp_path / "target"))


@pytest.mark.parametrize(("damage", "reason"), [("short", "cut short"), ("wrong", "damaged|past the end")])
def test_damaged_deflated(damage: str, reason: str, tmp_path: Path) -> None:
    """Its end is missing, or its middle is something else."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = PICTURE.described() + element(PIXEL_DATA, b"OW", PICTURE.native())
    deflated = deflater.compress(content) + deflater.flush()
    wrong = deflated[:500] + bytes(1000) + deflated[1500:]
    (tmp_path / "original").write_bytes(part10(deflated[:-100] if damage == "short" else wrong, DEFLATED))
    refused(tmp_path / "original", reason, tmp_path)


def test_icon_whose_colours_would_change(tmp_path: Path) -> None:
    """The pixels of an item are decompressed if they need no other description."""
    picture = Picture(np.full((1, 8, 8, 3), 99, "u1"), colours=b"YBR_FULL_422")
    frame = even(bytes(imagecodecs.jpeg8_encode(picture.cells[0], 100)))
    item = picture.described() + encapsulated([frame])
    icon = element(0x00880200, b"SQ", b"\xfe\xff\0\xe0" + struct.pack("<I", len(item)) + item)
    original = replace(picture, before=icon).write(tmp_path / "original", BASELINE, [frame])
    refused(original, "colours that its description cannot say", tmp_path)
