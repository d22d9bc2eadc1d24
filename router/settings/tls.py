"""The sections of TLS, of a listener and of a destination, and what they say."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from router.model.tls import TlsClient, TlsServer, TlsVersion
from router.settings.scalars import Boolean, Host
from router.settings.section import Section

FileName = Annotated[str, Field(min_length=1)]


class ListenTlsSection(Section):
    """TLS of a listener: profile BCP 195 (PS3.15 B.12).

    Files are in PEM; relative ones are meant from the configuration file's folder. One that changes is read again.
    """

    certificate: FileName
    """Our certificate, followed by those between it and its CA."""
    key: FileName | None = None
    """Its private key, without a passphrase. Left out: it is in the file of the certificate."""
    client_ca: FileName | None = None
    """The CAs whose certificates the senders show."""
    require_client_certificate: Boolean = True
    """Whether a sender without a certificate is refused. One that is shown is verified in any case."""
    minimum_version: TlsVersion = TlsVersion.TLS_1_2
    """The least version of TLS that is spoken."""

    @model_validator(mode="after")
    def _somebody_to_believe(self) -> Self:
        if self.require_client_certificate and self.client_ca is None:
            raise ValueError(
                "`client_ca` is missing: it says whose certificates senders show; to take them without one, write "
                "`require_client_certificate: false`"
            )
        return self


class DestinationTlsSection(Section):
    """TLS with a destination, whose certificate and its name are always verified.

    `{}` is enough where the system trusts its CA. Files as for a listener.
    """

    ca: FileName | None = None
    """The CA of the destination, or its own certificate. Left out: the CAs that the system trusts."""
    certificate: FileName | None = None
    """Our certificate, for a destination that asks for one."""
    key: FileName | None = None
    """Its private key, without a passphrase. Left out: it is in the file of the certificate."""
    server_name: Host | None = None
    """The name that the destination's certificate is for, if that is not `remote_host`."""

    @model_validator(mode="after")
    def _no_key_alone(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("`key` is of no use without its `certificate`")
        return self


def server(section: ListenTlsSection, folder: Path) -> TlsServer:
    """What the section of a listener says."""
    return TlsServer(
        certificate=folder / section.certificate,
        key=folder / (section.key or section.certificate),
        client_ca=_file(section.client_ca, folder),
        require_client_certificate=section.require_client_certificate,
        minimum_version=section.minimum_version,
    )


def client(section: DestinationTlsSection, folder: Path) -> TlsClient:
    """What the section of a destination says."""
    return TlsClient(
        ca=_file(section.ca, folder),
        certificate=_file(section.certificate, folder),
        key=_file(section.key or section.certificate, folder),
        server_name=section.server_name,
    )


def _file(name: str | None, folder: Path) -> Path | None:
    return None if name is None else folder / name
