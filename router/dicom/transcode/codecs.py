"""The one table of codecs: frames of each compressed transfer syntax to pixel cells and back, by way of imagecodecs.

Cells are a numpy array of unsigned integers of Bits Allocated bits, rows × columns × samples: the bit patterns that
native pixel data has, colour by pixel. Only worker processes import this module: codecs crash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import imagecodecs
import numpy as np
import numpy.typing as npt

from router.dicom.transcode import codestream, rle
from router.dicom.transcode.codestream import FrameHeader
from router.dicom.transcode.header import ConversionError
from router.dicom.transcode.image import Image
from router.model.transfer_syntax import (
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)

Cells = npt.NDArray[np.unsignedinteger]

_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC2})
_LOSSLESS = frozenset({0xC3})
_JPEG_LS = frozenset({0xF7})
_WIDEST_COMPRESSED = 16
"""Bits Allocated that the encoders for JPEG 2000, HTJ2K and JPEG-LS take."""


_COLOURS: Mapping[str, str] = {
    **{name: name for name in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL")},
    "YBR_FULL_422": "YBR_FULL",  # decoders give every pixel its three samples
    "YBR_RCT": "RGB",  # decoders undo the transformation (PS3.5 8.2.4)
    "YBR_ICT": "RGB",
}
"""Photometric Interpretation → that of decoded frames."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How the frames of one transfer syntax are decoded and, if it is lossless, encoded."""

    begins: Callable[[bytes], bool]
    """Whether a fragment begins a frame."""
    decode: Callable[[bytes, Image], Cells]
    encode: Callable[[Cells, Image], bytes] | None = None
    colours: Callable[[bytes, Image], str] = lambda _, image: _COLOURS.get(image.photometric_interpretation, "")
    """Photometric Interpretation of a decoded frame; empty: there is none."""
    prepare: Callable[[Cells, Image], Cells] = lambda cells, _: cells
    """What encoding and decoding gives back, if that can differ from the cells in bits that mean nothing."""
    transforms_rgb: bool = False
    """RGB is encoded as YBR_RCT."""


def encodable(image: Image) -> None:
    """Whether the pixels may be compressed at all (PS3.5 8.2.2 to 8.2.4).

    Raises:
        ConversionError: they may not.
    """
    name = image.photometric_interpretation
    allowed = {"RGB", "YBR_FULL"} if image.samples > 1 else {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}
    if name not in allowed:
        raise ConversionError(
            f"pixels of Photometric Interpretation {name or '(none)'} cannot be compressed losslessly"
        )
    if image.samples > 1 and image.signed:
        raise ConversionError("colour samples with a sign cannot be compressed losslessly")


# Decoding


def _jpeg(processes: frozenset[int]) -> Callable[[bytes, Image], Cells]:
    def decode(frame: bytes, image: Image) -> Cells:
        header = codestream.jpeg(frame)
        if header.process not in processes:
            raise ConversionError("it is of another JPEG process than its transfer syntax")
        codestream.require_end(frame)
        _check(header, image)
        # The same colour space twice: the samples as they are, without a transformation.
        colour = "RGB" if image.samples > 1 else None
        decoded = imagecodecs.jpeg8_decode(frame, colorspace=colour, outcolorspace=colour)
        return _cells(decoded, header, image)

    return decode


def _jpeg_colours(frame: bytes, image: Image) -> str:
    """A marker of the frame is believed before the data set, as all do that display it compressed."""
    if image.samples > 1 and (colour := codestream.jpeg(frame).colour):
        return colour
    return _COLOURS.get(image.photometric_interpretation, "")


def _decode_jpeg_ls(frame: bytes, image: Image) -> Cells:
    header = codestream.jpeg(frame)
    if header.process not in _JPEG_LS:
        raise ConversionError("it is no JPEG-LS frame")
    codestream.require_end(frame)
    _check(header, image)
    return _cells(imagecodecs.jpegls_decode(frame), header, image)


def _decode_jpeg_2000(frame: bytes, image: Image) -> Cells:
    codestream.require_end(frame)
    stream = codestream.jpeg_2000_codestream(frame)
    header = codestream.jpeg_2000(stream)
    _check(header, image)
    return _cells(imagecodecs.jpeg2k_decode(stream, planar=False, numthreads=1), header, image)


def _decode_htj2k(frame: bytes, image: Image) -> Cells:
    codestream.require_end(frame)
    stream = codestream.jpeg_2000_codestream(frame)
    header = codestream.jpeg_2000(stream)
    _check(header, image)
    return _cells(imagecodecs.htj2k_decode(stream, planar=False), header, image)


def _check(header: FrameHeader, image: Image) -> None:
    """Before anything is decoded: a frame is what the data set says."""
    if (header.rows, header.columns, header.samples) != (image.rows, image.columns, image.samples):
        raise ConversionError(
            f"it has {header.rows} Rows, {header.columns} Columns and Samples per Pixel {header.samples}, "
            f"where the data set says {image.rows}, {image.columns} and {image.samples}"
        )
    if header.precision > image.bits_allocated:
        raise ConversionError(f"it has {header.precision} bits, where Bits Allocated is {image.bits_allocated}")
    if header.precision < image.bits_allocated and image.high_bit != image.bits_stored - 1:
        raise ConversionError(f"its bits cannot be placed: High Bit is {image.high_bit}")


def _cells(decoded: npt.NDArray[np.integer], header: FrameHeader, image: Image) -> Cells:
    """Cells as native pixel data has them: with the sign in every unused bit."""
    samples = decoded.reshape(image.rows, image.columns, image.samples)
    bits = image.bits_allocated
    unsigned, signed = np.dtype(f"<u{bits // 8}"), np.dtype(f"<i{bits // 8}")
    if header.signed:
        if not image.signed and samples.min() < 0:
            raise ConversionError("it has negative values, where the data set says that there are none")
        return samples.astype(signed).view(unsigned)
    cells = samples.astype(unsigned, copy=False)
    if not image.signed or header.precision == bits:
        return cells
    if header.precision < image.bits_stored:
        if int(cells.max()) >> (header.precision - 1):
            raise ConversionError("the sign of its values cannot be told: it has fewer bits than Bits Stored")
        return cells
    return _sign_extended(cells, header.precision)


def _sign_extended(cells: Cells, precision: int) -> Cells:
    signed = cells.view(f"<i{cells.itemsize}")
    unused = 8 * cells.itemsize - precision
    return ((signed << unused) >> unused).view(cells.dtype)


# Encoding


def _narrow(image: Image) -> None:
    if image.bits_allocated > _WIDEST_COMPRESSED:
        raise ConversionError(f"pixel cells of {image.bits_allocated} bits can be compressed as RLE only")


def _plane(cells: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Without the axis of a single sample; a copy, because encoders refuse the strides of some arrays of one row."""
    return (cells[:, :, 0] if cells.shape[2] == 1 else cells).copy()


def _with_sign(cells: Cells, image: Image) -> npt.NDArray[np.integer]:
    return cells.view(f"<i{cells.itemsize}") if image.signed else cells


def _encode_jpeg_ls(cells: Cells, image: Image) -> bytes:
    """The whole cells, whatever their unused bits hold."""
    _narrow(image)
    room = 4 * cells.nbytes + 1024  # no sample takes more than four times its bits (ISO/IEC 14495-1 A.5.3, LIMIT)
    return codestream.without_application_segments(bytes(imagecodecs.jpegls_encode(_plane(cells), out=room)))


def _encode_htj2k(cells: Cells, image: Image) -> bytes:
    """The whole cells, whatever their unused bits hold."""
    _narrow(image)
    colour = image.photometric_interpretation == "RGB"
    return bytes(imagecodecs.htj2k_encode(_plane(_with_sign(cells, image)), rgb=colour, planar=False))


def _stored_bits(cells: Cells, image: Image) -> Cells:
    """JPEG 2000 encodes the bits that are stored, and gives the sign back in the others: they may hold nothing else."""
    if image.high_bit != image.bits_stored - 1:
        raise ConversionError(f"its bits cannot be compressed as JPEG 2000: High Bit is {image.high_bit}")
    if image.bits_stored == image.bits_allocated:
        return cells
    plain = cells & cells.dtype.type((1 << image.bits_stored) - 1)
    canonical = _sign_extended(plain, image.bits_stored) if image.signed else plain
    if not ((cells == canonical) | (cells == plain)).all():
        raise ConversionError("bits beyond Bits Stored are in use (an overlay?): JPEG 2000 would lose them")
    return canonical


def _encode_jpeg_2000(cells: Cells, image: Image) -> bytes:
    _narrow(image)
    samples = _with_sign(cells, image)
    narrow = samples.astype(f"{samples.dtype.kind}1") if image.bits_stored <= 8 else samples
    encoded = imagecodecs.jpeg2k_encode(
        _plane(narrow),
        codecformat="J2K",
        bitspersample=image.bits_stored,
        reversible=True,
        mct=image.photometric_interpretation == "RGB",
        planar=False,
        numthreads=1,
    )
    return bytes(encoded)


_LOSSLESS_JPEG = Codec(codestream.begins_jpeg, _jpeg(_LOSSLESS))
_LOSSY_JPEG = Codec(codestream.begins_jpeg, _jpeg(_SEQUENTIAL), colours=_jpeg_colours)
_HTJ2K = Codec(codestream.begins_jpeg_2000, _decode_htj2k)

CODECS: Mapping[str, Codec] = {
    RLE_LOSSLESS: Codec(lambda _: True, rle.decode, rle.encode),  # one fragment, one frame (PS3.5 A.4.2)
    "1.2.840.10008.1.2.4.50": _LOSSY_JPEG,
    "1.2.840.10008.1.2.4.51": _LOSSY_JPEG,
    JPEG_LOSSLESS: _LOSSLESS_JPEG,
    JPEG_LOSSLESS_SV1: _LOSSLESS_JPEG,
    JPEG_LS_LOSSLESS: Codec(codestream.begins_jpeg, _decode_jpeg_ls, _encode_jpeg_ls),
    "1.2.840.10008.1.2.4.81": Codec(codestream.begins_jpeg, _decode_jpeg_ls),
    JPEG_2000_LOSSLESS: Codec(
        codestream.begins_jpeg_2000, _decode_jpeg_2000, _encode_jpeg_2000, prepare=_stored_bits, transforms_rgb=True
    ),
    "1.2.840.10008.1.2.4.91": Codec(codestream.begins_jpeg_2000, _decode_jpeg_2000),
    HTJ2K_LOSSLESS: Codec(codestream.begins_jpeg_2000, _decode_htj2k, _encode_htj2k, transforms_rgb=True),
    "1.2.840.10008.1.2.4.202": _HTJ2K,
    "1.2.840.10008.1.2.4.203": _HTJ2K,
}
