"""What others see in a file: the pixel values by ways that share no code with the conversion, and the elements."""

import shutil
import struct
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels

from router.dicom.content import Outgoing
from router.dicom.part10 import read_meta
from router.dicom.transcode.worker import write_converted

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4."
BASELINE, EXTENDED, LOSSLESS, LOSSLESS_SV1 = JPEG + "50", JPEG + "51", JPEG + "57", JPEG + "70"
JPEG_LS, JPEG_LS_NEAR, J2K, J2K_LOSSY = JPEG + "80", JPEG + "81", JPEG + "90", JPEG + "91"
HTJ2K, HTJ2K_RPCL, HTJ2K_LOSSY = JPEG + "201", JPEG + "202", JPEG + "203"

PIXEL_DATA = 0x7FE00010
REWRITTEN = frozenset({0x00280004, 0x00280006, PIXEL_DATA, 0x7FE00001, 0x7FE00002, 0x7FE00003})
"""What describes the pixels may change with them."""

Values = npt.NDArray[np.integer]


def part10(content: bytes, transfer_syntax: str) -> bytes:
    """A file of a data set, with the least of file meta information that tools need."""
    uids = {0x0002: "1.2.840.10008.5.1.4.1.1.7", 0x0003: "1.2.3", 0x0010: transfer_syntax, 0x0012: "1.2.3"}
    elements = b"\2\0\1\0OB\0\0\2\0\0\0\0\1"
    for element, uid in uids.items():
        value = uid.encode() + b"\0" * (len(uid) % 2)
        elements += struct.pack("<HH2sH", 2, element, b"UI", len(value)) + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(elements)) + elements + content


def outgoing(path: Path) -> Outgoing:
    """A file as the forwarder has it."""
    meta = read_meta(path)
    return Outgoing(1, meta.identity, path, meta.header_size, path.stat().st_size, meta.digest)


def converted(path: Path, transfer_syntax: str, directory: Path) -> Path:
    """The file in another transfer syntax, converted in this process.

    Raises:
        ConversionError: it cannot be.
    """
    target = directory / "target"
    target.unlink(missing_ok=True)
    write_converted(outgoing(path), transfer_syntax, str(target))
    result = directory / f"{path.stem}.{transfer_syntax}.dcm"
    result.write_bytes(part10(target.read_bytes(), transfer_syntax))
    target.unlink()
    return result


def read(path: Path) -> Dataset:
    """By pydicom, its warnings unheard."""
    with warnings.catch_warnings(action="ignore"):
        dataset = dcmread(path, force=True)
        dataset.walk(lambda _, __: None)
    return dataset


def values(path: Path) -> Values:
    """Frames × rows × columns × samples, as the bits stored and the pixel representation mean them.

    By pydicom for native and RLE, by DCMTK for JPEG and JPEG-LS, by OpenJPEG for JPEG 2000 and HTJ2K.
    """
    syntax = str(read(path).file_meta.TransferSyntaxUID)
    if syntax in {BASELINE, EXTENDED, LOSSLESS, LOSSLESS_SV1}:
        return _by_dcmtk(["dcmdjpeg", "+cn"], path)
    if syntax in {JPEG_LS, JPEG_LS_NEAR}:
        return _by_dcmtk(["dcmdjpls"], path)
    dataset = read(path)
    if syntax.startswith(JPEG):
        stream = generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1)))
        frames: list[Any] = [imagecodecs.jpeg2k_decode(frame) for frame in stream]
    else:
        with warnings.catch_warnings(action="ignore"):
            frames = list(iter_pixels(dataset, raw=True))
    return _meant(np.stack(frames), dataset)


def _by_dcmtk(command: list[str], path: Path) -> Values:
    with TemporaryDirectory() as directory:
        target = Path(directory) / "native.dcm"
        program = shutil.which(command[0])
        assert program is not None, f"DCMTK's {command[0]} is missing"
        subprocess.run([program, *command[1:], path, target], check=True, capture_output=True)
        return values(target)


def _meant(frames: npt.NDArray[Any], dataset: Dataset) -> Values:
    samples = int(dataset.SamplesPerPixel)
    shape = (-1, int(dataset.Rows), int(dataset.Columns), samples)
    wide = frames.astype(np.int64).reshape(shape)
    stored = int(dataset.BitsStored)
    wide &= (1 << stored) - 1
    if dataset.PixelRepresentation:
        wide -= (wide >> (stored - 1) & 1) << stored
    return wide


def differences(original: Path, result: Path) -> list[str]:
    """Elements that differ, other than those that describe the pixels.

    Where VRs differ, because Implicit VR had none, another test compares the bytes.
    """
    left, right = read(original), read(result)
    swapped = left.is_little_endian != right.is_little_endian
    return list(_differences(left, right, "", swapped=swapped))


def _differences(left: Dataset, right: Dataset, where: str, *, swapped: bool) -> Iterator[str]:
    skipped = REWRITTEN if not where else frozenset()
    one = {element.tag: element for element in left if element.tag.element and element.tag not in skipped}
    other = {element.tag: element for element in right if element.tag.element and element.tag not in skipped}
    for tag in one.keys() ^ other.keys():
        yield f"{where}{tag} only on one side"
    for tag in one.keys() & other.keys():
        first, second = one[tag], other[tag]
        if first.VR == second.VR == "SQ":
            if len(first.value) != len(second.value):
                yield f"{where}{tag} items"
            for number, (mine, theirs) in enumerate(zip(first.value, second.value, strict=False)):
                yield from _differences(mine, theirs, f"{where}{tag}[{number}] ", swapped=swapped)
        elif tag == PIXEL_DATA and bytes(first.value).startswith(b"\xfe\xff\0\xe0"):
            continue  # an encapsulated icon
        elif first.VR == second.VR and not _equal(first, second, swapped=swapped):
            yield f"{where}{tag} {first.VR} {second.VR}"


def _equal(first: DataElement, second: DataElement, *, swapped: bool) -> bool:
    if swapped and first.VR == "OW":
        return bool(first.value == np.frombuffer(second.value, "<u2").byteswap().tobytes())
    return bool(first.value == second.value)
