"""Lossless conversion of instances, in worker processes that limit themselves and may be killed.

Here: between the native little endian transfer syntaxes. Paths cross to the workers, never pixels.
"""

from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

_VR_ENCODINGS = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})


def converts(stored: str, target: str) -> bool:
    """Whether instances stored in one transfer syntax can be converted losslessly to another."""
    return stored != target and stored in _VR_ENCODINGS and target in _VR_ENCODINGS
