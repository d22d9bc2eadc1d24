"""Which VR an element has that comes without one, and what a change of byte order does to its value (PS3.5 6.2)."""

from pydicom.datadict import dictionary_VR, private_dictionary_VR

PIXEL_DATA = 0x7FE00010
_PIXEL_REPRESENTATION, _BITS_ALLOCATED = 0x00280103, 0x00280100
_DESCRIPTION = 0x0028
LONGEST_VALUE = 64
"""Bytes of an attribute that describes pixels; a longer value is none."""
_WAVEFORM_DATA, _WAVEFORM_BITS_ALLOCATED = 0x54001010, 0x54001004
_BITS = {PIXEL_DATA: _BITS_ALLOCATED, _WAVEFORM_DATA: _WAVEFORM_BITS_ALLOCATED}
"""Of what OW carries: where the bits of its cells are told."""
_NUMBERS = frozenset({_PIXEL_REPRESENTATION, *_BITS.values()})

_WIDTHS = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
    **dict.fromkeys((b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"LT", b"OB", b"PN", b"SH"), 1),
    **dict.fromkeys((b"ST", b"TM", b"UC", b"UI", b"UR", b"UT"), 1),
}
"""Bytes that change places with the byte order (PS3.5 7.3)."""


class Scope:
    """What decides an ambiguous VR, and a private one: seen earlier in the same data set or item (PS3.5 A.1)."""

    def __init__(self, outer: "Scope | None" = None) -> None:
        self.signed: bool = outer.signed if outer else False
        self.bits: dict[int, int] = dict(outer.bits) if outer else {}
        self.description: dict[int, bytes] = {}
        """Values of group 0028, which describes the pixels of this very data set or item."""
        self._creators: dict[int, str] = {}

    def note(self, tag: int, value: bytes, *, little_endian: bool) -> None:
        """Remember a value that decides about later elements."""
        if tag >> 16 == _DESCRIPTION and len(value) <= LONGEST_VALUE:
            self.description[tag] = value
        if tag in _NUMBERS:
            number = int.from_bytes(value[:2], "little" if little_endian else "big")
            if tag == _PIXEL_REPRESENTATION:
                self.signed = number == 1
            else:
                self.bits[tag] = number
        elif tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            self._creators[tag >> 16 << 8 | tag & 0xFF] = value.decode("latin-1").rstrip("\0 ")

    def vr(self, tag: int) -> bytes:
        """The VR of an element that comes without one."""
        group, element = tag >> 16, tag & 0xFFFF
        if group & 1:
            if 0x10 <= element <= 0xFF:
                return b"LO"  # private creator (PS3.5 7.8.1)
            creator = self._creators.get(group << 8 | element >> 8)
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
        if tag == PIXEL_DATA and self.bits.get(_BITS_ALLOCATED, 16) <= 8:
            return "OB"
        if "OW" in known:
            return "OW"
        return "SS" if self.signed else "US"

    def width(self, tag: int, vr: bytes) -> int | None:
        """How many bytes change places in a value when the byte order changes; None: nobody can say.

        That is so for UN, for VRs of the future, and for some pixels and samples (see ``cell_width``).
        """
        if tag in _BITS:
            return cell_width(vr, self.bits.get(_BITS[tag], 16))
        return _WIDTHS.get(vr)


def cell_width(vr: bytes, bits: int) -> int | None:
    """How many bytes change places in the cells of pixels, or samples of a waveform; None: nobody can say.

    That is so for more than 16 bits in OW, where some swap words, as the Standard says of OW, and others whole cells;
    and for more than 8 bits in OB.
    """
    if bits > {b"OB": 8, b"OW": 16}.get(vr, 0):
        return None
    return _WIDTHS[vr]
