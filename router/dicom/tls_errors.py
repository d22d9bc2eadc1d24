"""What went wrong with TLS: which check failed, in our own sentences."""

import errno
import ssl


class TlsError(OSError):
    """The connection cannot be trusted, or not be encrypted."""

    def __init__(self, sentence: str, *, verification: bool = False) -> None:
        super().__init__(errno.EPROTO, sentence)
        self.verification = verification
        """A certificate did not pass, the peer's with us or ours with the peer: somebody has to put that right."""

    def __str__(self) -> str:
        return str(self.strerror)


VERIFICATIONS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself, and not one that we trust",
    19: "none of the CAs that we trust signed it",
    20: "none of the CAs that we trust signed it",
    21: "none of the CAs that we trust signed it",
    23: "it has been revoked",
    26: "it is not meant for this end of a connection",
    62: "it is not for the name that was called",
    64: "it is not for the address that was called",
    66: "its key is too weak",
    67: "the key of its CA is too weak",
    68: "its signature is too weak",
}
"""By OpenSSL's verify code (X509_V_ERR_…)."""

REFUSED = {
    "ALERT_BAD_CERTIFICATE": "it is bad",
    "ALERT_UNSUPPORTED_CERTIFICATE": "it is of a kind that is not supported there",
    "ALERT_CERTIFICATE_REVOKED": "it has been revoked",
    "ALERT_CERTIFICATE_EXPIRED": "it has expired, or is not valid yet",
    "ALERT_CERTIFICATE_UNKNOWN": "no reason was given",
    "ALERT_UNKNOWN_CA": "its CA is not trusted there",
    "ALERT_ACCESS_DENIED": "access is denied",
    "ALERT_CERTIFICATE_REQUIRED": "there is none, and one is required",
}
"""By the alert with which a peer refuses our certificate (RFC 8446 6.2)."""

FAILED = {
    "ALERT_HANDSHAKE_FAILURE": "the peer did not agree to any of our cipher suites, or wants a certificate of ours",
    "ALERT_PROTOCOL_VERSION": "the peer does not speak the versions of TLS that we do",
    "ALERT_UNRECOGNIZED_NAME": "the peer does not go by the name that was called",
    "NO_SHARED_CIPHER": "the peer offered no cipher suite that we take",
    "UNSUPPORTED_PROTOCOL": "the peer offered only versions of TLS that we do not speak",
    "UNEXPECTED_EOF": "the peer closed the connection during the TLS handshake",
}
"""By a part of OpenSSL's name for the reason."""

NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def in_words(error: ssl.SSLError, *, calls: bool) -> TlsError:
    """What OpenSSL found.

    Args:
        error: as raised by a handshake, or later.
        calls: whether we are the client.
    """
    peer = "destination" if calls else "peer"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = VERIFICATIONS.get(error.verify_code, f"X.509 error {error.verify_code}")
        return TlsError(f"the certificate of the {peer} was not accepted: {why}", verification=True)
    reason = error.reason or "no reason given"
    if reason == NO_CERTIFICATE:
        return TlsError("the peer has no certificate, and one is required", verification=True)
    for part, why in REFUSED.items():
        if part in reason:
            return TlsError(f"the {peer} did not accept our certificate: {why}", verification=True)
    for part, sentence in FAILED.items():
        if part in reason:
            return TlsError(sentence)
    return TlsError(f"TLS failed ({reason})")
