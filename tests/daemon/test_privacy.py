"""No patient data in anything that is written or told, whatever happens to an object; and no text of a peer does harm.

The canary stands in some fifty elements, of every VR that can hold it, and wherever else a peer, or a user, may put a
name. What is told of patients by definition (a page of `show_patient`, the search of studies, the queue's own answer on
the Unix socket) is not looked at here.
"""

import fcntl
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from router.cli.output import CommandError
from router.model.instance import Identity
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from tests.daemon.conftest import FreePort, Pacses, Routers
from tests.daemon.modality import LostError, Modality, send
from tests.daemon.objects import Object, made
from tests.daemon.program import Program
from tests.daemon.sinks import Pacs, destination
from tests.daemon.waiting import PATIENCE, until
from tests.faults.matrix import ALL
from tests.protocol.pair import association, item, proposed, user_information

pytestmark = pytest.mark.endtoend

CANARY = "Zzyzx"
NUMBER = "190001017"
"""The canary of VRs that have digits only."""
INJECTION = f"{CANARY}\r\n{{}}\x1b[31m\u202e<b>"

ELEMENTS = {
    # AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UR, UT, and bytes: OB, OW, UN.
    0x00080054: "AE", 0x00101010: "AS", 0x00100040: "CS", 0x00100030: "DA", 0x00101030: "DS", 0x0008002A: "DT",
    0x00280008: "IS", 0x00100020: "LO", 0x00104000: "LT", 0x00100010: "PN", 0x00080050: "SH", 0x00081195: "ST",
    0x00080030: "TM", 0x00080119: "UC", 0x00081190: "UR", 0x0040A160: "UT", 0x00420011: "OB", 0x00281201: "OW",
    0x00080090: "PN", 0x00081048: "PN", 0x00081050: "PN", 0x00081060: "PN", 0x00081070: "PN", 0x00101001: "PN",
    0x00101005: "PN", 0x00101060: "PN", 0x00321032: "PN", 0x00402016: "LO", 0x00402017: "LO", 0x00080080: "LO",
    0x00080081: "ST", 0x00081030: "LO", 0x0008103E: "LO", 0x00081010: "SH", 0x00081040: "LO", 0x00100021: "LO",
    0x00101000: "LO", 0x00101040: "LO", 0x00102154: "SH", 0x00102160: "SH", 0x00102180: "SH", 0x001021B0: "LT",
    0x001021F0: "LO", 0x00180015: "CS", 0x00181030: "LO", 0x00200010: "SH", 0x00204000: "LT", 0x00324000: "LT",
    0x00380300: "LO", 0x00400254: "LO", 0x00401400: "LT", 0x00402400: "LT", 0x00090010: "LO", 0x00091001: "UN",
}  # fmt: skip
"""By tag: each a value that names the patient."""


def told(number: int, **more: Any) -> Object:
    """An object that is full of canaries, every PN and free text among them an injection, too."""
    whole = made(number, **more)
    content = dict(_elements(whole.dataset))
    for tag, vr in ELEMENTS.items():
        content[tag] = _element(tag, vr)
    return replace(whole, dataset=b"".join(content[tag] for tag in sorted(content)))


def _value(vr: str) -> bytes:
    match vr:
        case "DA" | "DS" | "IS" | "TM" | "DT" | "AS":
            return NUMBER.encode()
        case "AE" | "CS" | "SH" | "UR":
            return CANARY.upper().encode()
        case "PN" | "LO" | "LT" | "ST" | "UC" | "UT":
            return INJECTION.encode()
        case _:
            return CANARY.encode()


def _element(tag: int, vr: str) -> bytes:
    value = _value(vr)
    value += b" " * (len(value) % 2)
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()
    if vr in {"OB", "OW", "UN", "UC", "UR", "UT"}:
        return head + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def _elements(dataset: bytes) -> Iterator[tuple[int, bytes]]:
    """Of a flat data set in Explicit VR Little Endian."""
    at = 0
    while at < len(dataset):
        tag = int.from_bytes(dataset[at : at + 2], "little") << 16 | int.from_bytes(dataset[at + 2 : at + 4], "little")
        long = dataset[at + 4 : at + 6] in {b"OB", b"OW", b"UN", b"UC", b"UR", b"UT", b"SQ"}
        start = at + (12 if long else 8)
        end = start + int.from_bytes(dataset[start - (4 if long else 2) : start], "little")
        yield tag, dataset[at:end]
        at = end


ACCEPTED, UNROUTED, REFUSED, CONVERTED, TRUNCATED, UNREADABLE, UNCONVERTED = (told(number) for number in range(1, 8))
KNOWN_BY_PATIENT = {
    "queue.series.patient_id",
    "queue.series.accession_number",
    "queue.delivery.error_comment",
    "history.happening.patient_id",
    "history.happening.accession_number",
    "history.happening.error_comment",
}
"""Columns of the databases that have what operators search for, and what a PACS said."""
UIDS = [each.uid for each in (ACCEPTED, UNROUTED, REFUSED, CONVERTED, TRUNCATED, UNREADABLE, UNCONVERTED)]


@dataclass(frozen=True, slots=True)
class Written:
    """Something that was written, and by whom."""

    by: str
    text: str

    def clean(self) -> bool:
        """Whether it names nobody, and has nothing that a terminal or a reader of lines would obey."""
        found = [name for name in (CANARY, CANARY.upper(), NUMBER) if name in self.text]
        obeyed = [each for each in self.text if each in "\x1b\r\u202e\u2028\u2066" or "\x7f" <= each < "\xa0"]
        assert not found, f"{self.by}: {found} in {self.text[max(0, self.text.find(found[0]) - 300) :][:700]}"
        assert not obeyed, f"{self.by}: {obeyed}"
        return True


def command(router: Program, *words: str) -> Written:
    """Everything that a command of the same program prints."""
    line = [sys.executable, "-m", "router", *words, "--config", str(router.path)]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return Written(" ".join(words), ended.stdout + ended.stderr)


def page(port: int, path: str) -> Written:
    """What is told over TCP."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path)
    with connection.getresponse() as response:
        assert response.status in {200, 404}, path
        text = response.read().decode()
    connection.close()
    return Written(f"GET {path}", text)


@pytest.mark.row(
    "C4", "patient data in fifty elements, comments, identities, titles: searched for in all that is written"
)
@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_no_patient_data_is_written(routers: Routers, pacs: Pacses, free_port: FreePort, tmp_path: Path) -> None:
    """Routed by the patient's name, converted, refused by us and by the PACS with a talkative comment, and reported."""

    def talkative(identity: Identity) -> int:
        return {REFUSED.uid: 0x0117, UNCONVERTED.uid: 0xC001}.get(identity.sop_instance, 0x0000)

    sink = pacs(answer=talkative, comment=INJECTION[:60], transfer_syntaxes=[IMPLICIT_VR_LITTLE_ENDIAN])
    web, alerts = free_port(), tmp_path / "alerts"
    sections: dict[str, Any] = {
        "destinations": [sink.destination(), destination("NOWHERE", 1)],
        "routes": [
            {"name": "none", "when": {"PatientID": f"{CANARY}-2"}, "to": "PACS"},
            {
                "name": "all",
                "when": {"PatientName": f"{CANARY}*", "not": {"calling_ae_title": "OTHER"}},
                "to": ["PACS", "NOWHERE"],
            },
        ],
        "log": {"uids": "hash", "level": "debug"},
        "http": {"host": "127.0.0.1", "port": web},
        "alerts": [{"command": ["/bin/sh", "-c", f"cat >> {alerts}"], "after": "0s"}],
        "listen": {"user_identity": {"users_file": "users", "required": False}},
    }
    router = routers(**sections)
    (router.folder / "users").write_text(f"{CANARY.lower()} secret\n")
    (router.folder / "users").chmod(0o600)
    router.start()
    _sent(router)
    _refused(router)
    router.wait_for("dead letter", status="0117H")
    router.wait_for("instance accepted", outcome="held")
    router.wait_for("C-STORE successful", 2)
    router.wait_for("destination in trouble")
    written = [
        *_reloads(router, sections),
        *_commands(router, sink, tmp_path),
        *(page(web, path) for path in _pages(web)),
    ]
    if ALL:  # they take their time
        until(alerts.exists, "an alert")
        written.append(Written("alerts", alerts.read_text()))
    assert router.stop() == 0
    log = "".join(map(str, router.lines))
    written.append(Written("the log", log))
    assert all(each.clean() for each in written)
    assert not [uid for uid in UIDS if uid in log], "instances are hashes here"
    assert _columns(router.spool) <= KNOWN_BY_PATIENT
    assert CANARY not in "".join(str(path) for path in router.folder.glob("**/*")), "no name of a file"


def _columns(spool: Path) -> set[str]:
    """Of the databases: those that have a canary."""
    found = set()
    for path in spool.glob("*.db"):
        with closing(sqlite3.connect(path)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                rows = database.execute(f"SELECT * FROM {table}")
                names = [each[0] for each in rows.description]
                found |= {
                    f"{path.stem}.{table}.{name}"
                    for row in rows
                    for name, value in zip(names, row, strict=True)
                    if CANARY in str(value) or NUMBER in str(value) or CANARY.upper() in str(value)
                }
    return found


def _sent(router: Program) -> None:
    truncated = replace(TRUNCATED, dataset=TRUNCATED.dataset[:-10])
    unreadable = replace(UNREADABLE, dataset=UNREADABLE.dataset + b"\x00\x80\x00\x00\xff\xff" + CANARY.encode() * 10)
    objects = [ACCEPTED, REFUSED, CONVERTED, truncated, unreadable, UNCONVERTED]
    assert send(router.port, objects) == [0, 0, 0, 0xC000, 0, 0]
    assert send(router.port, [UNROUTED], calling="OTHER") == [0]


def _refused(router: Program) -> None:
    """Who is turned away, for whatever reason, with names where users have them."""
    identity = item(0x58, b"\2\1\0\5" + CANARY.encode() + b"\0\5" + CANARY.encode())
    proposal = (item(0x10, b"1.2.840.10008.3.1.1.1"), proposed(1), user_information(identity))
    for content in (
        association(*proposal),
        association(*proposal)[:-3],
        association(proposed(1, f"1.2.{CANARY}\n".encode()), user_information()),
        f"GET /{CANARY} HTTP/1.1\r\n\r\n".encode(),
    ):
        with socket.create_connection(("127.0.0.1", router.port), PATIENCE) as connection, suppress(ConnectionError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    with suppress(LostError), Modality(router.port, [ACCEPTED.pair]) as modality:
        modality.begin(replace(ACCEPTED, identity=replace(ACCEPTED.identity, sop_class="1.2.3")), 100)
        modality.raw(b"\xff" * 100)
        modality.ending()


def _reloads(router: Program, sections: dict[str, Any]) -> Iterator[Written]:
    """Conditions name patients too: they do not turn up where a new configuration is refused."""
    for when in ({"PatientAge": {"from": CANARY}}, {"PatientName": f"{CANARY}*", "not": CANARY}):
        since = len(router.lines)
        route = {"name": "all", "when": {"PatientID": CANARY, **when}, "to": "NOBODY"}
        router.configure(**{**sections, "routes": [route], "log": {"uids": "hash", "level": "debug"}})
        router.signal(signal.SIGHUP)
        router.wait_for("configuration refused", since=since)
    tests = [{"name": "t", "given": {"PatientName": CANARY}, "expect": ["NOWHERE"]}]
    router.configure(**{**sections, "tests": tests, "routes": [{"to": "PACS"}], "log": {"uids": "hash"}})
    since = len(router.lines)
    router.signal(signal.SIGHUP)
    router.wait_for("configuration refused", since=since)
    yield Written("the log of reloads", "".join(map(str, router.lines)))
    router.configure(**{**sections, "log": {"uids": "hash", "level": "debug"}})


def _commands(router: Program, sink: Pacs, folder: Path) -> list[Written]:
    """All at once: most of the time of each goes into its start."""
    named = REFUSED.write(folder / "a.dcm")
    lines: list[tuple[str, ...]] = [
        ("queue", "list"),
        ("destination", "test", "PACS"),
        ("status",),
        ("send", str(named), "--to", "PACS"),
    ]
    if ALL:
        lines += [
            ("queue", "causes", "--json"),
            ("destination", "show", "PACS"),
            ("spool", "check"),
            ("send", str(named), "--to", f"127.0.0.1:{sink.port}", "--called", "PACS", "--json"),
        ]
    with ThreadPoolExecutor(len(lines)) as pool:
        return [*pool.map(lambda words: command(router, *words), lines)]


def _pages(web: int) -> Iterator[str]:
    yield from ("/metrics", "/readyz", "/api/status", "/api/queue", "/api/destinations/PACS", "/api/queue?state=dead")
    yield from ("/", "/queue", "/destinations/PACS", "/studies")


TITLES = ["X\nINFO fake", "\x1b[2J\x1b]0;x", "A\u202eB", "%s%n{}", "<script>", "\x9b31m"]


def test_the_titles_of_strangers_are_shown_and_not_obeyed(routers: Routers) -> None:
    """Who is refused is named: the line stays one line, and no terminal does what it says."""
    router = routers(
        destinations=[destination("NOWHERE", 1)],
        listen={"allow_any": False, "allow": [{"ae_title": "CT1"}]},
        log={"format": "console"},
    )
    router.launch()
    until(lambda: "started" in "".join(router.words), "a router that has started")
    for title in TITLES:
        calling = title.encode("utf-8")[:16]
        proposal = (item(0x10, b"1.2.840.10008.3.1.1.1"), proposed(1), user_information())
        with socket.create_connection(("127.0.0.1", router.port), PATIENCE) as connection:
            connection.sendall(association(*proposal, calling=calling, called=calling))
            assert connection.recv(4096)[:1] == b"\3"
    assert router.stop() == 0
    words, router.words = "".join(router.words), []
    assert words.count("association refused") == len(TITLES)
    assert not [each for each in words if each != "\n" and not each.isprintable()]
    assert not [line for line in words.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]


def test_a_file_s_name_is_shown_and_not_obeyed(start: Routers, pacs: Pacses, tmp_path: Path) -> None:
    """By `send`, to whoever gave it; the log of the router knows nothing of it."""
    router = start(destinations=[pacs().destination()])
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / f"{CANARY}\x1b[31m\n.dcm").write_bytes(bytes(128) + b"DICM")
    REFUSED.write(folder / f"{CANARY}^ANNA\u202e.dcm")
    said = command(router, "send", str(folder), "--to", "PACS")
    assert not [each for each in said.text if each != "\n" and not each.isprintable()]
    assert CANARY not in str(router.lines)


class Unread(Program):
    """Nobody reads its log: the pipe is full after some lines, or closed from the first one on."""

    closed = False

    def launch(self) -> None:
        """With standard error on a pipe of one page."""
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "router", "run", "--config", str(self.path)], stderr=writing, text=True
        )
        os.close(writing)
        if self.closed:
            os.close(self.reading)
        self._reader.start()

    def start(self) -> None:
        """Start, and wait until it says that it is ready."""
        self.launch()

        def ready() -> bool:
            with suppress(CommandError):
                return bool(self.client.get("/readyz")["ready"])
            return False

        until(ready, "a router that is ready")


@pytest.mark.row("F21", "the pipe that the log goes to is full, or closed")
@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed"])
def test_a_log_that_nobody_reads_stops_nothing(
    tmp_path: Path, pacs: Pacses, free_port: FreePort, *, closed: bool
) -> None:
    """Every object is delivered, the daemon answers, and it ends in order when asked."""
    sink = pacs()
    objects = [made(number) for number in range(1, 41)]
    with Unread(tmp_path / "router", free_port(), destinations=[sink.destination()]) as router:
        router.closed = closed
        router.start()
        assert set(send(router.port, objects)) == {0}
        router.until_delivered()
        assert router.stop() == 0
    assert {each.uid for each in sink.received()} == {each.uid for each in objects}
    if not closed:
        with os.fdopen(router.reading, "rb") as log:
            assert len(log.read()) <= 4096, "the pipe was full, long before the last line"
