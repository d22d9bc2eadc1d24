"""What a data set says, without decoding it: the few attributes that routes ask about, and whether it is complete.

A walk over the top-level elements in windows of the file: bounded in memory, in steps and in depth, whatever the peer
sent. Pixel data and values nobody asked about are stepped over.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.charset import STAND_ALONE_ENCODINGS, decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR, keyword_dict

from router.model.transfer_syntax import TransferSyntax
from router.model.value_representation import LONG_VRS

Read = Callable[[int, int], bytes]
"""``read(offset, count)``: bytes of the data set; fewer only at its end."""

WINDOW = 1 << 16
LONGEST_VALUE = 1 << 14
"""Bytes of a value that a route may look at; a longer one counts as absent."""
MOST_ELEMENTS = 200_000
INFLATED_AT_MOST = 1 << 20
"""Of a deflated data set no more is ever inflated: 199 KiB can become hundreds of MiB."""

STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
ACCESSION_NUMBER = 0x00080050
PATIENT_ID = 0x00100020
SOP_INSTANCE_UID = 0x00080018
_SPECIFIC_CHARACTER_SET = 0x00080005
_ALWAYS_WANTED = frozenset(
    {
        _SPECIFIC_CHARACTER_SET,
        STUDY_INSTANCE_UID,
        SERIES_INSTANCE_UID,
        ACCESSION_NUMBER,
        PATIENT_ID,
        SOP_INSTANCE_UID,
    }
)

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found."""

    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Keyword → values, of those asked about that are there and could be read."""
    study: str = ""
    series: str = ""
    accession_number: str = ""
    patient_id: str = ""
    sop_instance: str = ""
    truncated: bool = False
    """A top-level element runs past the end: the sender did not send all of it."""
    error: str = ""
    """Why the walk ended early, in our own words; empty when all of it was understood."""


class _UnreadableError(Exception):
    pass


class _TruncatedError(Exception):
    pass


def tags(keywords: Iterable[str]) -> dict[int, str]:
    """Tag → keyword.

    Raises:
        KeyError: a keyword is not in the data dictionary (PS3.6).
    """
    by_keyword = {keyword: tag for tag, keyword in _keywords()}
    return {by_keyword[keyword]: keyword for keyword in keywords}


def known_keywords() -> frozenset[str]:
    """Every keyword that a route may ask about."""
    return frozenset(keyword for _, keyword in _keywords())


def _keywords() -> Iterable[tuple[int, str]]:
    return ((tag, keyword) for keyword, tag in keyword_dict.items())


def survey(read: Read, size: int, syntax: TransferSyntax, wanted: Mapping[int, str]) -> Survey:
    """Walk a data set of ``size`` bytes.

    Args:
        read: gives its bytes.
        size: of the data set, without the head.
        syntax: its transfer syntax.
        wanted: tag → keyword of the attributes asked about.
    """
    error = ""
    truncated = False
    if syntax.deflated:
        inflated = _inflate(read)
        walk = _Walk(lambda offset, count: inflated[offset : offset + count], len(inflated), syntax, wanted)
    else:
        walk = _Walk(read, size, syntax, wanted)
    try:
        walk.run()
    except _TruncatedError:
        # Of a deflated data set only the beginning was looked at.
        truncated = not syntax.deflated
    except _UnreadableError as unreadable:
        error = str(unreadable)
    found = walk.found()
    return Survey(
        attributes={wanted[tag]: values for tag, values in found.items() if tag in wanted},
        study=_first(found, STUDY_INSTANCE_UID),
        series=_first(found, SERIES_INSTANCE_UID),
        accession_number=_first(found, ACCESSION_NUMBER),
        patient_id=_first(found, PATIENT_ID),
        sop_instance=_first(found, SOP_INSTANCE_UID),
        truncated=truncated,
        error=error,
    )


def _first(found: Mapping[int, tuple[str, ...]], tag: int) -> str:
    return (found.get(tag) or ("",))[0]


def _inflate(read: Read) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = b""
    offset = 0
    while len(inflated) < INFLATED_AT_MOST and not inflater.eof and (deflated := read(offset, WINDOW)):
        offset += len(deflated)
        try:
            inflated += inflater.decompress(deflated, INFLATED_AT_MOST - len(inflated))
        except zlib.error:
            break
    return inflated


class _Walk:
    """One pass over the elements; what was found is kept even if it ends early."""

    def __init__(self, read: Read, size: int, syntax: TransferSyntax, wanted: Mapping[int, str]) -> None:
        self._read = read
        self._size = size
        self._explicit = syntax.explicit_vr
        self._order = "<" if syntax.little_endian else ">"
        self._tag = struct.Struct(self._order + "HH")
        self._short = struct.Struct(self._order + "H")
        self._length = struct.Struct(self._order + "I")
        self._wanted = {*_ALWAYS_WANTED, *wanted}
        self._values: dict[int, tuple[str, bytes]] = {}
        self._window = b""
        self._base = 0
        self._steps = 0

    def run(self) -> None:
        """Walk to the end.

        Raises:
            _TruncatedError: a top-level element runs past the end.
            _UnreadableError: it cannot be understood.
        """
        offset = 0
        while offset < self._size:
            tag, vr, length, start = self._header(offset, explicit=self._explicit)
            if length == _UNDEFINED:
                offset = self._skip_sequence(start, explicit=self._explicit and vr != b"UN")
                continue
            offset = start + length
            if offset > self._size:
                raise _TruncatedError
            if tag in self._wanted and tag not in self._values and length <= LONGEST_VALUE:
                self._values[tag] = (vr.decode("ascii") if self._explicit else "", self._bytes(start, length))

    def found(self) -> dict[int, tuple[str, ...]]:
        """Tag → values as text."""
        _, raw = self._values.get(_SPECIFIC_CHARACTER_SET, ("CS", b""))
        encodings = _encodings([term.strip("\0 ") for term in raw.decode("ascii", "replace").split("\\")])
        return {tag: self._text(tag, vr, value, encodings) for tag, (vr, value) in self._values.items()}

    def _text(self, tag: int, vr: str, value: bytes, encodings: list[str]) -> tuple[str, ...]:
        vr = vr if vr not in {"", "UN"} else dictionary_VR(tag).split(" ", maxsplit=1)[0]
        if (code := _BINARY.get(vr)) is not None:
            count = len(value) // struct.calcsize(code)
            whole = value[: count * struct.calcsize(code)]
            return tuple(str(number) for number in struct.unpack(f"{self._order}{count}{code}", whole))
        text = _decode(value, encodings).rstrip("\0 ")
        if not text:
            return ()
        return tuple(part.strip(" \0") for part in text.split("\\"))

    def _header(self, offset: int, *, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR, length, and where the value starts."""
        self._steps += 1
        if self._steps > MOST_ELEMENTS:
            raise _UnreadableError(f"the data set has more than {MOST_ELEMENTS} elements")
        at = offset - self._base
        if at < 0 or at + 12 > len(self._window):
            self._window = self._read(offset, WINDOW)
            self._base = offset
            at = 0
        if len(self._window) - at < 8:
            raise _UnreadableError("the data set ends within the header of an element")
        group, element = self._tag.unpack_from(self._window, at)
        tag = group << 16 | element
        if not explicit or group == 0xFFFE:
            return tag, b"", self._length.unpack_from(self._window, at + 4)[0], offset + 8
        vr = self._window[at + 4 : at + 6]
        if vr not in LONG_VRS:
            if not (vr.isalpha() and vr.isupper()):
                raise _UnreadableError("an element has no valid VR")
            return tag, vr, self._short.unpack_from(self._window, at + 6)[0], offset + 8
        if len(self._window) - at < 12:
            raise _UnreadableError("the data set ends within the header of an element")
        return tag, vr, self._length.unpack_from(self._window, at + 8)[0], offset + 12

    def _skip_sequence(self, offset: int, *, explicit: bool) -> int:
        """Where a sequence or encapsulated pixel data of undefined length ends; nesting costs a number, no recursion.

        A stack of what is open: True for a sequence, False for an item; with it how its elements are encoded.
        """
        opened: list[tuple[bool, bool]] = [(True, explicit)]
        while opened:
            in_sequence, explicit = opened[-1]
            if offset >= self._size:
                raise _UnreadableError("a sequence of undefined length has no end")
            tag, vr, length, start = self._header(offset, explicit=explicit)
            offset = start
            if tag in {_ITEM_END, _SEQUENCE_END}:
                if in_sequence != (tag == _SEQUENCE_END):
                    raise _UnreadableError("a delimitation item stands where none may be")
                opened.pop()
            elif in_sequence != (tag == _ITEM):
                raise _UnreadableError("a sequence holds something that is not an item")
            elif length == _UNDEFINED:
                # PS3.5 6.2.2 note 2: the content of a UN element of undefined length is Implicit VR Little Endian.
                opened.append((not in_sequence, explicit and vr != b"UN"))
            else:
                offset += length
                if offset > self._size:
                    raise _TruncatedError
        return offset

    def _bytes(self, offset: int, count: int) -> bytes:
        at = offset - self._base
        if at + count <= len(self._window):
            return self._window[at : at + count]
        return self._read(offset, count)


def _encodings(terms: Sequence[str]) -> list[str]:
    """What Python calls the character sets of (0008,0005).

    What is no defined term is passed over: pydicom would put it, a text of the peer's, into a warning.
    """
    first, *extensions = [term for term in terms if term in python_encoding] or [""]
    if first in STAND_ALONE_ENCODINGS:
        extensions = []
    return [python_encoding[term] for term in (first, *(set(extensions) - set(STAND_ALONE_ENCODINGS)))]


def _decode(value: bytes, encodings: list[str]) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    try:
        return decode_bytes(value, encodings, set()) if b"\x1b" in value else value.decode(encodings[0])
    except (LookupError, UnicodeError, ValueError):
        return value.decode("latin-1")
