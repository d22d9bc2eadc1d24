"""How connections are encrypted, as configured; and a certificate, as far as its end matters."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class TlsVersion(StrEnum):
    """The least that is spoken; what is older than TLS 1.2 is no choice (RFC 8996)."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class TlsServer:
    """TLS of a listener: what we show, and whom we believe. Files are in PEM."""

    certificate: Path
    """Ours, followed by those between it and its CA."""
    key: Path
    client_ca: Path | None = None
    """The CAs of those who call; None: they are not asked for a certificate."""
    require_client_certificate: bool = True
    """Whether who has none is refused; one that is shown is always verified."""
    minimum_version: TlsVersion = TlsVersion.TLS_1_2

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is made of."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)


@dataclass(frozen=True, slots=True)
class TlsClient:
    """TLS with a destination, whose certificate is always verified. Files are in PEM."""

    ca: Path | None = None
    """The CAs of the destination, or its own certificate; None: those that the system trusts."""
    certificate: Path | None = None
    """Ours, for a destination that asks for one."""
    key: Path | None = None
    server_name: str | None = None
    """The name that the destination's certificate has to be for; None: the host that is called."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is made of."""
        return tuple(path for path in (self.ca, self.certificate, self.key) if path is not None)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A file that is trusted, or shown, until it ends."""

    path: Path
    not_after: datetime
    """The first of ours that ends, with those between it and its CA; in a file of CAs the last one."""
