"""Certificates and keys from their files, as contexts for TLS (PS3.15 B.12: BCP 195, RFC 8996 and 9325).

A file that changed is read again for the next connection. While the new files do not fit together, as between the
replacement of a certificate and that of its key, the old ones stay in force.
"""

import re
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from router.dicom.x509 import not_after
from router.model.tls import Certificate, TlsClient, TlsServer, TlsVersion

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; those of TLS 1.3 are all of this kind: ephemeral keys, authenticated encryption (RFC 9325 4.2)."""

VERSIONS = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}

Files = TlsServer | TlsClient
Stamps = tuple[tuple[int, int, int], ...]

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CredentialsError(Exception):
    """A certificate, a key or a file of CAs cannot be used."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key
        """Of the configuration, within the TLS section: what is wrong."""


_last: dict[Files, tuple[Stamps, ssl.SSLContext]] = {}
"""The last context that worked, with what its files were when it was looked at; one for each section of TLS."""


def server_context(tls: TlsServer) -> ssl.SSLContext:
    """For connections that a listener takes. Blocks.

    Raises:
        CredentialsError: there was never one that worked.
    """
    return _fresh(tls, lambda: build_server_context(tls))


def client_context(tls: TlsClient) -> ssl.SSLContext:
    """For connections to a destination. Blocks.

    Raises:
        CredentialsError: there was never one that worked.
    """
    return _fresh(tls, lambda: build_client_context(tls))


def _fresh(tls: Files, build: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    stamps = tuple(_stamp(path) for path in tls.files)
    known = _last.get(tls)
    if known is not None and known[0] == stamps:
        return known[1]
    try:
        context = build()
    except CredentialsError:
        if known is None:
            raise
        context = known[1]
    _last[tls] = stamps, context
    return context


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def build_server_context(tls: TlsServer) -> ssl.SSLContext:
    """From the files as they are now. Blocks.

    Raises:
        CredentialsError: they cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls.minimum_version)
    context.num_tickets = 0
    _show(context, tls.certificate, tls.key)
    if tls.client_ca is not None:
        _trust(context, "client_ca", tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def build_client_context(tls: TlsClient) -> ssl.SSLContext:
    """From the files as they are now. Blocks.

    Raises:
        CredentialsError: they cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, TlsVersion.TLS_1_2)
    # A name is a subject alternative name; the common name is one for people (RFC 9525 6.3).
    context.hostname_checks_common_name = False
    if tls.ca is None:
        context.load_default_certs()
    else:
        _trust(context, "ca", tls.ca)
    if tls.certificate is not None:
        _show(context, tls.certificate, tls.key or tls.certificate)
    return context


def _context(protocol: int, minimum: TlsVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = VERSIONS[minimum]
    context.set_ciphers(CIPHERS)
    # A session that is taken up again would pass by a certificate that was replaced meanwhile.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    # A file of CAs may name the peer's own certificate: PACS with certificates of their own making are many.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _certificates("certificate", certificate)
    text = _read("key", key)
    if "PRIVATE KEY-----" not in text:
        raise CredentialsError("key", f"{key} has no private key in PEM")
    if "ENCRYPTED" in text:
        sentence = f"{key} is protected by a passphrase, and nobody is there to type it: store the key without one"
        raise CredentialsError("key", sentence)
    try:
        # Without a password of ours OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in (error.reason or ""):
            raise CredentialsError("key", f"{key} is not the key of {certificate}") from error
        reason = (error.reason or "it cannot be read").lower().replace("_", " ")
        raise CredentialsError("certificate", f"{certificate} with {key} cannot be used: {reason}") from error


def _trust(context: ssl.SSLContext, key: str, path: Path) -> None:
    _certificates(key, path)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise CredentialsError(key, f"{path} has a certificate that cannot be read") from error


def _read(key: str, path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError as error:
        raise CredentialsError(key, f"{path} cannot be read: {error.strerror}") from error


def _certificates(key: str, path: Path) -> Sequence[bytes]:
    """The certificates in a file, in DER."""
    try:
        found = [ssl.PEM_cert_to_DER_cert(text) for text in _CERTIFICATE.findall(_read(key, path))]
    except ValueError as error:
        raise CredentialsError(key, f"{path} has a certificate that cannot be read") from error
    if not found:
        raise CredentialsError(key, f"{path} has no certificate in PEM")
    return found


def certificates(tls: Files) -> Sequence[Certificate]:
    """When our certificate ends, and when the last of the CAs does. Blocks.

    Raises:
        CredentialsError: a file cannot be read.
    """
    ca = ("client_ca", tls.client_ca) if isinstance(tls, TlsServer) else ("ca", tls.ca)
    found = []
    for (key, path), choose in ((("certificate", tls.certificate), min), (ca, max)):
        if path is not None:
            try:
                ends = [not_after(der) for der in _certificates(key, path)]
            except ValueError as error:
                raise CredentialsError(key, f"{path} has a certificate that cannot be read") from error
            found.append(Certificate(path, choose(ends)))
    return found
