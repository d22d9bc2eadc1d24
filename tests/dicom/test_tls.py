"""Associations under TLS, in both directions: what is checked, and what is said when a check fails."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import anyio.to_thread
import pytest

from router.dicom.buffers import Buffers
from router.dicom.scu import AssociationFailedError, OutgoingAssociation, associate
from router.dicom.tls import TlsTransport, called, calling
from router.dicom.tls_errors import TlsError, in_words
from router.dicom.transport import SocketTransport, connect, listen
from router.journal import AssociationAccepted, AssociationLost, AssociationRefused, ConnectionRefused
from router.model.outcome import Answered, Cause, Failed
from router.model.presentation_context import VERIFICATION, PresentationContext
from router.model.tls import TlsClient, TlsServer, TlsVersion
from router.rules.acceptance import Allowed, Listener
from tests.certificates import Authority, Credential
from tests.dicom.peers import MOMENT, PATIENCE, Serving, address, deadlines, hasty, listener, serving, written
from tests.protocol.pair import CT, EXPLICIT, IMPLICIT

pytestmark = pytest.mark.unit

CONTEXTS = (PresentationContext(1, CT, (EXPLICIT,)), PresentationContext(3, VERIFICATION, (IMPLICIT,)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where certificates lie that no test changes."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Authority:
    """The CA that both sides trust."""
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Authority:
    """A CA that nobody trusts."""
    return Authority(folder, "theirs")


@pytest.fixture(scope="module")
def router(ours: Authority) -> Credential:
    """Of the listener."""
    return ours.issue("router")


@pytest.fixture(scope="module")
def modality(ours: Authority) -> Credential:
    """Of the sender: with a DNS name and a common name."""
    return ours.issue("modality", ["ct1.hospital.test"], common_name="CT 1")


def encrypted(credential: Credential, ca: Authority | None = None, **changes: object) -> Listener:
    """A listener under TLS; with a CA its peers have to show a certificate."""
    tls = TlsServer(
        credential.certificate,
        credential.key,
        ca.path if ca is not None else None,
        require_client_certificate=ca is not None,
    )
    return listener(tls=tls, **changes)


def trusting(ca: Authority, credential: Credential | None = None, server_name: str | None = None) -> TlsClient:
    """What a sender believes, and shows."""
    if credential is None:
        return TlsClient(ca.path, server_name=server_name)
    return TlsClient(ca.path, credential.certificate, credential.key, server_name)


async def opened(port: int, tls: TlsClient | None, **changes: object) -> OutgoingAssociation:
    """Our SCU's association with our SCP."""
    there = address(port, tls=tls, called_ae_title="ROUTER", calling_ae_title="CT1", **changes)
    return await associate(there, CONTEXTS, deadlines=deadlines(), buffers=Buffers(1))


async def refused(port: int, tls: TlsClient | None, **changes: object) -> Failed:
    """How the association failed."""
    with pytest.raises(AssociationFailedError) as failed:
        await opened(port, tls, **changes)
    return failed.value.failure


async def works(server: Serving, tls: TlsClient | None, **changes: object) -> None:
    """An association that answers a C-ECHO."""
    association = await opened(server.port, tls, **changes)
    assert await association.echo(3) == Answered(0)
    await association.release()


# What works


@pytest.mark.parametrize("mutual", [False, True], ids=["one-sided", "mutual"])
async def test_objects_arrive_unchanged(
    tmp_path: Path, ours: Authority, router: Credential, modality: Credential, *, mutual: bool
) -> None:
    """Small ones, large ones, and several on one association."""
    random = Random(0)
    rules = encrypted(router, ours if mutual else None)
    tls = trusting(ours, modality if mutual else None)
    contents = [random.randbytes(size) for size in (2, 16384, 300_000, 20 << 20)]
    instances = await anyio.to_thread.run_sync(
        lambda: [written(tmp_path / str(number), content) for number, content in enumerate(contents)]
    )
    async with serving(rules) as server:
        association = await opened(server.port, tls)
        for instance in instances:
            assert await association.store(1, instance) == Answered(0)
        await association.release()
        assert [taken.content for taken in server.receiver.taken] == contents
    assert not server.diary.of(ConnectionRefused)
    assert not server.diary.of(AssociationLost)


async def test_name_may_be_another_than_the_host(ours: Authority) -> None:
    """With `server_name` the certificate is checked for that name, and the address does not matter."""
    credential = ours.issue("named", ["pacs.hospital.test"])
    async with serving(encrypted(credential)) as server:
        await works(server, trusting(ours, server_name="pacs.hospital.test"))
        assert "not for" in (await refused(server.port, trusting(ours))).error


async def test_certificate_itself_may_be_trusted(theirs: Authority) -> None:
    """A destination's own certificate in the place of its CA's: that one is accepted, and none other of its CA."""
    credential, other = theirs.issue("pinned"), theirs.issue("other")
    pinned = TlsClient(credential.certificate)
    async with serving(encrypted(credential)) as server:
        await works(server, pinned)
    async with serving(encrypted(other)) as server:
        assert (await refused(server.port, pinned)).cause is Cause.TLS_VERIFICATION


async def test_versions_and_ciphers(ours: Authority, router: Credential) -> None:
    """TLS 1.3 where both know it; 1.2 with ephemeral keys and authenticated encryption, and nothing older or weaker."""
    left, right = await shaken(calls(ours), takes(router))
    assert left._tls is not None
    assert left._tls.version() == "TLSv1.3"
    await left.aclose()
    await right.aclose()
    context = ssl.create_default_context(cafile=ours.path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    left, right = await shaken(
        lambda inner: TlsTransport(inner, lambda: context, calls=True, server_name="localhost"), takes(router)
    )
    assert left._tls is not None
    name, version, _ = left._tls.cipher() or ("", "", 0)
    assert version == "TLSv1.2"
    assert name.startswith("ECDHE-")
    assert "GCM" in name or "CHACHA20" in name
    await left.aclose()
    await right.aclose()
    only = TlsServer(
        router.certificate, router.key, require_client_certificate=False, minimum_version=TlsVersion.TLS_1_3
    )
    async with serving(listener(tls=only)) as server:
        with pytest.raises(ssl.SSLError):
            await anyio.to_thread.run_sync(shake, context, server.port)
        await works(server, trusting(ours))
    weak = ssl.create_default_context(cafile=ours.path)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
    async with serving(encrypted(router)) as server:
        with pytest.raises(ssl.SSLError):
            await anyio.to_thread.run_sync(shake, weak, server.port)
        assert "cipher suite" in (await server.diary.saw(ConnectionRefused)).error


Wrap = Callable[[SocketTransport], TlsTransport]


def calls(ca: Authority, name: str = "localhost") -> Wrap:
    """Our client."""
    return lambda inner: calling(inner, trusting(ca), name)


def takes(credential: Credential) -> Wrap:
    """Our server."""
    tls = TlsServer(credential.certificate, credential.key, require_client_certificate=False)
    return lambda inner: called(inner, tls)


async def shaken(left: Wrap, right: Wrap) -> tuple[TlsTransport, TlsTransport]:
    """Two ends after their handshake."""
    with listen("127.0.0.1", 0) as listening:
        one = socket.create_connection(listening.getsockname())
        listening.setblocking(True)
        other, _ = listening.accept()
    ends = left(SocketTransport(one)), right(SocketTransport(other))
    async with anyio.create_task_group() as shaking:
        for end in ends:
            shaking.start_soon(end.handshake)
    return ends


def shake(context: ssl.SSLContext, port: int) -> None:
    """A handshake by Python's own client, and one byte of an answer: a refusal may come after the handshake."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.recv(1)


async def test_transport_carries_a_stream(ours: Authority, router: Credential) -> None:
    """Both ways, in any sizes; what one end has closed ends for the other."""
    left, right = await shaken(calls(ours), takes(router))
    random = Random(1)
    sizes = [0, 1, 6, 16384, 0, 700_000, *(random.randrange(40_000) for _ in range(60))]
    buffers = [random.randbytes(size) for size in sizes]

    async def hear(end: TlsTransport) -> None:
        content = bytearray(sum(sizes))
        view, filled = memoryview(content), 0
        while filled < len(content):
            filled += await end.receive_into(view[filled : filled + 50_000])
        assert bytes(content) == b"".join(buffers)

    async with anyio.create_task_group() as moving:
        moving.start_soon(hear, left)
        moving.start_soon(hear, right)
        moving.start_soon(left.send, buffers)
        moving.start_soon(right.send, buffers)
    assert left.peer == right._inner._socket.getsockname()  # type: ignore[attr-defined]  # a SocketTransport
    await left.aclose()
    await left.aclose()
    assert await right.receive_into(memoryview(bytearray(1))) == 0
    right.hang_up()
    assert await right.receive_into(memoryview(bytearray(1))) == 0
    await right.aclose()


async def test_nothing_in_the_clear_without_a_handshake(ours: Authority) -> None:
    """Neither in nor out, whatever the order in which it is used."""
    with listen("127.0.0.1", 0) as listening:
        one = socket.create_connection(listening.getsockname())
        listening.setblocking(True)
        plain, _ = listening.accept()
    end = calls(ours)(SocketTransport(one))
    plain.sendall(b"in the clear")
    await end.send([b"in the clear"])
    plain.shutdown(socket.SHUT_WR)
    buffer = bytearray(100)
    assert await end.receive_into(memoryview(buffer)) == 0
    assert buffer == bytes(100)
    assert end.certificate_names == frozenset()
    await end.aclose()
    assert plain.recv(100) == b""
    plain.close()


async def test_record_that_was_tampered_with(ours: Authority, router: Credential) -> None:
    """A changed byte is an error, never content."""
    left, right = await shaken(calls(ours), takes(router))
    await left._inner.send([b"\x17\x03\x03\x00\x20" + bytes(32)])
    with pytest.raises(TlsError, match="TLS failed"):
        await right.receive_into(memoryview(bytearray(100)))
    await left.aclose()
    await right.aclose()


# Our SCU refuses

BAD_SERVERS: dict[str, tuple[Callable[[Authority, Authority], Credential], str]] = {
    "expired": (lambda ours, _: ours.expired("expired"), "it has expired"),
    "not yet valid": (lambda ours, _: ours.early("early"), "not valid yet"),
    "wrong name": (lambda ours, _: ours.issue("wrong", ["elsewhere.test"]), "it is not for the address"),
    "unknown CA": (lambda _, theirs: theirs.issue("unknown"), "none of the CAs that we trust"),
}


@pytest.mark.parametrize(("make", "why"), BAD_SERVERS.values(), ids=BAD_SERVERS.keys())
async def test_destination_that_does_not_pass(
    ours: Authority, theirs: Authority, make: Callable[[Authority, Authority], Credential], why: str
) -> None:
    """The cause is one that somebody has to put right, and the sentence names the check; nothing was said in clear."""
    async with serving(encrypted(make(ours, theirs))) as server:
        failure = await refused(server.port, trusting(ours))
        line = await server.diary.saw(ConnectionRefused)
    assert failure.cause is Cause.TLS_VERIFICATION
    assert why in failure.error
    assert "did not accept our certificate" in line.error
    assert not server.receiver.taken


@pytest.mark.parametrize("names", [["elsewhere.test"], ["127.0.0.9"]])
async def test_wrong_name(ours: Authority, names: list[str]) -> None:
    """By name as by address; a common name is no name of a host, even where there is no other."""
    async with serving(encrypted(ours.issue("common", names, common_name="localhost"))) as server:
        assert "not for the name" in (await refused(server.port, trusting(ours), host="localhost")).error


async def test_system_trusts_neither(router: Credential) -> None:
    """Without `ca` the system's CAs count, and ours is none of them."""
    async with serving(encrypted(router)) as server:
        assert (await refused(server.port, TlsClient())).cause is Cause.TLS_VERIFICATION


async def test_peer_without_tls(ours: Authority) -> None:
    """A port in the clear gets a TLS greeting, once, and never an association request in the clear."""
    async with serving() as server:
        failure = await refused(server.port, trusting(ours))
        line = await server.diary.saw(ConnectionRefused)
    assert failure.cause is Cause.TLS_FAILED
    assert "does not speak TLS" in failure.error
    assert "the peer speaks TLS" in line.error
    assert [type(event) for event in server.diary.events] == [ConnectionRefused]


@pytest.mark.parametrize("how", ["silent", "closes", "resets"])
async def test_peer_that_does_not_finish(ours: Authority, how: str) -> None:
    """A deadline for connection and handshake together; a connection that is lost is trouble of the destination."""
    with listen("127.0.0.1", 0) as listening:

        async def take() -> None:
            await anyio.wait_readable(listening)
            taken, _ = listening.accept()
            if how == "silent":
                await over.wait()
            else:
                await anyio.wait_readable(taken)
                if how == "closes":
                    taken.recv(1 << 16)
            taken.close()

        over = anyio.Event()
        async with anyio.create_task_group() as taking:
            taking.start_soon(take)
            with pytest.raises(AssociationFailedError) as failed:
                await associate(
                    address(listening.getsockname()[1], tls=trusting(ours)),
                    CONTEXTS,
                    deadlines=deadlines(connect=MOMENT),
                    buffers=Buffers(1),
                )
            over.set()
    failure = failed.value.failure
    assert failure.cause is Cause.TLS_FAILED
    assert "TLS" in failure.error


async def test_name_that_no_certificate_has(ours: Authority, router: Credential) -> None:
    """It is said; OpenSSL is not even asked."""
    async with serving(encrypted(router)) as server:
        failure = await refused(server.port, trusting(ours, server_name=".test"))
    assert failure.cause is Cause.TLS_FAILED
    assert "no name that a certificate can be for" in failure.error


async def test_own_certificate_is_gone(tmp_path: Path, ours: Authority) -> None:
    """It is said, and nothing is sent."""
    gone = tmp_path / "gone.pem"
    async with serving() as server:
        failure = await refused(server.port, TlsClient(ours.path, gone, gone))
    assert failure.cause is Cause.TLS_FAILED
    assert "gone.pem cannot be read: No such file" in failure.error


# Our SCP refuses

BAD_CLIENTS: dict[str, tuple[Callable[[Authority, Authority], Credential | None], str, str]] = {
    "none": (lambda *_: None, "has no certificate", "there is none"),
    "expired": (lambda ours, _: ours.expired("late"), "it has expired", "it has expired"),
    "unknown CA": (lambda _, theirs: theirs.issue("foreign"), "none of the CAs", "its CA is not trusted"),
}


@pytest.mark.parametrize(("make", "here", "there"), BAD_CLIENTS.values(), ids=BAD_CLIENTS.keys())
async def test_sender_that_does_not_pass(
    ours: Authority,
    theirs: Authority,
    router: Credential,
    *,
    make: Callable[[Authority, Authority], Credential | None],
    here: str,
    there: str,
) -> None:
    """One line says which check failed, the sender is told by an alert, and the next one is served."""
    async with serving(encrypted(router, ours)) as server:
        failure = await refused(server.port, trusting(ours, make(ours, theirs)))
        line = await server.diary.saw(ConnectionRefused)
        await works(server, trusting(ours, ours.issue("good")))
    assert here in line.error
    assert failure.cause is Cause.TLS_VERIFICATION
    assert there in failure.error
    assert len(server.diary.of(ConnectionRefused)) == 1


async def test_certificate_that_is_optional_is_verified_all_the_same(
    ours: Authority, theirs: Authority, router: Credential, modality: Credential
) -> None:
    """None is well; one that does not pass is not."""
    tls = TlsServer(router.certificate, router.key, ours.path, require_client_certificate=False)
    async with serving(listener(tls=tls)) as server:
        await works(server, trusting(ours))
        await works(server, trusting(ours, modality))
        assert (await refused(server.port, trusting(ours, theirs.issue("odd")))).cause is Cause.TLS_VERIFICATION


async def test_sender_in_the_clear(router: Credential) -> None:
    """Its request is not read: one line, and nothing in the clear comes back."""
    async with serving(encrypted(router)) as server:
        failure = await refused(server.port, None)
        line = await server.diary.saw(ConnectionRefused)
    assert "does not speak TLS" in line.error
    assert failure.cause is Cause.ASSOCIATION_ABORTED
    assert not server.diary.of(AssociationAccepted)


async def test_sender_of_something_else(router: Credential) -> None:
    """Whatever it is, it is not TLS."""
    async with serving(encrypted(router)) as server:
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x00\x02", bytes(100)):
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sender:
                sender.sendall(said)
                assert await anyio.to_thread.run_sync(sender.recv, 1) == b""
    assert {line.error for line in server.diary.of(ConnectionRefused)} == {
        "the peer does not speak TLS: what it sent is not encrypted"
    }


async def test_sender_is_given_time_to_read_why(ours: Authority, theirs: Authority, router: Credential) -> None:
    """A connection that is closed with bytes unread is reset, and the alert would be lost (RFC 1122 4.2.2.13)."""
    credential = theirs.issue("foreign")
    async with serving(encrypted(router, ours)) as server:
        end = calling(await connect("127.0.0.1", server.port), trusting(ours, credential), "localhost")
        await end.handshake()
        await end.send([bytes(1000)])
        await server.diary.saw(ConnectionRefused)
        buffer = memoryview(bytearray(10))
        with pytest.raises(TlsError, match="its CA is not trusted there"):
            await end.receive_into(buffer)
        with anyio.move_on_after(0.1) as waiting:
            await end._inner.receive_into(buffer)
        assert waiting.cancelled_caught
        await end.aclose()


async def test_mute_senders_stop_nobody(ours: Authority, router: Credential) -> None:
    """Those who connect and never greet hold their own places until the deadline, which is said."""
    rules = encrypted(router)
    async with serving(rules) as server:
        mute = [
            socket.create_connection(("127.0.0.1", server.port), PATIENCE, source_address=(f"127.0.0.{number}", 0))
            for number in range(10, 60)
        ]
        await works(server, trusting(ours))
        for each in mute:
            each.close()
    async with serving(listener(tls=rules.tls, deadlines=hasty(request=MOMENT).deadlines)) as server:
        with socket.create_connection(("127.0.0.1", server.port)):
            assert "the TLS handshake was not finished" in (await server.diary.saw(ConnectionRefused)).error


async def test_sender_that_leaves_in_its_handshake(router: Credential) -> None:
    """One line."""
    async with serving(encrypted(router)) as server:
        with socket.create_connection(("127.0.0.1", server.port)):
            pass
        assert "during the TLS handshake" in (await server.diary.saw(ConnectionRefused)).error


async def test_own_certificate_was_never_there(tmp_path: Path, ours: Authority) -> None:
    """The sender is sent away, and the line says why."""
    gone = tmp_path / "gone.pem"
    async with serving(encrypted(Credential(gone, gone))) as server:
        await refused(server.port, trusting(ours))
        assert "our own credentials" in (await server.diary.saw(ConnectionRefused)).error


# Who somebody is


@pytest.mark.parametrize(
    ("rows", "let_in"),
    [
        ((Allowed("CT1", certificate="ct1.hospital.test"),), True),
        ((Allowed("CT1", certificate="CT1.HOSPITAL.TEST"),), True),
        ((Allowed("CT1", certificate="CT 1"),), True),
        ((Allowed(certificate="ct1.hospital.test"),), True),
        ((Allowed("CT1", certificate="mr1.hospital.test"),), False),
        ((Allowed("MR1", certificate="ct1.hospital.test"), Allowed("CT1", certificate="MR 1")), False),
        ((Allowed("CT1", certificate="mr1.hospital.test"), Allowed("CT1")), True),
    ],
)
async def test_title_bound_to_a_certificate(
    ours: Authority, router: Credential, modality: Credential, rows: tuple[Allowed, ...], *, let_in: bool
) -> None:
    """A calling AE title that is bound to a certificate is taken with that one alone."""
    rules = encrypted(router, ours, allow_any=False, allow=rows)
    async with serving(rules) as server:
        if let_in:
            await works(server, trusting(ours, modality))
        else:
            assert (await refused(server.port, trusting(ours, modality))).cause is Cause.AE_TITLE_UNKNOWN
            assert "with this certificate" in (await server.diary.saw(AssociationRefused)).error


async def test_title_bound_to_a_certificate_and_none_is_shown(ours: Authority, router: Credential) -> None:
    """Where certificates are optional."""
    tls = TlsServer(router.certificate, router.key, ours.path, require_client_certificate=False)
    rules = listener(tls=tls, allow_any=False, allow=(Allowed("CT1", certificate="ct1.hospital.test"),))
    async with serving(rules) as server:
        await refused(server.port, trusting(ours))
        assert "with no certificate" in (await server.diary.saw(AssociationRefused)).error


# New files


async def test_certificate_is_replaced_while_associations_go_on(tmp_path: Path, ours: Authority) -> None:
    """The next connection sees the new one; what was open goes on; a pair that does not fit changes nothing."""
    authority = Authority(tmp_path)
    credential = authority.issue("router")
    async with serving(encrypted(credential)) as server:
        lasting = await opened(server.port, trusting(authority))
        other = Authority(tmp_path, "other")
        whole = other.issue("replacement")
        # First the certificate, which does not fit the old key: as in the middle of a replacement.
        credential.certificate.write_bytes(whole.certificate.read_bytes())
        await works(server, trusting(authority))
        assert "CAs that we trust" in (await refused(server.port, trusting(other))).error
        credential.key.write_bytes(whole.key.read_bytes())
        await works(server, trusting(other))
        assert "CAs that we trust" in (await refused(server.port, trusting(authority))).error
        assert await lasting.echo(3) == Answered(0)
        await lasting.release()


async def test_what_a_sender_trusts_is_replaced(tmp_path: Path, router: Credential, ours: Authority) -> None:
    """The same for our SCU."""
    authority = Authority(tmp_path)
    async with serving(encrypted(router)) as server:
        await refused(server.port, trusting(authority))
        authority.path.write_bytes(ours.path.read_bytes())
        await works(server, trusting(authority))
        authority.path.write_bytes(b"nothing")
        await works(server, trusting(authority))


# Words


def test_reason_that_is_not_in_the_table() -> None:
    """OpenSSL's name for it, which nothing of a peer is part of."""
    error = ssl.SSLError(1, "text that is not quoted")
    error.reason = "A_NEW_REASON"
    assert str(in_words(error, calls=True)) == "TLS failed (A_NEW_REASON)"
    error.reason = ""
    assert str(in_words(error, calls=False)) == "TLS failed (no reason given)"
    unknown = ssl.SSLCertVerificationError(1, "text")
    unknown.verify_code = 99
    assert "X.509 error 99" in str(in_words(unknown, calls=False))
    assert in_words(unknown, calls=False).verification
