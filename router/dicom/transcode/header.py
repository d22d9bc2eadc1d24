"""From one VR encoding to another: headers of elements are rewritten, value bytes are copied (PS3.5 7.1, annex A).

Nothing is decoded, so nothing can be lost: not odd lengths, not values that break their VR, not private elements. What
changes: group length elements (gggg,0000) go, because they would be wrong; a value too long for its VR's 16-bit length
becomes UN (PS3.5 6.2.2 note 8); and to or from Big Endian the bytes of numbers change places.
"""

import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, NamedTuple, Protocol, Self

from router.dicom.transcode.vr import PIXEL_DATA, Scope
from router.model.transfer_syntax import transfer_syntax
from router.model.value_representation import LONG_VRS

CHUNK = 1 << 20
DEEPEST = 64
"""Levels of sequences that are followed."""
LARGEST_SEQUENCE = 1 << 28
"""Bytes of one sequence that are held in memory."""

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


class ConversionError(Exception):
    """This instance cannot be converted losslessly: the sentence says why."""


class Source(Protocol):
    """Where a data set is read from."""

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""


class Header(NamedTuple):
    """What stands before a value."""

    tag: int
    vr: bytes
    """Empty: none is written."""
    length: int


class _Form(NamedTuple):
    """The kinds of headers in one byte order."""

    short: struct.Struct
    long: struct.Struct
    implicit: struct.Struct
    length: struct.Struct


_FORMS = {
    little_endian: _Form(*(struct.Struct(order + fields) for fields in ("HH2sH", "HH2sHI", "HHI", "I")))
    for little_endian, order in ((True, "<"), (False, ">"))
}


class Pixels(Protocol):
    """Converts Pixel Data: reads the value, behind its header, and writes the whole element that takes its place."""

    def convert(self, source: Source, target: BinaryIO, header: Header) -> None:
        """The pixels of the data set."""

    def nested(self, source: Source, target: BinaryIO, description: Mapping[int, bytes]) -> None:
        """The encapsulated pixels of an item, an icon for instance; its attributes of group 0028 describe them."""


Change = tuple[bytes, bytes] | None
"""What an element becomes: VR and value; None: it goes."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are encoded (PS3.5 7.1)."""

    explicit: bool
    little_endian: bool

    @classmethod
    def of(cls, uid: str) -> Self:
        """The one of a transfer syntax."""
        syntax = transfer_syntax(uid)
        return cls(syntax.explicit_vr, syntax.little_endian)

    def read(self, source: Source) -> Header | None:
        """The next header; None at the end.

        Raises:
            ConversionError: it is none.
        """
        form = _FORMS[self.little_endian]
        start = source.read(8)
        if len(start) < 8:
            if not start:
                return None
            raise ConversionError("the data set ends within the header of an element")
        group, element, vr, short = form.short.unpack(start)
        tag = group << 16 | element
        if not self.explicit or group == 0xFFFE:
            return Header(tag, b"", form.length.unpack_from(start, 4)[0])
        if vr in LONG_VRS:
            return Header(tag, vr, form.length.unpack(exactly(source, 4))[0])
        if not (vr.isalpha() and vr.isupper()):
            raise ConversionError("an element has no valid VR")
        return Header(tag, vr, short)

    def write(self, target: BinaryIO, header: Header) -> None:
        """Write a header; a value too long for its VR becomes UN."""
        (tag, vr, length), form = header, _FORMS[self.little_endian]
        group, element = tag >> 16, tag & 0xFFFF
        if not self.explicit or group == 0xFFFE:
            target.write(form.implicit.pack(group, element, length))
        elif vr in LONG_VRS or length > 0xFFFF:
            target.write(form.long.pack(group, element, vr if vr in LONG_VRS else b"UN", 0, length))
        else:
            target.write(form.short.pack(group, element, vr, length))


_IMPLICIT = Encoding(explicit=False, little_endian=True)


def rewrite(
    source: Source,
    target: BinaryIO,
    stored: Encoding,
    wanted: Encoding,
    *,
    changes: Mapping[int, Change] | None = None,
    pixels: Pixels | None = None,
) -> None:
    """Copy a data set from ``source`` (at its first byte) to ``target`` in another VR encoding.

    Args:
        source: the data set, to its end.
        target: where the converted one is written.
        stored: the encoding of the source.
        wanted: the encoding of the target.
        changes: tag → what that top-level element becomes, whether it was there or not.
        pixels: converts Pixel Data; None: native, and stays so.

    Raises:
        ConversionError: it cannot be understood well enough.
    """
    _Rewriting(stored, wanted, dict(sorted((changes or {}).items())), pixels).run(source, target)


class _Rewriting:
    def __init__(self, stored: Encoding, wanted: Encoding, changes: dict[int, Change], pixels: Pixels | None) -> None:
        self._stored = stored
        self._wanted = wanted
        self._changes = changes
        self._pixels = pixels
        self._swaps = stored.little_endian != wanted.little_endian

    def run(self, source: Source, target: BinaryIO) -> None:
        pending = list(self._changes)
        scope = Scope()
        while (header := self._stored.read(source)) is not None:
            while pending and pending[0] <= header.tag:
                self._change(target, pending.pop(0))
            if header.tag in self._changes:
                skip(source, header.length)
            elif header.tag == PIXEL_DATA and self._pixels is not None:
                self._pixels.convert(source, target, header)
            else:
                self._element(header, source, target, scope, depth=0)
        for tag in pending:
            self._change(target, tag)

    def _change(self, target: BinaryIO, tag: int) -> None:
        if (change := self._changes[tag]) is not None:
            vr, value = change
            self._wanted.write(target, Header(tag, vr, len(value)))
            target.write(value)

    def _item(self, source: Source, target: BinaryIO, scope: Scope, depth: int, *, delimited: bool) -> None:
        """To the end of ``source``, or if ``delimited`` to the delimitation item of an item of undefined length.

        Neither may stand for the other: what follows would be lost, or was lost before.
        """
        if depth > DEEPEST:
            raise ConversionError(f"sequences are nested deeper than {DEEPEST} levels")
        while (header := self._stored.read(source)) is not None:
            if delimited and header.tag == ITEM_END:
                return
            self._element(header, source, target, scope, depth)
        if delimited:
            raise ConversionError("an item of undefined length has no end")

    def _element(self, header: Header, source: Source, target: BinaryIO, scope: Scope, depth: int) -> None:
        tag, vr, length = header
        if tag >> 16 == 0xFFFE:
            raise ConversionError("an item or its delimitation stands where none may be")
        if tag == PIXEL_DATA and length == UNDEFINED:
            if self._pixels is None:
                raise ConversionError("encapsulated pixel data stands in a native transfer syntax")
            self._pixels.nested(source, target, scope.description)
            return
        if not self._stored.explicit:
            vr = b"SQ" if length == UNDEFINED else scope.vr(tag)
        if vr == b"UN" and length == UNDEFINED:
            self._unknown_sequence(tag, source, target, scope, depth)
        elif vr == b"SQ":
            self._sequence(header, source, target, scope, depth)
        elif length == UNDEFINED:
            raise ConversionError("an element that is no sequence has an undefined length")
        elif tag & 0xFFFF == 0:
            skip(source, length)
        else:
            self._value(Header(tag, vr, length), source, target, scope)

    def _value(self, header: Header, source: Source, target: BinaryIO, scope: Scope) -> None:
        tag, vr, length = header
        width = scope.width(tag, vr) if self._swaps and length else 1
        if width is None:
            raise ConversionError(f"the byte order of an element of VR {vr.decode()} is not known")
        self._wanted.write(target, header)
        if length <= CHUNK:
            value = exactly(source, length)
            target.write(swapped(value, width))
            scope.note(tag, value, little_endian=self._stored.little_endian)
        else:
            target.writelines(swapped(piece, width) for piece in pieces(source, length))

    def _sequence(self, header: Header, source: Source, target: BinaryIO, scope: Scope, depth: int) -> None:
        """A sequence keeps the kind of its length: defined stays defined, with the new size."""
        tag, _, length = header
        if length == UNDEFINED:
            self._wanted.write(target, Header(tag, b"SQ", UNDEFINED))
            self._items(source, target, scope, depth, delimited=True)
            return
        if length > LARGEST_SEQUENCE:
            raise ConversionError(f"a sequence of {length} bytes is too large to convert")
        rewritten = BytesIO()
        self._items(BytesIO(exactly(source, length)), rewritten, scope, depth, delimited=False)
        self._wanted.write(target, Header(tag, b"SQ", rewritten.tell()))
        target.write(rewritten.getbuffer())

    def _unknown_sequence(self, tag: int, source: Source, target: BinaryIO, scope: Scope, depth: int) -> None:
        """PS3.5 6.2.2 note 2: a UN element of undefined length holds Implicit VR Little Endian, here as there."""
        if self._swaps:
            raise ConversionError("the byte order of a sequence of unknown VR is not known")
        self._wanted.write(target, Header(tag, b"UN", UNDEFINED))
        _Rewriting(_IMPLICIT, _IMPLICIT, {}, None)._items(source, target, scope, depth, delimited=True)  # noqa: SLF001 - of its own kind

    def _items(self, source: Source, target: BinaryIO, scope: Scope, depth: int, *, delimited: bool) -> None:
        while (header := self._stored.read(source)) is not None:
            if delimited and header.tag == SEQUENCE_END:
                self._wanted.write(target, Header(SEQUENCE_END, b"", 0))
                return
            if header.tag != ITEM:
                raise ConversionError("a sequence holds something that is not an item")
            if header.length == UNDEFINED:
                self._wanted.write(target, header)
                self._item(source, target, Scope(scope), depth + 1, delimited=True)
                self._wanted.write(target, Header(ITEM_END, b"", 0))
            else:
                rewritten = BytesIO()
                item = BytesIO(exactly(source, header.length))
                self._item(item, rewritten, Scope(scope), depth + 1, delimited=False)
                self._wanted.write(target, Header(ITEM, b"", rewritten.tell()))
                target.write(rewritten.getbuffer())
        if delimited:
            raise ConversionError("a sequence of undefined length has no end")


def pieces(source: Source, count: int) -> Iterator[bytes]:
    """Exactly ``count`` bytes, in pieces of at most ``CHUNK``: a length that lies costs no memory.

    Raises:
        ConversionError: there are fewer.
    """
    while count > 0:
        piece = exactly(source, min(count, CHUNK))
        yield piece
        count -= len(piece)


def exactly(source: Source, count: int) -> bytes:
    """The same in one; what is longer than a piece costs memory only as far as it is there."""
    if count > CHUNK:
        return b"".join(pieces(source, count))
    if len(value := source.read(count)) != count:
        raise ConversionError("an element runs past the end of the data set")
    return value


def skip(source: Source, count: int) -> None:
    """Pass over what ``exactly`` would read."""
    for _ in pieces(source, count):
        pass


def swapped(value: bytes, width: int) -> bytes:
    """The value in the other byte order.

    Raises:
        ConversionError: its length is no multiple of ``width``.
    """
    if width == 1:
        return value
    if len(value) % width:
        raise ConversionError(f"a value of numbers of {width} bytes is {len(value)} bytes long")
    numbers = array({2: "H", 4: "I", 8: "Q"}[width], value)
    numbers.byteswap()
    return numbers.tobytes()
