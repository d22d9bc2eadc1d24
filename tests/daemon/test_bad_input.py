"""What bad input gets: an answer or an abort, one line with the reason, and nothing else changes."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs
import pytest

from router.dicom.refusals import LINES_OF_A_HOST
from router.protocol import Aborted
from tests.daemon.modality import LostError, Modality, send
from tests.daemon.objects import made
from tests.daemon.program import Program
from tests.daemon.sinks import Pacs
from tests.daemon.waiting import PATIENCE, until

pytestmark = [
    pytest.mark.trust,
    pytest.mark.row("C6", "bad input to the real program, of each kind: one answer, one line, nothing kept"),
    # What pydicom, in the PACS, thinks of UIDs that are none.
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]

NUMBERS = count(1)
MIB = 1 << 20
IMPATIENT = {"request": "800ms", "pdu": "800ms", "between_pdus": "800ms", "idle": "1s"}
"""Short, but good senders have to keep them too, on a machine that is busy."""

A_ABORT_LENGTH = 10
A_ABORT = b"\x07\x00\x00\x00\x00\x04"
P_DATA = b"\x04\x00"
A_ASSOCIATE_RQ = b"\x01\x00"


@pytest.fixture(scope="module")
def pacs(free_port: Callable[[], int]) -> Iterator[Pacs]:
    """Where the router forwards to."""
    pacs = Pacs(free_port())
    pacs.start()
    yield pacs
    pacs.stop()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int], pacs: Pacs) -> Iterator[Program]:
    """One router for all of it: what one test does to it, the next one would see."""
    folder = tmp_path_factory.mktemp("bad") / "router"
    with Program(folder, free_port(), listen={"deadlines": IMPATIENT}, destinations=[pacs.destination()]) as program:
        program.start()
        yield program


@contextmanager
def unharmed(router: Program, event: str, why: str, *, keeps: int = 0, **fields: Any) -> Iterator[None]:
    """What happens in the block leaves one line with the reason, so many objects, and a router that is as it was."""
    assert send(router.port, [made(next(NUMBERS))]) == [0]
    router.until_delivered()
    kept, memory, first = len(router.spooled()), _memory(router), len(router.lines)
    yield
    (line,) = router.wait_for(event, since=first, **fields)
    assert why in line.get("error", "")
    assert [each["event"] for each in router.lines[first:] if each["level"] in {"warning", "error"}] in ([event], [])
    assert len(router.spooled()) == kept + keeps
    assert not list(router.spool.glob("**/*.part"))
    assert {path.name for path in router.folder.iterdir()} == {"router.yaml", "spool"}
    assert _memory(router) - memory < 64 * MIB
    assert send(router.port, [made(next(NUMBERS))]) == [0]


def _memory(router: Program) -> int:
    resident: int = psutil.Process(router.process.pid).memory_info().rss
    return resident


# Before there is an association


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: router\r\n\r\n", "PDU", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "PDU", id="TLS"),
        pytest.param(bytes(range(255, 0, -1)) * 64, "PDU", id="garbage"),
        pytest.param(b"", "no association was asked for", id="silence"),
        pytest.param(
            A_ASSOCIATE_RQ + b"\x00\x00\x01\x00" + bytes(40),
            "no association was asked for",
            id="half an A-ASSOCIATE-RQ",
        ),
        pytest.param(A_ASSOCIATE_RQ + b"\xff\xff\xff\xff" + bytes(4096), "4294967295", id="4 GiB of A-ASSOCIATE-RQ"),
        pytest.param(P_DATA + b"\xff\xff\xff\xff" + bytes(4096), "arrived in Sta2", id="4 GiB of P-DATA-TF"),
    ],
)
def test_what_is_no_association_request_is_ended(router: Program, content: bytes, why: str) -> None:
    """Not DICOM, not complete or not possible: the connection is aborted, or closed, before the deadline."""
    with unharmed(router, "connection refused", why):
        answer = _talk(router, content)
        assert answer[:6] in {b"", A_ABORT}


def test_a_request_that_trickles_has_one_deadline_for_all_of_it(router: Program) -> None:
    """Each byte comes in time; the association request does not."""
    with unharmed(router, "connection refused", "before the deadline"), _connected(router) as connection:
        begun = A_ASSOCIATE_RQ + b"\x00\x00\x01\x00"
        connection.settimeout(0.05)
        for byte in begun + bytes(256):
            connection.sendall(bytes([byte]))
            with suppress(TimeoutError):
                assert connection.recv(6) in {b"", A_ABORT}
                return
        pytest.fail("all of it was taken")


# On an association


def test_half_a_pdu_and_silence(router: Program) -> None:
    """The association is aborted when the PDU is not complete in time."""
    with unharmed(router, "association lost", "deadline"), _associated(router) as modality:
        modality.raw(P_DATA + b"\x00\x00\x01\x00" + bytes(16))
        assert isinstance(modality.ending(), Aborted)


def test_silence_in_mid_object(router: Program) -> None:
    """Nothing is kept of an object whose sender falls silent."""
    with unharmed(router, "association lost", "deadline"), _associated(router) as modality:
        modality.begin(made(next(NUMBERS)), 100)
        assert isinstance(modality.ending(), Aborted)


@pytest.mark.parametrize("ending", [Modality.abort, Modality.close])
def test_an_association_lost_in_mid_object(router: Program, ending: Callable[[Modality], None]) -> None:
    """Nothing is kept of an object whose last fragment did not arrive."""
    sent = made(next(NUMBERS), pixels=1 << 22)  # making it takes longer than this router waits for a PDU
    with unharmed(router, "association lost", "before the last fragment"), _associated(router) as modality:
        modality.begin(sent, 1 << 21)
        ending(modality)


def test_a_pdu_of_4_gib(router: Program) -> None:
    """Its header is enough: the association is aborted before anything of it is kept in memory."""
    with unharmed(router, "association lost", "4294967295"), _associated(router) as modality:
        modality.raw(P_DATA + b"\xff\xff\xff\xff" + bytes(4096))
        assert isinstance(modality.ending(), Aborted)


def test_a_c_store_for_a_context_that_was_not_accepted(router: Program) -> None:
    """The association is aborted: what would follow could not be told apart."""
    with unharmed(router, "association lost", "presentation context 99"), _associated(router) as modality:
        modality.begin(made(next(NUMBERS)), 0, context=99)
        assert isinstance(modality.ending(), Aborted)


def test_a_data_set_that_ends_early(router: Program) -> None:
    """C000H: its last element runs past the end, so the sender has more than it sent. Nothing is kept."""
    whole = made(next(NUMBERS))
    with unharmed(router, "instance refused", "runs past the end"):
        assert send(router.port, [replace(whole, dataset=whole.dataset[:-100])]) == [0xC000]


def test_a_sop_class_that_is_not_the_contexts(router: Program) -> None:
    """A900H, and the association goes on."""
    lying = made(next(NUMBERS))
    with unharmed(router, "instance refused", "SOP class"), _associated(router) as modality:
        lying = replace(lying, identity=replace(lying.identity, sop_class="1.2.3"))
        modality.begin(lying, len(lying.dataset))
        assert modality.answer() == 0xA900
        assert modality.echo() == 0
        modality.release()


# What is kept all the same


@pytest.mark.parametrize("uid", ["../../../../tmp/x", "/etc/passwd", "a;rm -rf *", "'; DROP TABLE delivery;--", "%n%s"])
def test_a_uid_is_no_path(router: Program, pacs: Pacs, uid: str) -> None:
    """A SOP Instance UID goes on as it came, and names nothing on the disk or in a query."""
    strange = made(next(NUMBERS))
    strange = replace(strange, identity=replace(strange.identity, sop_instance=uid))
    with unharmed(router, "instance accepted", "is not that of the C-STORE-RQ", keeps=1, instance=uid):
        assert send(router.port, [strange]) == [0]
        router.until_delivered()
    assert uid in {each.uid for each in pacs.received()}


def test_a_data_set_that_cannot_be_parsed(router: Program, pacs: Pacs) -> None:
    """It is kept and forwarded as it is; routes see the association alone."""
    whole = made(next(NUMBERS))
    strange = replace(whole, dataset=whole.dataset + b"\x00\x80\x00\x00\xff\xff" + bytes(50))
    with unharmed(router, "instance accepted", "was not understood", keeps=1, instance=whole.uid):
        assert send(router.port, [strange]) == [0]
        router.until_delivered()
    assert strange.dataset in {each.dataset for each in pacs.received()}


def test_a_flood_of_connections_that_say_nothing(router: Program) -> None:
    """What is too many is closed at once, the others at their deadline; then a modality is served as before.

    The log does not grow with the flood.
    """
    first, memory = len(router.lines), _memory(router)
    with ExitStack() as stack:
        flood = [stack.enter_context(_connected(router)) for _ in range(150)]
        for connection in flood:
            with suppress(ConnectionResetError):
                assert connection.recv(A_ABORT_LENGTH)[:6] in {b"", A_ABORT}
        error = "too many connections without an association are open from this host"
        router.wait_for("connection refused", since=first, error=error)
        assert _memory(router) - memory < 64 * MIB
    assert len(router.find("connection refused", since=first)) <= LINES_OF_A_HOST

    def served() -> bool:
        with suppress(LostError):
            return send(router.port, [made(next(NUMBERS))]) == [0]
        return False

    until(served, "a modality that is served again")


@contextmanager
def _connected(router: Program) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", router.port), PATIENCE) as connection:
        yield connection


@contextmanager
def _associated(router: Program) -> Iterator[Modality]:
    modality = Modality(router.port, [made().pair])
    try:
        yield modality
    finally:
        modality.close()


def _talk(router: Program, content: bytes) -> bytes:
    """Send something, say nothing more, and read until the other side ends it."""
    answer = b""
    with _connected(router) as connection, suppress(ConnectionError):
        connection.sendall(content)
        while len(answer) < A_ABORT_LENGTH and (received := connection.recv(4096)):
            answer += received
    return answer
