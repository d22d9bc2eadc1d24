"""The sender that takes the time: an SCU with blocking sockets on the router's own protocol, one thread an association.

It reads each file in pieces while it sends, so it is as fast as a sender can be whose objects are on a tmpfs.
"""

import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.peers import HOST, BenchmarkError, program
from router.model.presentation_context import PresentationContext
from router.protocol import AssociationAccepted, Event, ReleaseConfirmed, Requestor, StoreAnswered

PIECE = 1 << 20
META = 144
"""Bytes before the file meta information's first element after its group length (PS3.10 7.1)."""


@dataclass(frozen=True, slots=True)
class Sendable:
    """What has to be known of a file before it is sent."""

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data_set: int
    """Where it begins."""

    @property
    def pair(self) -> tuple[str, str]:
        """Abstract and transfer syntax of the presentation context that it goes out in."""
        return self.sop_class, self.transfer_syntax

    @classmethod
    def of(cls, path: Path) -> "Sendable":
        """Read its head."""
        from pydicom.filereader import read_file_meta_info

        meta = read_file_meta_info(path)
        length = meta["FileMetaInformationGroupLength"].value
        return cls(
            path,
            str(meta.MediaStorageSOPClassUID),
            str(meta.MediaStorageSOPInstanceUID),
            str(meta.TransferSyntaxUID),
            META + length,
        )


@dataclass(frozen=True, slots=True)
class Timed:
    """When one C-STORE began, when its last byte was with the kernel, and when its answer was there (monotonic)."""

    began: float
    sent: float
    answered: float


class Scu:
    """One association."""

    def __init__(self, port: int, calling_ae_title: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Connect and associate, with a presentation context for each pair of abstract and transfer syntax.

        Raises:
            BenchmarkError: the peer did not accept.
        """
        self._contexts = {pair: 2 * index + 1 for index, pair in enumerate(dict.fromkeys(pairs))}
        self._requestor = Requestor(maximum_length=16384)
        self._socket = socket.create_connection((HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(PIECE)
        self._number = 0
        request = self._requestor.associate(
            calling_ae_title=calling_ae_title,
            called_ae_title="ROUTER",
            contexts=[PresentationContext(number, pair[0], (pair[1],)) for pair, number in self._contexts.items()],
            implementation_class_uid="2.25.1",
            implementation_version_name="BENCHMARK",
        )
        self._socket.sendall(request)
        answer = self._event()
        if not isinstance(answer, AssociationAccepted):
            raise BenchmarkError(f"the association was not accepted: {answer}")

    def store(self, instance: Sendable) -> Timed:
        """Send one, and wait for its success.

        Raises:
            BenchmarkError: it was another answer.
        """
        began = time.monotonic()
        self._number = self._number % 0xFFFF + 1
        context = self._contexts[instance.pair]
        pdus: list[bytes | memoryview] = [
            self._requestor.store_request(context, self._number, instance.sop_class, instance.sop_instance)
        ]
        view = memoryview(self._buffer)
        with instance.path.open("rb", buffering=0) as file:
            left = file.seek(0, 2) - instance.data_set
            file.seek(instance.data_set)
            while left:
                count = file.readinto(view)
                left -= count
                pdus += self._requestor.fragments(context, view[:count], last=not left)
                self._send(pdus)
                pdus = []
        sent = time.monotonic()
        answer = self._event()
        if not isinstance(answer, StoreAnswered) or answer.status:
            raise BenchmarkError(f"{instance.path.name} was not stored: {answer}")
        return Timed(began, sent, time.monotonic())

    def release(self) -> None:
        """End the association."""
        self._socket.sendall(self._requestor.release())
        while not isinstance(self._event(), ReleaseConfirmed):
            pass
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _send(self, pdus: Sequence[bytes | memoryview]) -> None:
        sent = self._socket.sendmsg(pdus)
        for pdu in pdus:
            if sent < len(pdu):
                self._socket.sendall(pdu[sent:])
            sent = max(0, sent - len(pdu))

    def _event(self) -> Event:
        while (event := self._requestor.next_event()) is None:
            self._requestor.received(self._socket.recv_into(self._requestor.buffer()))
        return event


@cache
def described(path: Path) -> Sendable:
    """Each file is looked at once."""
    return Sendable.of(path)


@dataclass(frozen=True, slots=True)
class Load:
    """What so many associations at once did: from the first association request to the last release."""

    began: float
    """Unix time."""
    seconds: float
    cpu: float
    responses: Sequence[float]
    """Seconds of each C-STORE, from its first byte to its answer."""


def send(port: int, calling_ae_title: str, dealt: Sequence[Sequence[Path]]) -> Load:
    """Send from a process of its own, the files of each hand over an association of its own."""
    command = [*program("scu"), str(port), calling_ae_title]
    asked = json.dumps([[str(path) for path in hand] for hand in dealt])
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise BenchmarkError(f"the sender ended with {done.returncode}")
    said = json.loads(done.stdout)
    return Load(said["began"], said["seconds"], said["cpu"], said["responses"])


def main(port: str, calling_ae_title: str) -> None:
    """The process of ``send``: files on standard input, times on standard output."""
    hands = [[described(Path(path)) for path in hand] for hand in json.load(sys.stdin)]
    responses: list[float] = []
    failed: list[BaseException] = []
    hands = [hand for hand in hands if hand]
    together = threading.Barrier(len(hands) + 1)

    def run(hand: Sequence[Sendable]) -> None:
        together.wait()
        try:
            association = Scu(int(port), calling_ae_title, [each.pair for each in hand])
            mine = [association.store(instance) for instance in hand]
            association.release()
            responses.extend(each.answered - each.began for each in mine)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(hand,)) for hand in hands]
    for thread in threads:
        thread.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    clock, began = time.time(), time.monotonic()
    together.wait()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    if failed:
        raise SystemExit(1)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"began": clock, "seconds": seconds, "cpu": cpu, "responses": responses}, sys.stdout)
