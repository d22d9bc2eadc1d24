"""Which user identities are recognised."""

from hashlib import sha256

import pytest

from router.rules.user_identity import Kind, Recognition, User, Users, recognise

pytestmark = pytest.mark.unit

KNOWN = (User("jane", sha256(b"secret").digest()), User("gateway"), User("Jürgen", sha256(b"").digest()))


@pytest.mark.parametrize(
    ("kind", "name", "passcode", "recognised"),
    [
        (Kind.USERNAME_AND_PASSCODE, "jane", b"secret", True),
        (Kind.USERNAME_AND_PASSCODE, "jane", b"Secret", False),
        (Kind.USERNAME_AND_PASSCODE, "jane", b"", False),
        (Kind.USERNAME_AND_PASSCODE, "Jane", b"secret", False),
        (Kind.USERNAME_AND_PASSCODE, "john", b"secret", False),
        (Kind.USERNAME_AND_PASSCODE, "Jürgen", b"", True),
        (Kind.USERNAME, "jane", b"", False),
        (Kind.USERNAME, "jane", b"secret", False),
        (Kind.USERNAME, "gateway", b"", True),
        (Kind.USERNAME, "gateway", b"ignored", True),
        (Kind.USERNAME_AND_PASSCODE, "gateway", b"", False),
        (Kind.USERNAME, "", b"", False),
    ],
)
@pytest.mark.parametrize("required", [False, True])
def test_name_and_passcode(kind: Kind, name: str, passcode: bytes, *, recognised: bool, required: bool) -> None:
    """A name with its passcode, a name alone where it needs none; what is wrong is refused, required or not."""
    expected = Recognition.RECOGNISED if recognised else Recognition.REFUSED
    assert recognise(Users(KNOWN, required), kind, name.encode(), passcode) is expected


@pytest.mark.parametrize("kind", [None, 0, 3, 4, 5])
def test_nobody_named_or_not_to_be_checked(kind: int | None) -> None:
    """It depends on whether one is required."""
    assert recognise(Users(KNOWN), kind, b"jane", b"secret") is Recognition.REFUSED
    assert recognise(Users(KNOWN, required=False), kind, b"jane", b"secret") is Recognition.UNCHECKED


def test_nothing_is_shown() -> None:
    """A name may be a person's."""
    assert "jane" not in repr(Users(KNOWN))
