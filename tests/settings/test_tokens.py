"""The file of tokens, and who is served over TCP."""

from hashlib import sha256
from pathlib import Path

import pytest

from router.rules.network import is_loopback
from router.settings import ConfigurationError, HttpSettings, Role, Token, load
from router.settings.tokens import read

pytestmark = pytest.mark.unit

SECRET = "0123456789abcdef"
REST = (
    "listen: {allow_any: true}\n"
    "destinations: [{name: PACS, remote_ae_title: PACS_SCP, remote_host: pacs, remote_port: 104}]\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that nobody else may read."""
    path = tmp_path / "tokens"
    path.touch(0o600)
    return path


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def test_tokens_are_kept_as_digests(path: Path) -> None:
    """In clear or as a digest in the file; comments and empty lines mean nothing."""
    path.write_text(f"# who may\n\nprometheus  read {SECRET}\n  ops operate sha256:{_digest(SECRET).hex()}\n")
    tokens = read(path)
    assert tokens == [
        Token("prometheus", Role.READ, _digest(SECRET)),
        Token("ops", Role.OPERATE, _digest(SECRET)),
    ]
    assert SECRET not in repr(tokens)
    assert _digest(SECRET).hex() not in repr(tokens)
    assert repr(_digest(SECRET)) not in repr(tokens)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"ops {SECRET}", "has 2 words, not three"),
        (f"ops operate {SECRET} x", "has 4 words, not three"),
        (f"a/b read {SECRET}", "a name has up to 64 letters, digits, and any of _ . -"),
        (f"ops admin {SECRET}", "the role of ops is neither read nor operate"),
        (f"ops READ {SECRET}", "the role of ops is neither read nor operate"),
        (f"ops read {SECRET[:-1]}", "the token of ops has fewer than 16 characters"),
        ("ops read sha256:0123456789abcdef", "the digest of ops is not 64 hexadecimal digits in lower case"),
        (f"first read {SECRET}", "first has a token already"),
    ],
)
def test_a_line_that_means_nothing_is_told_with_its_number_and_without_its_token(
    path: Path, line: str, sentence: str
) -> None:
    """Whoever reads the error learns no secret."""
    path.write_text(f"first read {SECRET}{SECRET}\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        read(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.sentence) == (2, sentence)
    assert SECRET[:-1] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o666])
def test_a_file_that_everybody_may_use_is_refused(path: Path, mode: int) -> None:
    """Its tokens are no secrets any more."""
    path.write_text(f"ops read {SECRET}")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="everybody on this machine may use it"):
        read(path)


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "has no token"), (b"# none\n", "has no token"), (b"\xff", "is not UTF-8")]
)
def test_a_file_without_a_token_is_refused(path: Path, content: bytes, sentence: str) -> None:
    """It would lock everybody out, or was not meant."""
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"the file of tokens {sentence}"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, or nothing at all."""
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="is not a file"):
        read(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory"):
        read(tmp_path / "missing")


def test_the_configuration_names_the_file(tmp_path: Path, path: Path) -> None:
    """Relative to its own folder; then any address may be served."""
    path.write_text(f"ops operate {SECRET}")
    configuration = tmp_path / "router.yaml"
    configuration.write_text(
        f"{REST}http: {{host: 0.0.0.0, port: 9042, tokens_file: tokens, allowed_hosts: r.example, show_patient: true}}"
    )
    assert load(configuration, environment={}).http == HttpSettings(
        "0.0.0.0",
        9042,
        enabled=True,
        allowed_hosts=("r.example",),
        tokens=(Token("ops", Role.OPERATE, _digest(SECRET)),),
        show_patient=True,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_token(tmp_path: Path, host: str) -> None:
    """Reading is free there, and nothing else."""
    configuration = tmp_path / "router.yaml"
    configuration.write_text(f'{REST}http: {{host: "{host}"}}')
    assert load(configuration, environment={}).http.enabled


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "router.example", "localhost.example"])
def test_every_other_address_needs_tokens(tmp_path: Path, host: str) -> None:
    """A name may be anywhere."""
    assert not is_loopback(host)
    configuration = tmp_path / "router.yaml"
    configuration.write_text(f'{REST}http: {{host: "{host}"}}')
    with pytest.raises(ConfigurationError, match="is called from elsewhere: that needs `tokens_file`"):
        load(configuration, environment={})


@pytest.mark.parametrize(("host", "ok"), [("0.0.0.0", False), ("127.0.0.1", False), ("127.0.0.2", True)])
def test_the_port_of_a_listener_is_taken(tmp_path: Path, host: str, ok: bool) -> None:  # noqa: FBT001
    """Where both sockets cannot be had."""
    configuration = tmp_path / "router.yaml"
    listen = f"listen: {{allow_any: true, host: {host}, port: 8080}}\n"
    configuration.write_text(listen + REST.partition("\n")[2] + "http: {}\n")
    if ok:
        assert load(configuration, environment={}).http.enabled
        return
    with pytest.raises(ConfigurationError, match=r"listen\[0\] has the same host and port"):
        load(configuration, environment={})
