"""What an idle router adds: from the last byte of an object in to its first byte out."""

import select
import socket
import statistics
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from benchmarks import bare, objects, peers
from benchmarks.figures import Measured, Table, below
from benchmarks.objects import Series
from benchmarks.peers import HOST, Server
from benchmarks.program import FORWARD, Router, another
from benchmarks.scale import Scale
from benchmarks.scu import Scu, described

DATA = b"\x04"
"""The type of a P-DATA-TF PDU: of a requestor, the first one begins a C-STORE (PS3.8 9.3.1)."""

SUBJECT = "added latency"


class Tap:
    """Stands between the router and a sink, passes every byte on, and notes when the first ones came."""

    def __init__(self, sink: Server) -> None:
        self._sink = sink.port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connected = self.first_data = 0.0
        """Monotonic: the first byte of the association request, and of the object; 0: not yet."""
        self.idle = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def forget(self) -> None:
        """Before the next object."""
        self.connected = self.first_data = 0.0
        self.idle.clear()

    def _serve(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            with inside, socket.create_connection((HOST, self._sink)) as outside:
                for each in (inside, outside):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pass_on(inside, outside)
            self.idle.set()

    def _pass_on(self, inside: socket.socket, outside: socket.socket) -> None:
        others = {inside: outside, outside: inside}
        while True:
            for ready in select.select([inside, outside], [], [])[0]:
                content = ready.recv(1 << 20)
                if not content:
                    return
                if ready is inside:
                    now = time.monotonic()
                    self.connected = self.connected or now
                    if content[:1] == DATA:
                        self.first_data = self.first_data or now
                others[ready].sendall(content)


def measure(scale: Scale, memory: Path, disk: Path) -> Measured:
    """Single objects, each over an association of its own at either end; on tmpfs, where fsync is free, and on disk."""
    measured = Measured()
    rows = []
    for kind in ("MR", "CT"):
        series = objects.series(kind, memory / "objects", scale.latencies)
        seconds, _ = bare.accept(disk / "bare", bare.contents(series), scale.latencies, 1)
        bare_ms = 1000 * seconds / scale.latencies
        for where, folder in (("tmpfs", memory), ("disk", disk)):
            to_request, to_object = latencies(folder / f"router {kind}", series)
            fsync = bare_ms if where == "disk" else 0.0
            rows.append((kind, where, f"{to_request:.2f}", f"{to_object:.2f}", f"{fsync:.2f}" if fsync else ""))
            what = f"{kind}, spool on {where}, to the first byte of its C-STORE request, median"
            measured.goals.append(below(SUBJECT, what, to_object - fsync, 10, "ms"))
    columns = ("object", "spool on", "to the association request, ms", "to the C-STORE request, ms", "bare disk, ms")
    measured.tables.append(Table("From the last byte in to the first byte out, idle system, medians", columns, rows))
    return measured


def latencies(folder: Path, series: Series) -> tuple[float, float]:
    """Milliseconds in the median, to the association request and to the object."""
    to_request, to_object = [], []
    with ExitStack() as ends:
        tap = ends.enter_context(Tap(ends.enter_context(peers.sink())))
        router = ends.enter_context(Router(folder, [tap]))
        for path in series.files:
            tap.forget()
            association = Scu(router.port, another(FORWARD), [described(path).pair])
            timed = association.store(described(path))
            association.release()
            tap.idle.wait(peers.PATIENCE)
            to_request.append(1000 * (tap.connected - timed.sent))
            to_object.append(1000 * (tap.first_data - timed.sent))
    return statistics.median(to_request), statistics.median(to_object)
