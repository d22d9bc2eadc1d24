"""The file of users whom an association may name."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from router.rules.user_identity import User, Users
from router.settings import ConfigurationError, load

pytestmark = pytest.mark.unit

SECRET = "correct-horse"
DIGEST = sha256(SECRET.encode()).digest()

Read = Callable[..., Users | None]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a configuration with a file of users."""

    def read(text: str, more: str = "", mode: int = 0o640) -> Users | None:
        file = tmp_path / "users"
        file.write_text(text)
        file.chmod(mode)
        path = tmp_path / "router.yaml"
        path.write_text(
            f"listen: {{allow_any: true, user_identity: {{users_file: users{more}}}}}\n"
            "destinations: [{name: PACS, remote_ae_title: PACS, remote_host: pacs.test, remote_port: 104}]\n"
        )
        return load(path, environment={}).listeners[0].users

    return read


def test_lines(read: Read) -> None:
    """A passcode, its digest, or neither; comments; one is required unless it says otherwise."""
    text = f"# of the hospital\n\njane {SECRET}\njohn sha256:{DIGEST.hex()}\n  gateway\n"
    users = (User("jane", DIGEST), User("john", DIGEST), User("gateway"))
    assert read(text) == Users(users)
    assert read(text, ", required: false") == Users(users, required=False)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"jane {SECRET} doe", 1, "has 3 words, not one or two"),
        (f"jane {SECRET}\n\njane {SECRET}", 3, "stands in the file already"),
        (f"jane sha256:{SECRET}", 1, "not 64 hexadecimal digits"),
        ("# nobody\n", None, "the file of users has no user"),
    ],
)
def test_lines_that_mean_nothing(read: Read, text: str, line: int | None, words: str) -> None:
    """With their place, and without what may be a secret."""
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert problem.line == line
    assert words in problem.sentence
    assert SECRET not in str(problem)


def test_file_that_everybody_may_read(read: Read) -> None:
    """It has secrets."""
    with pytest.raises(ConfigurationError, match="the file of users everybody on this machine may use it"):
        read("jane", mode=0o644)
