"""TLS under an association, over another transport: profile BCP 195, RFC 8996 and 9325 (PS3.15 B.12).

TLS 1.2 and up, ephemeral keys and authenticated encryption only; no renegotiation, no resumption, so every connection
is judged anew. Whoever calls checks the certificate and the name in it; there is no way to leave that out, and none
back to the clear.
"""

import math
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import anyio.to_thread

from router.dicom.credentials import CredentialsError, client_context, server_context
from router.dicom.tls_errors import TlsError, in_words
from router.dicom.transport import Buffer, StalledError, Transport
from router.model.tls import TlsClient, TlsServer

SCRATCH = 32 * 1024
"""Bytes of what is received encrypted: two records."""

ENCRYPTED_AT_ONCE = 256 * 1024
"""Bytes that are encrypted before they are sent: others wait no longer than for these."""

HANDSHAKE = 0x16
ALERT = 0x15
"""Types of a record (RFC 8446 5.1): how a peer that speaks TLS begins."""


class TlsTransport:
    """A transport that encrypts over another one."""

    def __init__(
        self, inner: Transport, context: Callable[[], ssl.SSLContext], *, calls: bool, server_name: str | None = None
    ) -> None:
        """A transport that has not shaken hands.

        Args:
            inner: carries the records.
            context: gives the rules; may block.
            calls: whether we are the client.
            server_name: that the server's certificate has to be for.
        """
        self._inner = inner
        self._context = context
        self._calls = calls
        self._server_name = server_name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._scratch = memoryview(bytearray(SCRATCH))
        self._tls: ssl.SSLObject | None = None
        """As soon as hands are shaken."""
        self._heard = False

    @property
    def peer(self) -> tuple[str, int]:
        """See ``Transport``."""
        return self._inner.peer

    @property
    def certificate_names(self) -> frozenset[str]:
        """See ``Transport``."""
        # Without a certificate there is nothing; one that was not verified is never given.
        shown: Mapping[str, Any] = (self._tls and self._tls.getpeercert()) or {}
        alternative = {str(name) for kind, name in shown.get("subjectAltName", ()) if kind == "DNS"}
        common = {str(name) for row in shown.get("subject", ()) for kind, name in row if kind == "commonName"}
        return frozenset(alternative | common)

    async def handshake(self) -> None:
        """See ``Transport``; a ``TlsError`` says which check failed."""
        try:
            context = await anyio.to_thread.run_sync(self._context)
        except CredentialsError as error:
            raise TlsError(f"our own credentials cannot be had: {error}") from error
        try:
            tls = context.wrap_bio(
                self._incoming, self._outgoing, server_side=not self._calls, server_hostname=self._server_name
            )
        except ValueError as error:
            raise TlsError(f"{self._server_name!r} is no name that a certificate can be for") from error
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise TlsError("the peer closed the connection during the TLS handshake") from None
            except ssl.SSLError as error:
                # The alert that tells the peer why.
                with suppress(OSError, StalledError):
                    await self._flush(0)
                raise in_words(error, calls=self._calls) from error
            else:
                await self._flush()
                self._tls = tls
                return

    async def receive_into(self, buffer: memoryview, deadline: float = math.inf) -> int:
        """See ``Transport``."""
        if self._tls is None:
            # Without a handshake, or after one that failed, nothing of what comes is ever content.
            while await self._inner.receive_into(self._scratch, deadline):
                pass
            return 0
        while (count := self._decrypt(self._tls, buffer)) is None:
            await self._flush()
            if not await self._fill(deadline):
                # A connection that was cut short is told by DICOM's own lengths.
                return 0
        await self._flush()
        return count

    async def send(self, buffers: Sequence[Buffer], stall: float = math.inf) -> None:
        """See ``Transport``. Without a handshake nothing leaves."""
        for buffer in buffers:
            view = memoryview(buffer)
            while view and self._tls is not None:
                try:
                    count = self._tls.write(view[:ENCRYPTED_AT_ONCE])
                except ssl.SSLError as error:
                    raise in_words(error, calls=self._calls) from error
                view = view[count:]
                if self._outgoing.pending >= ENCRYPTED_AT_ONCE:
                    await self._flush(stall)
        await self._flush(stall)

    def hang_up(self) -> None:
        """See ``Transport``."""
        self._inner.hang_up()

    async def aclose(self) -> None:
        """See ``Transport``; the peer is told if its side takes that at once."""
        if self._tls is not None:
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._tls = None
            with suppress(OSError, StalledError):
                await self._flush(0)
        await self._inner.aclose()

    def _decrypt(self, tls: ssl.SSLObject, buffer: memoryview) -> int | None:
        """As many records as there are, and fit; 0: the peer closed; None: more has to be received first."""
        total = 0
        try:
            while total < len(buffer):
                count = cast("int", tls.read(len(buffer) - total, buffer[total:]))
                if not count:
                    break  # the peer said that it is done
                total += count
        except ssl.SSLWantReadError:
            return total or None
        except ssl.SSLError as error:
            raise in_words(error, calls=self._calls) from error
        return total

    async def _fill(self, deadline: float = math.inf) -> int:
        """Receive some bytes of records."""
        count = await self._inner.receive_into(self._scratch, deadline)
        if count and not self._heard:
            self._heard = True
            if self._scratch[0] not in {HANDSHAKE, ALERT}:
                raise TlsError("the peer does not speak TLS: what it sent is not encrypted")
        self._incoming.write(self._scratch[:count])
        return count

    async def _flush(self, stall: float = math.inf) -> None:
        if self._outgoing.pending:
            await self._inner.send([self._outgoing.read()], stall)


def called(inner: Transport, tls: TlsServer) -> TlsTransport:
    """The transport of a connection that a listener took."""
    return TlsTransport(inner, lambda: server_context(tls), calls=False)


def calling(inner: Transport, tls: TlsClient, host: str) -> TlsTransport:
    """The transport of a connection that we opened to ``host``."""
    return TlsTransport(inner, lambda: client_context(tls), calls=True, server_name=tls.server_name or host)
