"""RLE Lossless (PS3.5 annex G): byte planes, most significant first, each row packed by itself."""

import struct
from itertools import pairwise

import imagecodecs
import numpy as np
import numpy.typing as npt

from router.dicom.transcode.header import ConversionError
from router.dicom.transcode.image import Image

_HEADER = struct.Struct("<16I")
_MOST_SEGMENTS = 15


def decode(frame: bytes, image: Image) -> npt.NDArray[np.unsignedinteger]:
    """The cells of a frame: rows × columns × samples.

    Raises:
        ConversionError: its segments are not those of such an image.
    """
    size = image.bits_allocated // 8
    segments = _segments(frame, image.samples * size)
    cells = np.empty((image.rows, image.columns, image.samples), f"<u{size}")
    planes = cells.view(np.uint8).reshape(image.rows, image.columns, image.samples, size)
    for number, segment in enumerate(segments):
        plane = imagecodecs.packbits_decode(segment, out=image.rows * image.columns)
        if len(plane) != image.rows * image.columns:
            raise ConversionError("a segment is shorter than the image")
        sample, byte = divmod(number, size)
        planes[:, :, sample, size - 1 - byte] = np.frombuffer(plane, np.uint8).reshape(image.rows, image.columns)
    return cells


def _segments(frame: bytes, count: int) -> list[bytes]:
    if len(frame) < _HEADER.size:
        raise ConversionError("it is shorter than its header")
    found, *offsets = _HEADER.unpack_from(frame)
    if found != count:
        raise ConversionError(f"it has {found} segments, where the data set says {count}")
    bounds = [*offsets[:count], len(frame)]
    if bounds[0] != _HEADER.size or bounds != sorted(set(bounds)):
        raise ConversionError("its segments overlap or run past its end")
    return [frame[start:end] for start, end in pairwise(bounds)]


def encode(cells: npt.NDArray[np.unsignedinteger], image: Image) -> bytes:
    """A frame; the whole cells, whatever their unused bits hold.

    Raises:
        ConversionError: a cell has too many bytes.
    """
    size = cells.itemsize
    if image.samples * size > _MOST_SEGMENTS:
        raise ConversionError(f"its pixels have {image.samples * size} bytes: RLE has room for {_MOST_SEGMENTS}")
    planes = cells.view(np.uint8).reshape(image.rows, image.columns, image.samples, size)
    segments = []
    for sample in range(image.samples):
        for byte in reversed(range(size)):
            segment = bytes(imagecodecs.packbits_encode(planes[:, :, sample, byte].copy()))
            segments.append(segment + bytes(len(segment) % 2))
    offsets = [_HEADER.size]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    return b"".join((_HEADER.pack(len(segments), *offsets, *bytes(_MOST_SEGMENTS - len(offsets))), *segments))
