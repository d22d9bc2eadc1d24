"""Pixels come back as they were, bit for bit, from every lossless compression; else they are refused."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from router.dicom.transcode.header import ConversionError
from tests.dicom.transcode.images import Cells, Picture, element
from tests.dicom.transcode.witness import (
    BASELINE,
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    EXTENDED,
    HTJ2K,
    HTJ2K_LOSSY,
    HTJ2K_RPCL,
    IMPLICIT,
    J2K,
    JPEG_LS,
    JPEG_LS_NEAR,
    LOSSLESS,
    LOSSLESS_SV1,
    RLE,
    converted,
    differences,
    part10,
    read,
    values,
)

pytestmark = pytest.mark.negotiation

TARGETS = (RLE, JPEG_LS, J2K, HTJ2K)
RNG = np.random.default_rng(7)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Small images of every kind that all four compressions can hold."""
    size = draw(st.sampled_from((1, 2)))
    stored = draw(st.integers(1, 8 * size))
    samples = draw(st.sampled_from((1, 3)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(st.integers(1, 12)), samples)
    count = int(np.prod(shape)) * size
    cells: Cells = np.frombuffer(draw(st.binary(min_size=count, max_size=count)), f"<u{size}").reshape(shape)
    signed = samples == 1 and draw(st.booleans())
    unused = 8 * size - stored
    shifted: Cells = np.left_shift(cells, unused)
    extended: Cells = np.right_shift(shifted.view(f"<{'i' if signed else 'u'}{size}"), unused).view(f"<u{size}")
    return Picture(extended, stored, signed, planar=samples > 1 and draw(st.booleans()))


@given(picture=pictures(), target=st.sampled_from(TARGETS), native=st.sampled_from((IMPLICIT, EXPLICIT, BIG_ENDIAN)))
def test_there_and_back(picture: Picture, target: str, native: str) -> None:
    """From any native syntax to any compression and to the native one again: the same cells, colour by pixel."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        original = picture.write(directory / "original", native)
        there = converted(original, target, directory)
        if target != JPEG_LS:  # its witness is a process; the samples have been seen by it
            assert np.array_equal(values(there), values(original))
        back = read(converted(there, native, directory))
    cells = np.frombuffer(back.PixelData, f"{'>' if native == BIG_ENDIAN else '<'}u{picture.cells.itemsize}")
    assert np.array_equal(cells[: picture.cells.size], picture.cells.ravel())
    assert back.LossyImageCompression == "01"
    assert (back.BitsStored, back.PixelRepresentation) == (picture.bits_stored, picture.signed)


def gray(size: int = 2, bits: int = 12, frames: int = 1) -> Cells:
    """Noise in the lower bits."""
    return RNG.integers(0, 1 << bits, (frames, 20, 30, 1)).astype(f"<u{size}")


@pytest.mark.parametrize("target", [RLE, JPEG_LS, HTJ2K])
def test_overlay_in_unused_bits_is_kept(target: str, tmp_path: Path) -> None:
    """What encodes whole cells keeps what an old modality put beside the pixels (retired: PS3.5 8.1.2)."""
    picture = Picture(gray() | np.uint16(0x8000), bits_stored=12)
    there = converted(picture.write(tmp_path / "original"), target, tmp_path)
    assert read(converted(there, EXPLICIT, tmp_path)).PixelData == picture.native()


@pytest.mark.parametrize("signed", [False, True])
def test_overlay_in_unused_bits_is_not_lost_to_jpeg_2000(tmp_path: Path, *, signed: bool) -> None:
    """JPEG 2000 encodes the bits that are stored: nothing else may be in use."""
    picture = Picture(gray() | np.uint16(0x4000), bits_stored=12, signed=signed)
    with pytest.raises(ConversionError, match="bits beyond Bits Stored are in use"):
        converted(picture.write(tmp_path / "original"), J2K, tmp_path)


def test_sign_that_was_not_extended(tmp_path: Path) -> None:
    """Zeros above negative values mean nothing; the values come back, with their sign in every bit."""
    picture = Picture(gray(), bits_stored=12, signed=True)
    original = picture.write(tmp_path / "original")
    there = converted(original, J2K, tmp_path)
    back = converted(there, EXPLICIT, tmp_path)
    assert np.array_equal(values(back), values(original))
    assert np.frombuffer(read(back).PixelData, "<i2").min() < 0


def test_odd_number_of_bytes(tmp_path: Path) -> None:
    """Is padded, and what follows is still found."""
    picture = Picture(RNG.integers(0, 256, (1, 3, 3, 1)).astype("u1"), after=element(0xFFFCFFFC, b"OB", b"\0\0"))
    there = converted(picture.write(tmp_path / "original"), RLE, tmp_path)
    back = read(converted(there, EXPLICIT, tmp_path))
    assert back.PixelData == picture.native()
    assert 0xFFFCFFFC in back


def test_wide_cells(tmp_path: Path) -> None:
    """RLE holds 32 bits; there is no Big Endian order for them that all agree on."""
    picture = Picture(RNG.integers(0, 1 << 32, (2, 5, 7, 3), dtype="u4"))
    there = converted(picture.write(tmp_path / "original"), RLE, tmp_path)
    assert np.array_equal(values(there), values(tmp_path / "original"))
    assert read(converted(there, IMPLICIT, tmp_path)).PixelData == picture.native()
    with pytest.raises(ConversionError, match="no agreed Big Endian order for pixels of 32 bits"):
        converted(there, BIG_ENDIAN, tmp_path)


@pytest.mark.parametrize(
    ("command", "syntax", "exact"),
    [
        (["dcmcjpeg", "+el"], LOSSLESS, True),
        (["dcmcjpeg", "+e1"], LOSSLESS_SV1, True),
        (["dcmcjpeg", "+ee"], EXTENDED, False),
        (["dcmcjpls", "+el"], JPEG_LS, True),
        (["dcmcjpls", "+en"], JPEG_LS_NEAR, False),
        (["dcmcrle"], RLE, True),
        (["dcmconv", "+td"], DEFLATED, True),
        (["dcmconv", "+tb"], BIG_ENDIAN, True),
        (["dcmconv", "+ti"], IMPLICIT, True),
    ],
)
def test_what_others_wrote(command: list[str], syntax: str, tmp_path: Path, *, exact: bool) -> None:
    """MR images that DCMTK converted become what they were; after a lossy compression, what DCMTK makes of them."""
    name = "examples_overlay.dcm" if exact else "emri_small.dcm"  # the first has an icon, the other many frames
    original = Path(str(get_testdata_file(name, download=False)))
    program = shutil.which(command[0])
    assert program is not None
    subprocess.run([program, *command[1:], original, tmp_path / "stored"], check=True, capture_output=True)
    assert read(tmp_path / "stored").file_meta.TransferSyntaxUID == syntax
    for target in (IMPLICIT, EXPLICIT):
        if target == syntax:
            continue
        result = converted(tmp_path / "stored", target, tmp_path)
        assert np.array_equal(values(result), values(original if exact else tmp_path / "stored"))
        assert not differences(tmp_path / "stored", result)
        assert read(result).get("LossyImageCompression") == read(tmp_path / "stored").get("LossyImageCompression")
        if exact:
            icons = [read(path).IconImageSequence[0].PixelData for path in (original, result)]
            assert icons[0] == icons[1]
    if exact and syntax != JPEG_LS:
        result = converted(tmp_path / "stored", JPEG_LS, tmp_path)
        assert np.array_equal(values(result), values(original))


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY])
@pytest.mark.parametrize("signed", [False, True])
def test_htj2k(syntax: str, tmp_path: Path, *, signed: bool) -> None:
    """Decoded, whichever of its three syntaxes it came in."""
    picture = Picture(gray(), signed=signed)
    plane = picture.cells[0, :, :, 0].view("<i2" if signed else "<u2")
    original = picture.write(tmp_path / "original", syntax, [bytes(imagecodecs.htj2k_encode(plane))])
    assert read(converted(original, EXPLICIT, tmp_path)).PixelData == picture.native()


@pytest.mark.parametrize("stored", TARGETS)
@pytest.mark.parametrize("target", TARGETS)
def test_from_one_compression_to_another(stored: str, target: str, tmp_path: Path) -> None:
    """Without a detour over a file; RGB is labelled as it is encoded (PS3.5 8.2.4)."""
    if stored == target:
        return
    picture = Picture(RNG.integers(0, 256, (2, 9, 11, 3)).astype("u1"), planar=True)
    there = converted(picture.write(tmp_path / "original"), stored, tmp_path)
    result = converted(there, target, tmp_path)
    assert np.array_equal(values(result), values(tmp_path / "original"))
    assert read(result).PhotometricInterpretation == ("YBR_RCT" if target in {J2K, HTJ2K} else "RGB")
    assert read(result).PlanarConfiguration == 0


JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0"


@pytest.mark.parametrize(
    ("marker", "label", "colours"),
    [
        (JFIF, b"RGB ", "YBR_FULL"),
        (JFIF, b"YBR_FULL_422", "YBR_FULL"),
        (ADOBE + b"\0", b"YBR_FULL_422", "RGB"),
        (ADOBE + b"\1", b"RGB ", "YBR_FULL"),
        (b"", b"RGB ", "RGB"),
        (b"", b"YBR_FULL_422", "YBR_FULL"),
    ],
)
def test_colours_of_jpeg_baseline(marker: bytes, label: bytes, colours: str, tmp_path: Path) -> None:
    """The samples are not transformed; they are labelled by the marker of the frame, else by the data set."""
    cells = np.kron(RNG.integers(0, 256, (1, 4, 4, 3)), np.ones((1, 8, 8, 1))).astype("u1")
    frame = bytes(imagecodecs.jpeg8_encode(cells[0], 100, colorspace="RGB", outcolorspace="RGB"))
    assert frame[2:4] == b"\xff\xee"  # libjpeg says that it is RGB; it is said otherwise here
    frame = frame[:2] + marker + frame[18:]
    frame = frame.replace(b"\x03R\x11\0G\x11\0B\x11", b"\x03\1\x11\0\2\x11\0\3\x11", 1)
    frame = frame.replace(b"\x03R\0G\0B\0", b"\x03\1\0\2\0\3\0", 1)
    original = Picture(cells, colours=label).write(tmp_path / "original", BASELINE, [frame + bytes(len(frame) % 2)])
    result = read(converted(original, EXPLICIT, tmp_path))
    assert result.PhotometricInterpretation == colours
    decoded = np.frombuffer(result.PixelData, "u1").astype(int)
    assert np.abs(decoded - cells.ravel()).max() <= 2


def test_floating_point(tmp_path: Path) -> None:
    """Its own element, which no compression takes; between native syntaxes it is copied or swapped."""
    picture = Picture(gray())
    content = picture.described() + element(0x7FE00008, b"OF", b"\1\2\3\4")
    (tmp_path / "original").write_bytes(part10(content, EXPLICIT))
    with pytest.raises(ConversionError, match="floating point"):
        converted(tmp_path / "original", RLE, tmp_path)
    there = converted(tmp_path / "original", BIG_ENDIAN, tmp_path)
    assert read(there).FloatPixelData == b"\4\3\2\1"
