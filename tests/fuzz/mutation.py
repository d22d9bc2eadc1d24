"""Inputs out of inputs: something cut out, put in, doubled or changed. The same chance makes the same input."""

from collections.abc import Sequence
from random import Random

LARGEST = 1 << 14
"""Bytes of an input: what goes wrong with more goes wrong with these."""

_NUMBERS = (0, 1, 2, 3, 4, 7, 0x20, 0x5C, 0x7F, 0x80, 0xFE, 0xFF)
_LENGTHS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_CHANGES_AT_MOST = 6


def mutated(chance: Random, corpus: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the corpus, changed in one to six places.

    Args:
        chance: decides.
        corpus: sound inputs, and what broke something before.
        words: that mean something to whoever reads the input; they are put in, and stand for each other.
    """
    content = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, _CHANGES_AT_MOST)):
        at = chance.randrange(len(content) + 1)
        end = min(len(content), at + chance.choice((1, 1, 2, 4, 8, 64)))
        match chance.randrange(9):
            case 0:
                del content[at:end]
            case 1:
                content[at:end] = chance.randbytes(end - at)
            case 2:
                content[at:end] = bytes([chance.choice(_NUMBERS)]) * (end - at)
            case 3:
                size = chance.choice((2, 4))
                number = chance.choice(_LENGTHS) & (1 << 8 * size) - 1
                content[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
            case 4:
                content[at:at] = content[at:end] * chance.choice((1, 2, 16))
            case 5:
                other = chance.choice(corpus)
                start = chance.randrange(len(other) + 1)
                content[at:end] = other[start : start + chance.choice((4, 16, 64, 256))]
            case 6 if at < len(content):
                content[at] ^= 1 << chance.randrange(8)
            case 7:
                del content[at:]
            case _:
                _put_word(chance, content, at, words)
        del content[LARGEST:]
    return bytes(content)


def _put_word(chance: Random, content: bytearray, at: int, words: Sequence[bytes]) -> None:
    """In the place of another one if there is one behind ``at``, else there."""
    if not words:
        return
    old = chance.choice(words)
    found = content.find(old, at)
    new = chance.choice(words)
    if found < 0:
        content[at:at] = new
    else:
        content[found : found + len(old)] = new
