"""What becomes of the pixel data, and of the attributes that describe it, in another transfer syntax."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO, TypeVar

import numpy as np

from router.dicom.transcode import frames
from router.dicom.transcode.codecs import CODECS, Cells, Codec, encodable
from router.dicom.transcode.header import UNDEFINED, Change, ConversionError, Encoding, Header, Source
from router.dicom.transcode.image import Image, describe
from router.dicom.transcode.streams import Swapped
from router.dicom.transcode.vr import PIXEL_DATA, cell_width
from router.model.transfer_syntax import TransferSyntax

_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")

LARGEST_NATIVE = 0xFFFFFFFE
"""Bytes of native pixel data (PS3.5 7.1)."""
LARGEST_UNSUSPECTED = 256 << 20
STEEPEST = 100
"""Beyond so many bytes, data that grows more than so many times is taken for a bomb."""

_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION = 0x00280004, 0x00280006
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002, 0x7FE00003)
"""Extended Offset Table, its lengths, and the total length: none of them is right any more."""


def largest(stored: int) -> int:
    """How many bytes may come of ``stored`` bytes."""
    return max(LARGEST_UNSUSPECTED, STEEPEST * stored)


def recoding(source: Source, stored: TransferSyntax, wanted: TransferSyntax, size: int) -> "Recoding | None":
    """Read as far as the first frame, and decide.

    Args:
        source: the data set.
        stored: its transfer syntax.
        wanted: the other one; one of the two is encapsulated.
        size: bytes of the stored file.

    Returns:
        What to do with the pixel data; None: there is none, and nothing to do.

    Raises:
        ConversionError: it cannot be done without a loss.
    """
    found = describe(source, Encoding.of(stored.uid))
    if found is None:
        if wanted.encapsulated:
            raise ConversionError("it has no pixel data that could be compressed")
        return None
    image, header = found
    if (header.length == UNDEFINED) != stored.encapsulated:
        raise ConversionError("its pixel data is not encoded as its transfer syntax says")
    if image.size > largest(size):
        raise ConversionError(f"{size} bytes would become {image.size}: that is taken for an attack")
    colours = image.photometric_interpretation
    if stored.encapsulated and image.samples > 1:
        decoder = CODECS[stored.uid]
        colours = _colours(decoder, next(frames.encapsulated(source, image.frames, decoder.begins)), image)
    decoded = replace(image, photometric_interpretation=colours, planar=False)
    if wanted.encapsulated:
        encodable(decoded)
    elif image.size > LARGEST_NATIVE:
        raise ConversionError(f"its {image.size} bytes of decompressed pixels are more than an element can hold")
    return Recoding(image, decoded, stored, wanted)


def _colours(decoder: Codec, frame: bytes, image: Image) -> str:
    """Photometric Interpretation of a decoded frame."""
    if image.samples == 1:
        return image.photometric_interpretation
    if not (colours := decoder.colours(frame, image)):
        raise ConversionError(
            f"Photometric Interpretation {image.photometric_interpretation or '(none)'} cannot be decompressed"
        )
    return colours


class Recoding:
    """Converts Pixel Data frame by frame: never more than one is held in memory."""

    def __init__(self, image: Image, decoded: Image, stored: TransferSyntax, wanted: TransferSyntax) -> None:
        """For one image.

        Args:
            image: as the data set describes it.
            decoded: as its decoded frames are.
            stored: the transfer syntax it comes in.
            wanted: the other one.
        """
        self._image = image
        self._decoded = decoded
        self._decoder = CODECS[stored.uid] if stored.encapsulated else None
        self._encoder = CODECS[wanted.uid] if wanted.encapsulated else None
        self._stored = stored
        self._wanted = wanted

    def changes(self) -> dict[int, Change]:
        """What becomes of the attributes that describe the pixels."""
        changes: dict[int, Change] = dict.fromkeys(_OFFSET_TABLES)
        colours = self._decoded.photometric_interpretation
        if self._encoder is not None and self._encoder.transforms_rgb and colours == "RGB":
            colours = "YBR_RCT"
        if colours != self._image.photometric_interpretation:
            changes[_PHOTOMETRIC_INTERPRETATION] = (b"CS", (colours + " " * (len(colours) % 2)).encode("ascii"))
        if self._image.samples > 1:
            changes[_PLANAR_CONFIGURATION] = (b"US", b"\0\0")
        return changes

    def convert(self, source: Source, target: BinaryIO, header: Header) -> None:
        """Read the value of Pixel Data, and write the whole element.

        Raises:
            ConversionError: it cannot be done without a loss.
        """
        if self._decoder is None:
            read = self._native(source, header)
        else:
            read = _decoded(source, self._decoder, self._image, self._decoded.photometric_interpretation)
        if self._encoder is not None:
            frames.write_beginning(target)
            for number, cells in enumerate(read, 1):
                frames.write_frame(target, _of_frame(number, self._encode, self._encoder, cells))
            frames.write_end(target)
        else:
            self._write_native(read, self._image, target)

    def nested(self, source: Source, target: BinaryIO, description: Mapping[int, bytes]) -> None:
        """Decompress the pixels of an item, an icon for instance: native is right in any transfer syntax (PS3.5 A.4).

        Raises:
            ConversionError: they are encoded otherwise, or their description would have to change.
        """
        if self._decoder is None:
            raise ConversionError("encapsulated pixel data stands in a native transfer syntax")
        image = Image.of(description, little_endian=True)
        if image.planar or image.size > LARGEST_UNSUSPECTED:
            raise ConversionError("the pixel data of an item cannot be decompressed")
        self._write_native(_decoded(source, self._decoder, image, image.photometric_interpretation), image, target)

    def _native(self, source: Source, header: Header) -> Iterator[Cells]:
        image = self._image
        if not self._stored.little_endian:
            source = Swapped(source, _swapped_width(header.vr, image))
        cell = f"<u{image.bits_allocated // 8}"
        for frame in frames.native(source, header.length, image.frame_size, image.frames):
            cells = np.frombuffer(frame, cell)
            if image.planar:
                planes = cells.reshape(image.samples, image.rows, image.columns)
                yield np.ascontiguousarray(np.moveaxis(planes, 0, -1))
            else:
                yield cells.reshape(image.rows, image.columns, image.samples)

    def _encode(self, encoder: Codec, cells: Cells) -> bytes:
        """Encode, decode again, compare."""
        assert encoder.encode is not None
        cells = encoder.prepare(cells, self._decoded)
        encoded = encoder.encode(cells, self._decoded)
        if not np.array_equal(encoder.decode(encoded, self._decoded), cells):
            raise ConversionError("it comes back changed when it has been compressed")
        return encoded

    def _write_native(self, read: Iterator[Cells], image: Image, target: BinaryIO) -> None:
        size = image.size
        vr = b"OB" if image.bits_allocated == 8 else b"OW"
        if not self._wanted.little_endian:
            _swapped_width(vr, image)
        order = "<" if self._wanted.little_endian else ">"
        Encoding.of(self._wanted.uid).write(target, Header(PIXEL_DATA, vr, size + size % 2))
        target.writelines(np.ascontiguousarray(cells, f"{order}u{cells.itemsize}").data for cells in read)
        target.write(bytes(size % 2))


def _decoded(source: Source, decoder: Codec, image: Image, colours: str) -> Iterator[Cells]:
    for number, frame in enumerate(frames.encapsulated(source, image.frames, decoder.begins), 1):
        if _colours(decoder, frame, image) != colours:
            raise ConversionError(f"frame {number} has colours that its description cannot say")
        yield _of_frame(number, decoder.decode, frame, image)


def _swapped_width(vr: bytes, image: Image) -> int:
    if (width := cell_width(vr, image.bits_allocated)) is None:
        raise ConversionError(f"there is no agreed Big Endian order for pixels of {image.bits_allocated} bits")
    return width


def _of_frame(number: int, step: Callable[[_A, _B], _C], first: _A, second: _B) -> _C:
    """One step of one frame; what fails says of which."""
    try:
        return step(first, second)
    except ConversionError as error:
        raise ConversionError(f"frame {number}: {error}") from error
    except (RuntimeError, ValueError) as error:  # what all of imagecodecs' own errors are
        raise ConversionError(f"frame {number}: the codec refuses it") from error
