"""From Implicit to Explicit VR Little Endian and back: headers of elements are rewritten, value bytes are copied.

Nothing is decoded, so nothing can be lost: not odd lengths, not values that break their VR, not private elements. What
changes: group length elements (gggg,0000) go, because they would be wrong, and a value too long for its VR's 16-bit
length becomes UN (PS3.5 6.2.2 note 8).
"""

import struct
from io import BytesIO
from typing import BinaryIO, NamedTuple, Protocol

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN

CHUNK = 1 << 20
DEEPEST = 64
"""Levels of sequences that are followed."""
LARGEST_SEQUENCE = 1 << 28
"""Bytes of one sequence that are held in memory."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_PIXEL_REPRESENTATION, _BITS_ALLOCATED, _PIXEL_DATA = 0x00280103, 0x00280100, 0x7FE00010


class ConversionError(Exception):
    """This instance cannot be converted losslessly: the sentence says why."""


class Source(Protocol):
    """Where a data set is read from."""

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""


class _Header(NamedTuple):
    tag: int
    vr: bytes
    length: int


class _Context:
    """What decides an ambiguous VR, and a private one: seen earlier in the same data set or item (PS3.5 A.1)."""

    def __init__(self, outer: "_Context | None" = None) -> None:
        self.signed: bool = outer.signed if outer else False
        self.bits_allocated: int = outer.bits_allocated if outer else 16
        self.creators: dict[int, str] = {}

    def note(self, tag: int, value: bytes) -> None:
        if tag == _PIXEL_REPRESENTATION:
            self.signed = value[:1] == b"\1"
        elif tag == _BITS_ALLOCATED and len(value) >= 2:
            (self.bits_allocated,) = struct.unpack_from("<H", value)
        elif tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            self.creators[tag >> 16 << 8 | tag & 0xFF] = value.decode("latin-1").rstrip("\0 ")

    def vr(self, tag: int) -> bytes:
        """The VR of an element that comes without one."""
        group, element = tag >> 16, tag & 0xFFFF
        if group & 1:
            if 0x10 <= element <= 0xFF:
                return b"LO"  # private creator (PS3.5 7.8.1)
            creator = self.creators.get(group << 8 | element >> 8)
            try:
                known = private_dictionary_VR(tag, creator) if creator else "UN"
            except KeyError:
                known = "UN"
        else:
            try:
                known = dictionary_VR(tag)
            except KeyError:
                known = "UN"
        return self._unambiguous(tag, known).encode("ascii")

    def _unambiguous(self, tag: int, known: str) -> str:
        if " or " not in known:
            return known
        if tag == _PIXEL_DATA and self.bits_allocated <= 8:
            return "OB"
        if "OW" in known:
            return "OW"
        return "SS" if self.signed else "US"


def rewrite(source: Source, target: BinaryIO, stored: str) -> None:
    """Copy a data set from ``source`` (at its first byte) to ``target`` in the other VR encoding.

    Args:
        source: the data set, to its end.
        target: where the converted one is written.
        stored: the transfer syntax of the source; the target has the other one of the two.

    Raises:
        ConversionError: it cannot be understood well enough.
    """
    _Rewriting(explicit=stored == EXPLICIT_VR_LITTLE_ENDIAN).data_set(source, target, _Context(), depth=0)


class _Rewriting:
    def __init__(self, *, explicit: bool) -> None:
        self._explicit = explicit
        """Whether the source is explicit; the target is the other."""

    def data_set(self, source: Source, target: BinaryIO, context: _Context, depth: int) -> None:
        """To the end of ``source``, or to the delimitation item that ends an item of undefined length."""
        if depth > DEEPEST:
            raise ConversionError(f"sequences are nested deeper than {DEEPEST} levels")
        while (header := self._read_header(source)) is not None:
            if header.tag == _ITEM_END:
                return
            self._element(header, source, target, context, depth)

    def _element(self, header: _Header, source: Source, target: BinaryIO, context: _Context, depth: int) -> None:
        tag, vr, length = header
        if not self._explicit:
            vr = b"SQ" if length == _UNDEFINED else context.vr(tag)
        if vr == b"UN" and length == _UNDEFINED:
            raise ConversionError("an element of unknown VR has an undefined length")
        if vr == b"SQ":
            self._sequence(header, source, target, context, depth)
        elif length == _UNDEFINED:
            raise ConversionError("encapsulated pixel data stands in a native transfer syntax")
        elif tag & 0xFFFF == 0:
            _exactly(source, length)
        else:
            self._write_header(target, tag, vr, length)
            self._value(source, target, context, tag, length)

    def _value(self, source: Source, target: BinaryIO, context: _Context, tag: int, length: int) -> None:
        while length > CHUNK:
            target.write(_exactly(source, CHUNK))
            length -= CHUNK
        value = _exactly(source, length)
        context.note(tag, value)
        target.write(value)

    def _sequence(self, header: _Header, source: Source, target: BinaryIO, context: _Context, depth: int) -> None:
        """A sequence keeps the kind of its length: defined stays defined, with the new size."""
        tag, _, length = header
        if length == _UNDEFINED:
            self._write_header(target, tag, b"SQ", _UNDEFINED)
            self._items(source, target, context, depth)
            target.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
            return
        if length > LARGEST_SEQUENCE:
            raise ConversionError(f"a sequence of {length} bytes is too large to convert")
        rewritten = BytesIO()
        self._items(BytesIO(_exactly(source, length)), rewritten, context, depth)
        self._write_header(target, tag, b"SQ", rewritten.tell())
        target.write(rewritten.getbuffer())

    def _items(self, source: Source, target: BinaryIO, context: _Context, depth: int) -> None:
        while (header := self._read_header(source)) is not None:
            if header.tag == _SEQUENCE_END:
                return
            if header.tag != _ITEM:
                raise ConversionError("a sequence holds something that is not an item")
            if header.length == _UNDEFINED:
                target.write(struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED))
                self.data_set(source, target, _Context(context), depth + 1)
                target.write(struct.pack("<HHI", 0xFFFE, 0xE00D, 0))
            else:
                rewritten = BytesIO()
                item = BytesIO(_exactly(source, header.length))
                self.data_set(item, rewritten, _Context(context), depth + 1)
                target.write(struct.pack("<HHI", 0xFFFE, 0xE000, rewritten.tell()))
                target.write(rewritten.getbuffer())

    def _read_header(self, source: Source) -> _Header | None:
        start = source.read(8)
        if not start:
            return None
        if len(start) < 8:
            raise ConversionError("the data set ends within the header of an element")
        group, element, vr, short = struct.unpack("<HH2sH", start)
        tag = group << 16 | element
        if not self._explicit or group == 0xFFFE:
            return _Header(tag, b"", struct.unpack_from("<I", start, 4)[0])
        if vr in _LONG:
            return _Header(tag, vr, struct.unpack("<I", _exactly(source, 4))[0])
        if not (vr.isalpha() and vr.isupper()):
            raise ConversionError("an element has no valid VR")
        return _Header(tag, vr, short)

    def _write_header(self, target: BinaryIO, tag: int, vr: bytes, length: int) -> None:
        group, element = tag >> 16, tag & 0xFFFF
        if self._explicit:
            target.write(struct.pack("<HHI", group, element, length))
        elif vr in _LONG or length > 0xFFFF:
            target.write(struct.pack("<HH2sHI", group, element, vr if vr in _LONG else b"UN", 0, length))
        else:
            target.write(struct.pack("<HH2sH", group, element, vr, length))


def _exactly(source: Source, count: int) -> bytes:
    value = source.read(count)
    if len(value) != count:
        raise ConversionError("an element runs past the end of the data set")
    return value
