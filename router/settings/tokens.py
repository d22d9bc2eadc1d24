"""The file of tokens for the API over TCP: who may read, and who may operate.

One line each: ``name role token``, or the digest in place of the token: ``sha256:`` and 64 hexadecimal digits. Only
digests are kept, and no error ever quotes a token.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from router.settings.configuration import Role, Token
from router.settings.problems import ConfigurationError, Problem
from router.settings.secret_file import lines, refused

SHORTEST = 16
"""Characters of a token: fewer could be guessed."""
HINT = "a line is `name role token`, with the role read or operate; `openssl rand -hex 24` makes a token"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"\w[\w.-]{0,63}")


def read(path: Path) -> Sequence[Token]:
    """The tokens in the file at ``path``.

    Raises:
        ConfigurationError: it cannot be read, everybody may read it, or lines in it mean nothing.
    """
    tokens: list[Token] = []
    problems: list[Problem] = []
    for number, line in lines(path, "tokens"):
        try:
            tokens.append(_token(line, {token.name for token in tokens}))
        except ValueError as error:
            problems.append(Problem(file=str(path), line=number, sentence=str(error), hint=HINT))
    if problems:
        raise ConfigurationError(problems)
    if not tokens:
        raise refused(path, "tokens", "has no token", HINT)
    return tokens


def _token(line: str, taken: set[str]) -> Token:
    match line.split():
        case [name, role, secret]:
            pass
        case words:
            raise ValueError(f"has {len(words)} words, not three")
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 64 letters, digits, and any of _ . -")
    if name in taken:
        raise ValueError(f"{name} has a token already")
    if role not in list(Role):
        raise ValueError(f"the role of {name} is neither read nor operate")
    if written := _DIGEST.fullmatch(secret):
        return Token(name, Role(role), bytes.fromhex(written[1]))
    if secret.startswith("sha256:"):
        raise ValueError(f"the digest of {name} is not 64 hexadecimal digits in lower case")
    if len(secret) < SHORTEST:
        raise ValueError(f"the token of {name} has fewer than {SHORTEST} characters")
    return Token(name, Role(role), sha256(secret.encode()).digest())
