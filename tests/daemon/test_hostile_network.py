"""Hosts that mean no good, against the real program: a modality beside them notices nothing, nothing stays behind."""

import re
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # no stubs
import pytest

from router.model.transfer_syntax import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
from tests.certificates import Authority
from tests.daemon.conftest import FreePort, Pacses, Routers
from tests.daemon.hostility import Attackers, Manner, Siege, Stalling, addresses
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import Modality, send
from tests.daemon.objects import Object, made
from tests.daemon.program import Program
from tests.daemon.sinks import destination
from tests.daemon.waiting import PATIENCE, until
from tests.faults.matrix import ALL, rounds
from tests.fuzz.conversations import RELEASE, REQUEST, STORE, many_contexts
from tests.protocol.pair import p_data, pdv

pytestmark = [pytest.mark.trust, pytest.mark.timeout(400)]

MIB = 1 << 20
KEPT_AT_MOST = 64 * MIB
"""Bytes, beside the receive buffers (1 MiB each) that were needed at once: they stay in their pool."""
POOL_OF_THREADS = 40
"""For what may block; those that have nothing to do end by and by."""
DEADLINES: dict[str, Any] = (
    {} if ALL else {"deadlines": {"request": "1s", "pdu": "1s", "between_pdus": "1s", "idle": "2s"}}
)
"""Those that are configured by default, where there is time."""
SECONDS = rounds(3, 60)
"""That a siege lasts."""
CROWD = rounds(20, 100)
"""Connections of each manner; the slow loris has five times as many."""
MAX_ASSOCIATIONS = 64
"""As by default."""
HOSTS = 50
"""With fewer than the door has places, one of them always has more connections than a modality that just calls."""
DRIP = rounds(1, 50) / 5
"""Seconds between the bytes of a slow loris: ten in the long form."""

Record = Callable[[str, object], None]

ENDLESS = [p_data(*[pdv(1, 0, bytes(100))] * 20)]
EMPTY = [p_data(*[pdv(1, 0, b"")] * 200)]
NO_PDU = b"\xff" * 64

MANNERS = {
    "a byte now and then": Manner("slow loris", b"\1", [bytes([byte]) for byte in REQUEST[1:]], every=DRIP),
    "silence": Manner("half-open"),
    "connect and reset": Manner("churn", leaves=True),
    "requests, then a reset": Manner("associate churn", REQUEST, leaves=True),
    "4 GiB announced": Manner("4 GiB", b"\1\0\xff\xff\xff\xff" + bytes(100)),
    "no DICOM": Manner("garbage", NO_PDU),
    "128 contexts": Manner("contexts", many_contexts(128) + RELEASE),
}
"""Before there is an association."""
WITHIN = {
    "fragments without end": Manner("endless", REQUEST + p_data(pdv(1, 3, STORE)), ENDLESS, every=0.02),
    "empty fragments without end": Manner("empty", REQUEST + p_data(pdv(1, 3, STORE)), EMPTY, every=0.02),
    "a command without end": Manner("command", REQUEST, [p_data(pdv(1, 1, bytes(4000)))], every=0.05),
    "half an object, then silence": Manner("stall", REQUEST + p_data(pdv(1, 3, STORE), pdv(1, 0, bytes(500)))),
}
"""On an association."""
PACED = [
    (replace(MANNERS["a byte now and then"], every=10.0), addresses(1, HOSTS), 500, 50.0),
    (MANNERS["silence"], addresses(2, HOSTS), 200, 20.0),
    (MANNERS["connect and reset"], addresses(3, HOSTS), 10, 100.0),
]
"""As issued by hosts that wait before they come again: manner, hosts, connections at once, new ones in a second."""


@dataclass
class Doctor:
    """A modality that sends one object after the other, five on an association."""

    port: int
    sent: list[Object] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                first = len(self.sent) + 1
                with Modality(self.port, [made().pair], calling="DOCTOR") as modality:
                    for number in range(first, first + 5):
                        each = made(number)
                        assert modality.store(each) == 0
                        self.sent.append(each)
        except BaseException as error:  # noqa: BLE001 -- the test raises it
            self.failed.append(error)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process has."""

    memory: int
    descriptors: int
    threads: int


def standing(router: Program) -> Standing:
    """Of the router, now."""
    process = psutil.Process(router.process.pid)
    status = Path(f"/proc/{process.pid}/status").read_text()
    (anonymous,) = (line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
    return Standing(int(anonymous) * 1024, process.num_fds(), process.num_threads())


@contextmanager
def as_before(router: Program, *, in_mid_object: int = 0) -> Iterator[None]:
    """After the block the router has the memory, descriptors and threads of before, and nothing half done.

    Args:
        router: it.
        in_mid_object: how many associations are, at once.
    """
    kept = KEPT_AT_MOST + in_mid_object * MIB
    before = standing(router)
    yield
    until(lambda: standing(router).descriptors <= before.descriptors + 2, "descriptors that are given back")
    until(lambda: standing(router).memory - before.memory < kept, "memory that is given back")
    assert standing(router).threads <= before.threads + POOL_OF_THREADS
    until(lambda: not list(router.spool.glob("**/*.part")), "no half object in the spool")
    assert not router.find("unexpected error")


def warmed_up(router: Program) -> Program:
    """It has done everything once."""
    assert set(send(router.port, [made(number) for number in range(9001, 9051)])) == {0}
    router.until_delivered()
    return router


@pytest.mark.row(
    "L3", "slow loris, half-open connections, churn, garbage, oversized and endless PDUs, beside a modality"
)
def test_a_siege(start: Routers, pacs: Pacses, record_property: Record) -> None:
    """A modality is never refused, all that it sends is there, and nothing of the siege stays behind."""
    sink = pacs()
    router = warmed_up(start(destinations=[sink.destination()], listen=DEADLINES))
    sink.forget()
    pause = Event()
    baseline = _objects_in(router.port, SECONDS / 4, pause)
    with as_before(router, in_mid_object=MAX_ASSOCIATIONS), ExitStack() as stack:
        sieges = [
            Siege(router.port, manner, addresses(1, HOSTS), CROWD * 5 if manner.trickle else CROWD)
            for manner in MANNERS.values()
        ]
        sieges += [Siege(router.port, manner, addresses(2, 4), 3) for manner in WITHIN.values()]
        doctor = Doctor(router.port)
        for siege in sieges:
            stack.enter_context(siege)
        stack.enter_context(doctor)
        pause.wait(SECONDS)
        until(lambda: len(doctor.sent) >= 20 or doctor.failed, "objects of the modality")
        # Fragments without end are legal as long as they come; they take one place and, in the end, the reserve.
        told_off = [
            siege for siege in sieges if not siege.manner.leaves and siege.manner.name not in {"endless", "empty"}
        ]
        until(lambda: all(siege.ended for siege in told_off), "connections that were ended")
        besieged = len(doctor.sent) / SECONDS
    assert not doctor.failed, router.find(peer="127.0.0.1")[-3:]
    assert not router.find("association refused", calling_ae_title="DOCTOR")
    assert not router.find("association lost", calling_ae_title="DOCTOR")
    router.until_delivered(within=60)
    promised = {each.uid for each in doctor.sent}
    assert promised <= {each.uid for each in sink.received()}
    lines = sum(1 for line in router.lines if line["event"] == "connection refused")
    assert lines < 2000, "the log does not grow with the siege"
    print(f"{besieged:.0f} objects/s, {baseline:.0f} in peace")  # noqa: T201
    record_property("rounds", sum(siege.made for siege in sieges))
    record_property("objects", len(doctor.sent))


@pytest.mark.measurement
@pytest.mark.row("L3", "what a modality gets done beside 500 slow lorises, 200 half-open connections and churn")
def test_throughput_under_siege(start: Routers, record_property: Record) -> None:
    """Nothing is refused or lost. The goal, nine tenths of what it gets done in peace, is told, not asserted.

    Peace is measured in turn with the siege. The attackers share two cores with the router and the modality, and what
    they use counts against the router.
    """
    router = warmed_up(
        start(
            destinations=[destination("NOWHERE", 1)],
            unrouted="discard",
            routes=[{"when": {"Modality": "NONE"}, "to": "NOWHERE"}],
        )
    )
    pause = Event()
    peace, siege = 0.0, 0.0
    turns, seconds = 4, 8.0
    for _ in range(turns):
        peace += _objects_in(router.port, seconds, pause)
        with Attackers([(router.port, *besieger) for besieger in PACED]):
            pause.wait(2)  # all of them came at once, and fill the kernel's queue of connections: that passes
            siege += _objects_in(router.port, seconds, pause)
    record_property("rounds", turns)
    record_property("objects", round((peace + siege) * seconds))
    met = "met" if siege >= 0.9 * peace else "missed"
    record_property("measured", f"{siege / peace:.0%} of the {peace / turns:.0f} objects/s in peace (goal 90 %, {met})")


def _objects_in(port: int, seconds: float, pause: Event) -> float:
    with Doctor(port) as doctor:
        pause.wait(seconds)
    assert not doctor.failed
    return len(doctor.sent) / seconds


@pytest.mark.row("C5", "a data set in fragments of nothing, or of one byte")
@pytest.mark.parametrize("content", [b"", b"x"], ids=["empty", "one byte"])
def test_fragments_of_nothing(start: Routers, pacs: Pacses, content: bytes) -> None:
    """What is kept of a fragment while a buffer fills is more than such a fragment has: there are not many of them."""
    router = warmed_up(start(destinations=[pacs().destination()]))
    pieces = p_data(*[pdv(1, 0, content)] * 10_000)
    before = _highest(router)
    with socket.create_connection(("127.0.0.1", router.port), PATIENCE) as connection:
        connection.sendall(REQUEST)
        assert connection.recv(4096)[:1] == b"\2"
        connection.sendall(p_data(pdv(1, 3, STORE)) + pieces * 14 + p_data(pdv(1, 2, b"")))
        assert connection.recv(4096)[:1] == b"\4"
    assert _highest(router) - before < 16 * MIB


def _highest(router: Program) -> int:
    """Bytes of memory that it had at any time."""
    (highest,) = re.findall(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{router.process.pid}/status").read_text())
    return int(highest) * 1024


@pytest.mark.row("L5", "clients on the port for TLS that say nothing, half a ClientHello, or no TLS")
def test_mute_clients_of_tls(start: Routers, free_port: FreePort, tmp_path: Path, record_property: Record) -> None:
    """Whoever shakes hands is served meanwhile; each of the others costs one deadline."""
    authority = Authority(tmp_path)
    credential = authority.issue("router")
    port = free_port()
    tls = {
        "certificate": str(credential.certificate),
        "key": str(credential.key),
        "client_ca": str(authority.path),
        "require_client_certificate": False,
    }
    secure = {"port": port, "name": "tls", "tls": tls, **DEADLINES}
    router = warmed_up(
        start(
            listen=[{}, secure],
            destinations=[destination("NOWHERE", 1)],
            unrouted="discard",
            routes=[{"when": {"Modality": "NONE"}, "to": "NOWHERE"}],
        )
    )
    trusting = ssl.create_default_context(cafile=str(authority.path))
    assert _shakes_hands(trusting, port)
    manners = [
        Manner("mute"),
        Manner("half a ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        Manner("no TLS", REQUEST),
        Manner("ClientHello by bytes", b"\x16", [b"\x03", b"\x01", b"\x02", b"\x00"], every=DRIP),
    ]
    with as_before(router), ExitStack() as stack:
        sieges = [
            stack.enter_context(Siege(port, manner, addresses(101 + number, 20), CROWD))
            for number, manner in enumerate(manners)
        ]
        until(lambda: sum(siege.made for siege in sieges) >= 3 * CROWD, "a crowd")
        for _ in range(rounds(20, 200)):
            assert _shakes_hands(trusting, port)
        until(lambda: all(siege.ended for siege in sieges), "connections that were ended", 60)
    record_property("rounds", sum(siege.made for siege in sieges))


def _shakes_hands(trusting: ssl.SSLContext, port: int) -> bool:
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(REQUEST)
        return secure.recv(1) == b"\2"


@pytest.mark.row("F9", "a sender that stalls, for ever, behind any byte of what it says")
def test_a_sender_that_stalls_anywhere(start: Routers, record_property: Record) -> None:
    """It is told off, and nothing of its object is kept; all of them at once cost one deadline."""
    one = made(1)
    spoken = REQUEST + p_data(pdv(1, 3, STORE)) + p_data(pdv(1, 0, one.dataset[:300]))
    spoken += p_data(pdv(1, 2, one.dataset[300:400]))
    places = range(0, len(spoken), rounds(29, 2))
    deadlines = {"request": "1s", "pdu": "1s", "between_pdus": "1s", "idle": "1s"}
    listen = {"deadlines": deadlines, "max_associations": 2000, "max_associations_per_host": 200}
    router = warmed_up(
        start(
            destinations=[destination("NOWHERE", 1)],
            unrouted="discard",
            listen=listen,
            routes=[{"when": {"Modality": "NONE"}, "to": "NOWHERE"}],
        )
    )
    kept = len(router.spooled())
    with as_before(router, in_mid_object=len(places)), ExitStack() as stack:
        for number, place in enumerate(places):
            stalling = stack.enter_context(
                socket.create_connection(("127.0.0.1", router.port), PATIENCE, (addresses(200, 200)[number % 200], 0))
            )
            stalling.sendall(spoken[:place])
            stack.callback(_ended, stalling)
    assert len(router.spooled()) == kept
    assert send(router.port, [made(2)]) == [0]
    record_property("rounds", len(places))


def _ended(stalling: socket.socket) -> None:
    """By the router; after an A-ABORT it says nothing more."""
    heard = b""
    with suppress(ConnectionResetError):
        while content := stalling.recv(4096):
            heard += content
    *_, last = b"", *_pdus(heard)
    assert last[:1] in {b"", b"\2", b"\4", b"\7"}
    assert [each[:1] for each in _pdus(heard)].count(b"\7") <= 1


def _pdus(heard: bytes) -> Iterator[bytes]:
    while heard:
        end = 6 + int.from_bytes(heard[2:6], "big")
        yield heard[:end]
        heard = heard[end:]


@pytest.mark.row("F10", "a PACS that stalls, for ever, behind any byte of what it answers")
def test_a_pacs_that_stalls_anywhere(
    start: Routers, pacs: Pacses, free_port: FreePort, record_property: Record
) -> None:
    """Each costs one deadline of its own destination; the next attempt delivers, and nobody else waits."""
    sinks = [pacs(f"PACS{number}") for number in range(rounds(6, 24))]
    step = 7 if ALL else 39
    with ExitStack() as stack:
        ways = [
            stack.enter_context(Stalling(free_port(), sink.port, step * number)) for number, sink in enumerate(sinks)
        ]
        quick = {"deadlines": {"connect": "1s", "association": "1s", "response": "1s", "linger": "100ms"}}
        unharmed = pacs("UNHARMED")
        router = start(
            destinations=[
                unharmed.destination(),
                *({**destination(sink.name, way.port), **quick} for sink, way in zip(sinks, ways, strict=True)),
            ],
            routes=[{"to": ["UNHARMED", *(sink.name for sink in sinks)]}],
        )
        objects = [made(number) for number in (1, 2)]
        assert set(send(router.port, objects)) == {0}
        until(lambda: len(unharmed.stores) == len(objects), "those that nothing keeps from arriving")
        router.until_delivered(within=60)
        assert router.stop() == 0
    promised = ledger(objects)
    for sink in sinks:
        same(promised, sink)
        assert not router.find("dead letter", destination=sink.name)
    record_property("rounds", len(sinks))
    record_property("objects", len(objects))


@pytest.mark.row("C3", "data sets that are bombs: nested, of a million elements, deflated a thousandfold")
def test_bombs(start: Routers, pacs: Pacses, record_property: Record) -> None:
    """Each is kept, or refused with a status; it costs no memory, and the next object is taken."""
    sink = pacs()
    router = warmed_up(
        start(
            destinations=[sink.destination()], routes=[{"when": {"PatientName": "*"}, "to": "PACS"}], unrouted="discard"
        )
    )
    plain = made(1)
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = b"".join(deflater.compress(bytes(MIB)) for _ in range(rounds(64, 512))) + deflater.flush()
    bombs = [
        replace(plain, dataset=sequence * 20_000),
        replace(plain, dataset=b"\x08\x00\x60\x00CS\0\0" * 500_000),
        replace(plain, dataset=b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * 500_000),
        replace(plain, dataset=b"\x10\x00\x10\x00UT\0\0\xff\xff\xff\x7f" + bytes(1000)),
        replace(
            plain,
            identity=replace(plain.identity, transfer_syntax=DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
            dataset=zeros + bytes(len(zeros) % 2),
        ),
    ]
    highest = _highest(router)
    with as_before(router):
        for bomb in bombs:
            (status,) = send(router.port, [bomb])
            assert status == 0 or status >> 12 in {0xA, 0xC}
            assert send(router.port, [made(2)]) == [0]
        router.until_delivered()
    assert _highest(router) - highest < 32 * MIB
    record_property("rounds", len(bombs))
