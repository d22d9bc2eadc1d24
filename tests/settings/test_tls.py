"""What the sections of TLS mean, and what is found in the files that they name."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from router.dicom.x509 import not_after
from router.model.tls import TlsClient, TlsServer, TlsVersion
from router.settings import Configuration, ConfigurationError, destination, load
from tests.certificates import DAY, Authority, Credential

pytestmark = pytest.mark.unit

NOW = datetime.now(UTC)
CONFIGURATION = """
listen:
  allow: [{ae_title: CT1, certificate: ct1.hospital.test}]
  tls: {%s}
destinations:
  - {name: PACS, remote_ae_title: PACS, remote_host: pacs.test, remote_port: 2762, tls: {%s}}
"""
SERVER = "certificate: router.crt, key: router.key, client_ca: ca.pem"

Read = Callable[..., Configuration]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA beside the configuration."""
    return Authority(tmp_path)


@pytest.fixture
def router(authority: Authority) -> Credential:
    """A certificate and a key beside the configuration."""
    return authority.issue("router")


@pytest.fixture
def read(tmp_path: Path, router: Credential) -> Read:
    """Load a configuration with these sections."""
    assert router.key.exists()

    def read(server: str = SERVER, client: str = "", now: datetime = NOW) -> Configuration:
        path = tmp_path / "router.yaml"
        path.write_text(CONFIGURATION % (server, client))
        return load(path, environment={}, now=lambda: now)

    return read


def test_every_key(read: Read, tmp_path: Path) -> None:
    """Files are meant from the configuration's folder."""
    configuration = read(
        f"{SERVER}, require_client_certificate: false, minimum_version: 1.3",
        "ca: ca.pem, certificate: router.crt, key: router.key, server_name: pacs.hospital.test",
    )
    (listener,), (pacs,) = configuration.listeners, configuration.destinations
    certificate, key, ca = (tmp_path / name for name in ("router.crt", "router.key", "ca.pem"))
    assert listener.tls == TlsServer(certificate, key, ca, False, TlsVersion.TLS_1_3)
    assert pacs.tls == TlsClient(ca, certificate, key, "pacs.hospital.test")
    assert listener.allow[0].certificate == "ct1.hospital.test"


def test_defaults(read: Read, tmp_path: Path, router: Credential) -> None:
    """The strict ones; the key may be in the file of the certificate; the system's CAs are enough for a destination."""
    both = tmp_path / "both.pem"
    both.write_bytes(router.key.read_bytes() + router.certificate.read_bytes())
    both.chmod(0o600)
    configuration = read("certificate: both.pem, client_ca: ca.pem")
    assert configuration.listeners[0].tls == TlsServer(both, both, tmp_path / "ca.pem")
    assert configuration.destinations[0].tls == TlsClient()
    assert read(client="certificate: both.pem").destinations[0].tls == TlsClient(None, both, both)
    assert not configuration.warnings


def test_destination_of_a_script() -> None:
    """A destination that is no file's: its files are meant from where the script runs."""
    keys = {"remote_ae_title": "A", "remote_host": "b", "remote_port": 1, "tls": {"ca": "ca.pem"}}
    assert destination(keys, origin="here").tls == TlsClient(Path("ca.pem"))


def test_ends_of_certificates(read: Read, tmp_path: Path, authority: Authority) -> None:
    """Each file once: ours, and those of CAs, in which the last one counts."""
    end = (NOW + 100 * DAY).replace(microsecond=0)
    authority.issue("router", not_after=end)
    configuration = read(client="ca: ca.pem, certificate: router.crt, key: router.key")
    known = {certificate.path.name: certificate.not_after for certificate in configuration.certificates}
    assert known.keys() == {"router.crt", "ca.pem"}
    assert len(configuration.certificates) == 2
    assert known["router.crt"] == end
    assert known["ca.pem"] > NOW + 1000 * DAY


@pytest.mark.parametrize(
    ("after", "words"),
    [(timedelta(days=31), None), (timedelta(days=29), "expires on"), (timedelta(seconds=-1), "has expired on")],
)
def test_warned_before_the_end(read: Read, authority: Authority, after: timedelta, words: str | None) -> None:
    """Thirty days before; and it keeps nothing from starting."""
    end = (NOW + 50 * DAY).replace(microsecond=0)
    authority.issue("router", not_after=end)
    warnings = read(now=end - after).warnings
    assert len(warnings) == (0 if words is None else 1)
    assert (words or "") in "".join(warnings)


def test_key_that_everybody_may_read(read: Read, router: Credential) -> None:
    """A warning: in a container it may be alone."""
    router.key.chmod(0o644)
    (warning,) = read().warnings
    assert f"chmod o= {router.key}" in warning


def _not_readable(router: Credential) -> None:
    router.key.unlink()
    router.key.mkdir()


def _encrypted(router: Credential) -> None:
    key = load_pem_private_key(router.key.read_bytes(), None)
    router.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    )


def _encrypted_as_of_old(router: Credential) -> None:
    key = load_pem_private_key(router.key.read_bytes(), None)
    router.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")),
    )


def _torn(router: Credential) -> None:
    text = router.key.read_text().splitlines()
    router.key.write_text("\n".join([text[0], text[1][:20], text[-1]]))


BROKEN: dict[str, tuple[Callable[[Credential], Any], str, str]] = {
    "missing": (lambda router: router.key.unlink(), "key", "cannot be read: No such file or directory"),
    "a folder": (_not_readable, "key", "cannot be read: Is a directory"),
    "no key": (lambda router: router.key.write_text("hello"), "key", "has no private key in PEM"),
    "a passphrase": (_encrypted, "key", "is protected by a passphrase"),
    "a passphrase in the old form": (_encrypted_as_of_old, "key", "is protected by a passphrase"),
    "half a key": (_torn, "certificate", "cannot be used"),
    "no certificate": (lambda router: router.certificate.write_text("hello"), "certificate", "has no certificate"),
}


@pytest.mark.parametrize(("spoil", "key", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_file_that_cannot_be_used(
    read: Read, router: Credential, spoil: Callable[[Credential], Any], key: str, words: str
) -> None:
    """It is named, with the key of the configuration; nobody is asked for a passphrase."""
    spoil(router)
    with pytest.raises(ConfigurationError) as caught:
        read()
    (problem,) = caught.value.problems
    assert problem.path == f"listen.tls.{key}"
    assert words in problem.sentence


def test_key_of_another_certificate(read: Read, router: Credential, authority: Authority) -> None:
    """They do not belong together."""
    router.key.write_bytes(authority.issue("other").key.read_bytes())
    with pytest.raises(ConfigurationError, match=r"router.key is not the key of .*router.crt"):
        read()


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x03\x30\x01\xa0", bytes(100), b"\x30\x84\xff\xff\xff\xff\x30\x00"]
)
def test_no_certificate_at_all(der: bytes) -> None:
    """Whatever the bytes are, it is one kind of error."""
    with pytest.raises(ValueError, match=r".+"):
        not_after(der)
