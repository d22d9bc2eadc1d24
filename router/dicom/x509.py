"""The one thing of a certificate that Python's ``ssl`` does not tell of our own: when it ends (RFC 5280 4.1)."""

from datetime import UTC, datetime

VERSION = 0xA0
"""Tag of the first element, which version 1 has not."""

TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime by their tags, as RFC 5280 4.1.2.5 wants them."""

LONG = 0x80
"""In the first byte of a length: the others of it say how many bytes the length has (X.690 8.1.3.5)."""


def not_after(der: bytes) -> datetime:
    """The end of a certificate's validity.

    Raises:
        ValueError: it is not a certificate.
    """
    try:
        return _not_after(der)
    except (IndexError, KeyError) as error:
        raise ValueError("not a certificate in DER") from error


def _not_after(der: bytes) -> datetime:
    _, certificate, _ = _element(der, 0)
    _, at, _ = _element(der, certificate)
    if der[at] == VERSION:
        _, _, at = _element(der, at)
    for _ in ("serial number", "signature", "issuer"):
        _, _, at = _element(der, at)
    _, not_before, _ = _element(der, at)
    _, _, at = _element(der, not_before)
    tag, start, end = _element(der, at)
    return datetime.strptime(der[start:end].decode("ascii"), TIMES[tag]).replace(tzinfo=UTC)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the content."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & LONG:
        count = length - LONG
        length, start = int.from_bytes(der[start : start + count], "big"), start + count
    return tag, start, start + length
