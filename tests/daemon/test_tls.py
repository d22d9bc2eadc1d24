"""The program under TLS, with peers that are not ours: DCMTK and OpenSSL."""

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from router.model.presentation_context import VERIFICATION, PresentationContext
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from router.protocol import AssociationAccepted, Event, ReleaseConfirmed, Requestor
from router.protocol.events import EchoAnswered
from tests.certificates import Authority, Credential
from tests.daemon.conftest import FreePort, Pacses, Routers
from tests.daemon.modality import send
from tests.daemon.objects import Object, made, read_all
from tests.daemon.sinks import destination
from tests.daemon.waiting import PATIENCE, until
from tests.samples import samples

pytestmark = [
    pytest.mark.trust,
    pytest.mark.row("F15", "TLS with DCMTK and OpenSSL: what must pass, and certificates and peers that must not"),
]

Dcmtk = Callable[[str], Path]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The hospital's CA."""
    return Authority(tmp_path)


@pytest.fixture
def credential(authority: Authority) -> Credential:
    """The router's."""
    return authority.issue("router")


def shown(credential: Credential) -> dict[str, Any]:
    """What one's own side shows, in a section of TLS."""
    return {"certificate": str(credential.certificate), "key": str(credential.key)}


class TlsStorescp:
    """DCMTK's ``storescp`` under TLS; wants a certificate of who calls."""

    def __init__(self, program: Path, folder: Path, port: int, authority: Authority, credential: Credential) -> None:
        keys = ["+tls", str(credential.key), str(credential.certificate), "+cf", str(authority.path)]
        self._command = [str(program), *keys, "--fork", "+B", "+uf", "+xa", "-od", str(folder), str(port)]
        self._folder = folder
        self.port = port

    @contextmanager
    def running(self) -> Iterator[None]:
        """Up, for the time of a block."""
        self._folder.mkdir(exist_ok=True)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(self._command, **quiet) as process:  # type: ignore[call-overload]  # streams all of them
            try:

                def answers() -> bool:
                    with socket.socket() as probe:
                        return probe.connect_ex(("127.0.0.1", self.port)) == 0

                until(answers, f"storescp on port {self.port}")
                yield
            finally:
                process.kill()

    def received(self) -> Sequence[Object]:
        """What it has."""
        return read_all(self._folder.iterdir())


@pytest.fixture
def storescp(tmp_path: Path, free_port: FreePort, dcmtk: Dcmtk, authority: Authority) -> Iterator[TlsStorescp]:
    """A PACS under TLS."""
    pacs = TlsStorescp(dcmtk("storescp"), tmp_path / "pacs", free_port(), authority, authority.issue("pacs"))
    with pacs.running():
        yield pacs


def storescu(dcmtk: Dcmtk, port: int, *options: str) -> int:
    """DCMTK's ``storescu`` with one small file; its exit code."""
    file = next(sample.path for sample in samples() if sample.path.name == "CT_small.dcm")
    command = [str(dcmtk("storescu")), *options, "-aet", "CT1", "-aec", "ROUTER", "127.0.0.1", str(port), str(file)]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode


def encrypted(credential: Credential, authority: Authority, **more: Any) -> dict[str, Any]:
    """The section of a listener that wants certificates."""
    return {"tls": {**shown(credential), "client_ca": str(authority.path)}, **more}


def test_from_dcmtk_to_dcmtk(
    *,
    start: Routers,
    free_port: FreePort,
    dcmtk: Dcmtk,
    authority: Authority,
    credential: Credential,
    storescp: TlsStorescp,
) -> None:
    """In and out with certificates on both ends, beside a port in the clear; a sender without one is refused."""
    clear = free_port()
    modality = authority.issue("modality", ["ct1.hospital.test"])
    bound = {"allow_any": False, "allow": [{"ae_title": "CT1", "certificate": "ct1.hospital.test"}]}
    program = start(
        listen=[encrypted(credential, authority, **bound), {"port": clear}],
        destinations=[destination("PACS", storescp.port, tls=shown(credential) | {"ca": str(authority.path)})],
    )
    ca = ["+cf", str(authority.path)]
    assert storescu(dcmtk, program.port, "+tls", str(modality.key), str(modality.certificate), *ca) == 0
    assert send(clear, [made()]) == [0]
    program.until_delivered()
    assert len(storescp.received()) == 2

    first = len(program.lines)
    assert storescu(dcmtk, program.port, "+tla", *ca) != 0
    assert storescu(dcmtk, program.port) != 0
    other = authority.issue("other", ["mr1.hospital.test"])
    assert storescu(dcmtk, program.port, "+tls", str(other.key), str(other.certificate), *ca) != 0
    assert storescu(dcmtk, clear, "+tla", *ca) != 0
    refused = program.wait_for("connection refused", 3, since=first)
    assert [line["error"].partition("; ")[2] or line["error"] for line in refused] == [
        "the peer has no certificate, and one is required",
        "the peer does not speak TLS: what it sent is not encrypted",
        "the peer speaks TLS",
    ]
    (rejected,) = program.wait_for("association refused", since=first)
    assert "with this certificate" in rejected["error"]
    assert not program.find("instance accepted", since=first)


def test_anonymous_dcmtk(
    start: Routers, dcmtk: Dcmtk, authority: Authority, credential: Credential, storescp: TlsStorescp
) -> None:
    """A sender without a certificate, where that is configured."""
    program = start(
        listen={"tls": {**shown(credential), "require_client_certificate": False}},
        destinations=[destination("PACS", storescp.port, tls=shown(credential) | {"ca": str(authority.path)})],
    )
    assert storescu(dcmtk, program.port, "+tla", "+cf", str(authority.path)) == 0
    program.until_delivered()
    assert len(storescp.received()) == 1


def test_destination_whose_certificate_does_not_pass_is_held(
    start: Routers, tmp_path: Path, authority: Authority, credential: Credential, storescp: TlsStorescp
) -> None:
    """It is held with an alarm, nothing leaves; with the right CA, after a reload, everything does."""
    foreign = Authority(tmp_path, "foreign")
    wrong = destination("PACS", storescp.port, tls=shown(credential) | {"ca": str(foreign.path)})
    program = start(destinations=[wrong])
    assert send(program.port, [made()]) == [0]
    (trouble,) = program.wait_for("destination in trouble")
    assert "none of the CAs that we trust signed it" in trouble["error"]
    assert "certificate of the destination" in trouble["error"]
    assert not storescp.received()
    program.configure(destinations=[wrong | {"tls": wrong["tls"] | {"ca": str(authority.path)}}])
    program.signal(signal.SIGHUP)
    program.until_delivered()
    assert len(storescp.received()) == 1


def s_client(port: int, *options: str) -> str:
    """What ``openssl s_client`` says of a handshake."""
    program = shutil.which("openssl")
    assert program is not None, "openssl is not on the PATH: install it (apt-get install openssl)"
    command = [program, "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *options]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    return (ran.stdout + ran.stderr).decode(errors="replace")


def test_openssl_finds_nothing_old(start: Routers, authority: Authority, credential: Credential, pacs: Pacses) -> None:
    """TLS 1.3, and 1.2 with ephemeral keys; neither 1.1, nor other suites, nor renegotiation, nor tickets."""
    program = start(
        listen={"tls": {**shown(credential), "require_client_certificate": False}}, destinations=[pacs().destination()]
    )
    trust = ["-CAfile", str(authority.path), "-verify_return_error"]
    assert "New, TLSv1.3" in s_client(program.port, *trust)
    twelve = s_client(program.port, *trust, "-tls1_2")
    assert "New, TLSv1.2, Cipher is ECDHE-" in twelve
    assert "Compression: NONE" in twelve
    assert "TLS session ticket:" not in twelve
    refused = {
        "the peer offered only versions of TLS that we do not speak": ["-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
        "the peer offered no cipher suite that we take": ["-tls1_2", "-cipher", "AES256-GCM-SHA384"],
    }
    for error, options in refused.items():
        assert "Cipher is (NONE)" in s_client(program.port, *options)
        program.wait_for("connection refused", error=error)


def test_certificates_change_while_an_association_goes_on(
    *, start: Routers, tmp_path: Path, authority: Authority, credential: Credential, pacs: Pacses, dcmtk: Dcmtk
) -> None:
    """A reload takes the new ones; what is open goes on; files that do not fit are refused, and change nothing."""
    program = start(
        listen={"tls": {**shown(credential), "require_client_certificate": False}}, destinations=[pacs().destination()]
    )
    context = ssl.create_default_context(cafile=authority.path)
    with (
        socket.create_connection(("127.0.0.1", program.port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as lasting,
    ):
        requestor = Requestor()
        lasting.sendall(association_request(requestor))
        assert isinstance(event(requestor, lasting), AssociationAccepted)

        successor = Authority(tmp_path, "successor")
        new = successor.issue("new")
        credential.certificate.write_bytes(new.certificate.read_bytes())
        program.signal(signal.SIGHUP)
        (line,) = program.wait_for("configuration refused")
        assert "is not the key of" in line["error"]
        assert storescu(dcmtk, program.port, "+tla", "+cf", str(authority.path)) == 0

        credential.key.write_bytes(new.key.read_bytes())
        program.signal(signal.SIGHUP)
        program.wait_for("configuration reloaded")
        assert storescu(dcmtk, program.port, "+tla", "+cf", str(successor.path)) == 0
        assert storescu(dcmtk, program.port, "+tla", "+cf", str(authority.path)) != 0

        lasting.sendall(requestor.echo_request(1, 1))
        assert isinstance(event(requestor, lasting), EchoAnswered)
        lasting.sendall(requestor.release())
        assert isinstance(event(requestor, lasting), ReleaseConfirmed)


def association_request(requestor: Requestor) -> bytes:
    """An A-ASSOCIATE-RQ for Verification."""
    return requestor.associate(
        calling_ae_title="CT1",
        called_ae_title="ROUTER",
        contexts=[PresentationContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))],
        implementation_class_uid="2.25.1",
        implementation_version_name="MODALITY",
    )


def event(requestor: Requestor, connection: ssl.SSLSocket) -> Event:
    """What the router does next."""
    while (found := requestor.next_event()) is None:
        content = connection.recv(4096)
        requestor.buffer()[: len(content)] = content
        requestor.received(len(content))
    return found


def test_mute_clients_and_strangers_stop_nobody(
    start: Routers, authority: Authority, credential: Credential, pacs: Pacses, dcmtk: Dcmtk
) -> None:
    """Fifty connections that never greet, and a flood from outside `allow`: a modality is served at once."""
    allowed = [{"hosts": ["127.0.0.0/28"]}]
    program = start(
        listen={"tls": {**shown(credential), "require_client_certificate": False}, "allow_any": False}
        | {"allow": allowed, "deadlines": {"request": "2s"}},
        destinations=[pacs().destination()],
    )
    with ExitStack() as open_ones:
        for number in range(150):
            host = f"127.0.0.{2 + number % 5}" if number < 50 else "127.0.1.1"
            open_ones.enter_context(
                socket.create_connection(("127.0.0.1", program.port), PATIENCE, source_address=(host, 0))
            )
        assert storescu(dcmtk, program.port, "+tla", "+cf", str(authority.path)) == 0
        program.wait_for("connection refused", 20, error="no row of `allow` admits this address")
        mute = program.wait_for(
            "connection refused", 50, error="the TLS handshake was not finished before the deadline"
        )
    assert {line["peer"] for line in mute} == {f"127.0.0.{number}" for number in range(2, 7)}
    strangers = program.find("connection refused", error="no row of `allow` admits this address")
    assert len(strangers) == 20
