"""Sources over sources: inflated, and in the other byte order."""

import io
import zlib
from typing import TYPE_CHECKING

from router.dicom.transcode.header import ConversionError, Source, swapped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE = 1 << 14
"""Bytes that are inflated at a time."""


class Inflated(io.RawIOBase):
    """A deflated data set (PS3.5 A.5), inflated as it is read; to be read through a ``BufferedReader``."""

    def __init__(self, source: Source, at_most: int) -> None:
        """A stream.

        Args:
            source: the deflated data set.
            at_most: bytes that may come out: a few KiB can become many GiB.
        """
        self._source = source
        self._left = at_most
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill ``buffer``, as far as is convenient. Returns how many bytes; 0 only at the end.

        Raises:
            ConversionError: it is damaged, cut short, or grows beyond measure.
        """
        view = memoryview(buffer).cast("B")
        while not self._inflater.eof:
            deflated = self._inflater.unconsumed_tail or self._source.read(_PIECE)
            if not deflated:
                raise ConversionError("the deflated data set is cut short")
            try:
                inflated = self._inflater.decompress(deflated, len(view))
            except zlib.error:
                raise ConversionError("the deflated data set is damaged") from None
            self._left -= len(inflated)
            if self._left < 0:
                raise ConversionError("the deflated data set grows beyond measure when it is inflated")
            if inflated:
                view[: len(inflated)] = inflated
                return len(inflated)
        # What may follow, padding (PS3.5 A.5) or a checksum of gzip's, is not of the data set. It is read all the same:
        # only at the end is the digest checked.
        while self._source.read(_PIECE):
            pass
        return 0


class Swapped:
    """A source whose bytes change places in groups of ``width``; its length is a multiple of that."""

    def __init__(self, source: Source, width: int) -> None:
        self._source = source
        self._width = width
        self._rest = b""

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""
        groups = -(-max(count - len(self._rest), 0) // self._width)
        value = self._rest + swapped(self._source.read(groups * self._width), self._width)
        self._rest = value[count:]
        return value[:count]
