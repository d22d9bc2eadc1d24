"""Texts of the peer, made harmless: UIDs, AE titles and short names as they stand in PDUs and command sets."""

from router.protocol.errors import AbortReason, LocalProtocolError, ProtocolError

_UID_LENGTH = 64
_TEXT_LENGTH = 64
_PADDING = b"\0 "


def read_uid(raw: bytes, name: str) -> str:
    """Return a UID without its padding.

    A router forwards UIDs that other systems made up (`1.02`, `1..2`): only what cannot be one is refused.

    Args:
        raw: the bytes as they arrived.
        name: what the UID identifies, for the sentence.

    Raises:
        ProtocolError: it is empty, longer than 64 characters, or has other than printable ASCII characters.
    """
    stripped = raw.rstrip(_PADDING)
    if not 0 < len(stripped) <= _UID_LENGTH:
        raise ProtocolError(
            f"the {name} has {len(stripped)} characters, a UID has 1 to {_UID_LENGTH}",
            AbortReason.INVALID_PARAMETER_VALUE,
        )
    if not stripped.isascii() or not (text := stripped.decode("ascii")).isprintable():
        raise ProtocolError(f"the {name} contains characters that no UID can have", AbortReason.INVALID_PARAMETER_VALUE)
    return text


def read_text(raw: bytes) -> str:
    """Return an AE title, a version name or a comment without its padding, as printable ASCII whatever it contains.

    None of them has more than 64 characters by the Standard; what is longer is cut.
    """
    return raw[:_TEXT_LENGTH].strip(_PADDING).decode("latin-1").encode("unicode_escape").decode("ascii")


def write(text: str, name: str, maximum: int) -> bytes:
    """Return a text of ours, without padding.

    Raises:
        LocalProtocolError: it is not ASCII, or longer than `maximum`.
    """
    if len(text) > maximum or not text.isascii():
        raise LocalProtocolError(f"the {name} must be at most {maximum} ASCII characters")
    return text.encode("ascii")


def write_uid(uid: str, name: str) -> bytes:
    """Return a UID of ours, without padding.

    Raises:
        LocalProtocolError: it is empty, not ASCII, or longer than 64 characters.
    """
    if not uid:
        raise LocalProtocolError(f"the {name} must not be empty")
    return write(uid, name, _UID_LENGTH)


def write_ae_title(title: str, name: str) -> bytes:
    """Return an AE title of ours, padded to its 16 characters (PS3.8 9.3.2).

    Raises:
        LocalProtocolError: it is blank, not ASCII, or longer than 16 characters.
    """
    if not title.strip():
        raise LocalProtocolError(f"the {name} must not be blank")
    return write(title, name, 16).ljust(16)
