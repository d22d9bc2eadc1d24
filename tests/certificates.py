"""Certificates of CAs that live for one test."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

DAY = timedelta(days=1)
LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.2")


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its key, in files."""

    certificate: Path
    key: Path


class Authority:
    """A CA, and what it signs."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        """Make one.

        Args:
            folder: where its files go.
            name: of the CA's certificate; two CAs in one folder need two.
        """
        self._ca = trustme.CA(organization_name=name)
        self._folder = folder
        self.name = name
        self.path = folder / f"{name}.pem"
        """Its certificate: what others trust."""
        self._ca.cert_pem.write_to_path(str(self.path))

    def issue(self, name: str, names: Sequence[str] = LOOPBACK, **more: Any) -> Credential:
        """Sign a certificate, in files called ``name``; a second one of the same name replaces the first.

        Args:
            name: of the files.
            names: subject alternative names, addresses among them.
            more: of ``trustme.CA.issue_cert``.
        """
        leaf = self._ca.issue_cert(*names, **more)
        made = Credential(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        made.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(made.key))
        made.key.chmod(0o600)
        return made

    def expired(self, name: str) -> Credential:
        """One that ended yesterday."""
        now = datetime.now(UTC)
        return self.issue(name, not_before=now - 2 * DAY, not_after=now - DAY)

    def early(self, name: str) -> Credential:
        """One that begins tomorrow."""
        now = datetime.now(UTC)
        return self.issue(name, not_before=now + DAY, not_after=now + 2 * DAY)
