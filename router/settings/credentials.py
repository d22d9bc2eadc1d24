"""Whether certificates and keys are there and fit together, and when they end."""

import stat
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from router.dicom.credentials import CredentialsError, build_client_context, build_server_context
from router.dicom.credentials import certificates as read_certificates
from router.model.tls import Certificate, TlsClient, TlsServer
from router.settings.configuration import Configuration
from router.settings.problems import Problem
from router.settings.source import Keys, Places

NOTICE = timedelta(days=30)
"""Before a certificate ends."""


def problems(configuration: Configuration, places: Places) -> Iterator[Problem]:
    """What keeps certificates and keys from being used. Reads them."""
    for keys, tls in _sections(configuration):
        try:
            if isinstance(tls, TlsServer):
                build_server_context(tls)
            else:
                build_client_context(tls)
            read_certificates(tls)
        except CredentialsError as error:
            yield places.problem((*keys, "tls", error.key), str(error))


def certificates(configuration: Configuration) -> tuple[Certificate, ...]:
    """Each file with certificates that are shown or trusted, once, as it is now. Reads them.

    Raises:
        CredentialsError: one cannot be read.
    """
    found = (certificate for _, tls in _sections(configuration) for certificate in read_certificates(tls))
    return tuple(dict.fromkeys(found))


def warnings(configuration: Configuration, certificates: Sequence[Certificate], now: datetime) -> Iterator[str]:
    """What will not work for long, or should not be so.

    An expired certificate keeps nothing from starting: those who do not need it are served all the same.
    """
    for certificate in certificates:
        end = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
        if certificate.not_after <= now:
            yield f"{certificate.path} has expired on {end}: peers refuse it"
        elif certificate.not_after - now < NOTICE:
            yield f"{certificate.path} expires on {end}"
    keys = (tls.key for _, tls in _sections(configuration))
    for key in dict.fromkeys(path for path in keys if path is not None):
        if key.stat().st_mode & stat.S_IROTH:
            yield f"everybody on this machine may read the private key {key}: chmod o= {key}"


def _sections(configuration: Configuration) -> Iterator[tuple[Keys, TlsServer | TlsClient]]:
    for position, listener in enumerate(configuration.listeners):
        if listener.tls is not None:
            yield ("listen", position), listener.tls
    for position, destination in enumerate(configuration.destinations):
        if destination.tls is not None:
            yield ("destinations", position), destination.tls
