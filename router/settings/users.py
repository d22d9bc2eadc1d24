"""The file of users whom an association may name: who may send.

One line each: ``name passcode``, the passcode's digest in its place (``sha256:`` and 64 hexadecimal digits), or the
name alone, for those who show none. Only digests are kept.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from router.rules.user_identity import User
from router.settings.problems import ConfigurationError, Problem
from router.settings.secret_file import lines, refused

HINT = "a line is `name passcode`, or `name` for one who shows no passcode"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def read(path: Path) -> Sequence[User]:
    """The users in the file at ``path``.

    Raises:
        ConfigurationError: it cannot be read, everybody may read it, or lines in it mean nothing.
    """
    users: list[User] = []
    problems: list[Problem] = []
    for number, line in lines(path, "users"):
        try:
            users.append(_user(line, {other.name for other in users}))
        except ValueError as error:
            problems.append(Problem(file=str(path), line=number, sentence=str(error), hint=HINT))
    if problems:
        raise ConfigurationError(problems)
    if not users:
        raise refused(path, "users", "has no user", HINT)
    return users


def _user(line: str, taken: set[str]) -> User:
    name, *secrets = line.split()
    if len(secrets) > 1:
        raise ValueError(f"has {1 + len(secrets)} words, not one or two")
    if name in taken:
        raise ValueError("this name stands in the file already")
    if not secrets:
        return User(name)
    (secret,) = secrets
    if written := _DIGEST.fullmatch(secret):
        return User(name, bytes.fromhex(written[1]))
    if secret.startswith("sha256:"):
        raise ValueError("the digest is not 64 hexadecimal digits in lower case")
    return User(name, sha256(secret.encode()).digest())
