"""What is measured: rounds in which each contender has its turn, and the two measures that need none."""

import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks import objects, peers
from benchmarks.bare import accept_bare
from benchmarks.objects import Series
from benchmarks.peers import BenchmarkError, Dcmsend, Router, Server

FORWARD, HOLD = "FORWARD", "HOLD"
IDLE_ASSOCIATIONS = 500
IDLE_SECONDS = 6.0

_numbers = count()


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender's turn."""

    objects: int
    seconds: float
    sender_cpu: float | None = None
    receiver_cpu: float | None = None
    """CPU seconds of each end; None: not there, or not measured."""


@dataclass(frozen=True, slots=True)
class Median:
    """All turns of one contender."""

    rate: float
    """Objects per second."""
    lowest: float
    highest: float
    sender_cpu: float | None
    receiver_cpu: float | None
    """Milliseconds per object."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    ct: int
    mr: int
    """Objects of each kind; the slowest contenders get fewer."""


Turn = Callable[[], Sample]


def medians(turns: Mapping[str, Turn], rounds: int) -> dict[str, Median]:
    """Let everybody have a turn, ``rounds`` times; a first round warms up and is not counted.

    Every other round runs backwards: nobody always profits from the one before.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name in [*turns][:: 1 if number % 2 else -1]:
            say(f"{'warming up' if number == 0 else f'round {number} of {rounds}'}: {name}")
            sample = turns[name]()
            if number:
                samples[name].append(sample)
    return {name: _median(each) for name, each in samples.items()}


def _median(samples: Sequence[Sample]) -> Median:
    rates = [sample.objects / sample.seconds for sample in samples]
    return Median(
        statistics.median(rates),
        min(rates),
        max(rates),
        _median_cpu([(sample.sender_cpu, sample.objects) for sample in samples]),
        _median_cpu([(sample.receiver_cpu, sample.objects) for sample in samples]),
    )


def _median_cpu(used: Sequence[tuple[float | None, int]]) -> float | None:
    known = [seconds * 1000 / number for seconds, number in used if seconds is not None]
    return statistics.median(known) if known else None


def say(sentence: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


# Receive


@contextmanager
def receiving(scale: Scale, memory: Path, disk: Path) -> Iterator[dict[str, Turn]]:
    """Receive by each SCP on tmpfs, by the router on the disk, and what the disk alone can do."""
    with ExitStack() as ends:
        sink = ends.enter_context(peers.sink())
        scps = {
            "router on tmpfs": ends.enter_context(Router(memory / "router", sink)),
            "storescp --fork": ends.enter_context(peers.storescp(memory / "storescp")),
            "pynetdicom": ends.enter_context(peers.pynetdicom_scp(memory / "pynetdicom")),
            "router on disk": ends.enter_context(Router(disk / "router", sink)),
        }
        turns: dict[str, Turn] = {}
        for series in _series(scale, memory):
            contents = [file.read_bytes() for file in series.files[:64]]
            for associations in (1, 4):
                what = f"receive {series.name}, {associations}"
                for name, scp in scps.items():
                    share = {"pynetdicom": 3, "router on disk": 3}.get(name, 1)
                    part = series.first(len(series.files) // share)
                    turns[f"{what}: {name}"] = _receive(scp, part, associations, memory)
                turns[f"{what}: bare loop"] = _bare(disk / "bare", contents, len(series.files) // 3, associations)
        yield turns


def _receive(scp: Server, series: Series, associations: int, scratch: Path) -> Turn:
    def turn() -> Sample:
        cpu = scp.cpu()
        title = f"{HOLD}{next(_numbers)}"
        sending = [Dcmsend(scp.port, files, title, scratch) for files in series.dealt(associations)]
        sent = [each.finish() for each in sending]
        cpu = scp.cpu() - cpu
        if scp.received() != len(series.files):
            raise BenchmarkError(f"{scp.received()} files are there of {len(series.files)} objects received")
        scp.clear()
        seconds = max(each.ended for each in sent) - min(each.began for each in sent)
        return Sample(len(series.files), seconds, sum(each.cpu for each in sent), cpu)

    return turn


def _bare(folder: Path, contents: Sequence[bytes], number: int, concurrency: int) -> Turn:
    def turn() -> Sample:
        seconds, cpu = accept_bare(folder, contents, number, concurrency)
        return Sample(number, seconds, receiver_cpu=cpu)

    return turn


# Forward


@contextmanager
def forwarding(scale: Scale, memory: Path, disk: Path) -> Iterator[dict[str, Turn]]:
    """Send to ``storescp --ignore`` by each SCU; and by the router what it has received before, or is receiving."""
    with ExitStack() as ends:
        # An association of the router lingers for a moment, and this storescp serves one at a time: each has its own.
        sink = ends.enter_context(peers.sink())
        router_sink = ends.enter_context(peers.sink())
        router = ends.enter_context(Router(memory / "router", router_sink))
        durable_sink = ends.enter_context(peers.sink())
        durable = ends.enter_context(Router(disk / "router", durable_sink))
        turns: dict[str, Turn] = {}
        for series in _series(scale, memory):
            what = f"forward {series.name}"
            few = series.first(max(20, len(series.files) // 30))
            third = series.first(len(series.files) // 3)
            turns |= {
                f"{what}: router, a backlog": _drain(router, router_sink, series, memory),
                f"{what}: router, SCU alone": _send_by("router-scu", sink, series),
                f"{what}: dcmsend": _dcmsend(sink, series, memory),
                f"{what}: pynetdicom": _send_by("pynetdicom-scu", sink, few),
                f"store and forward {series.name}: router": _store_and_forward(durable, durable_sink, third, memory),
                f"store and forward {series.name}: receive alone": _receive(durable, third, 1, memory),
            }
        yield turns


def _drain(router: Router, sink: Server, series: Series, scratch: Path) -> Turn:
    """The objects are accepted while the sink stands still; from when it goes on to the last success."""

    def turn() -> Sample:
        sink.wait_idle()
        sink.pause()
        Dcmsend(router.port, series.files, f"{FORWARD}{next(_numbers)}", scratch).finish()
        router.skip_log()
        sender, receiver = router.cpu(), sink.cpu()
        began = time.time()
        sink.proceed()
        ended = router.wait_delivered(len(series.files))
        sample = Sample(len(series.files), ended - began, router.cpu() - sender, sink.cpu() - receiver)
        router.clear()
        return sample

    return turn


def _store_and_forward(router: Router, sink: Server, series: Series, scratch: Path) -> Turn:
    """From the association request of ``dcmsend`` to the last success of the sink."""

    def turn() -> Sample:
        sink.wait_idle()
        router.skip_log()
        cpu = router.cpu()
        sent = Dcmsend(router.port, series.files, f"{FORWARD}{next(_numbers)}", scratch).finish()
        ended = router.wait_delivered(len(series.files))
        sample = Sample(len(series.files), ended - sent.began, sent.cpu, router.cpu() - cpu)
        router.clear()
        return sample

    return turn


def _dcmsend(sink: Server, series: Series, scratch: Path) -> Turn:
    def turn() -> Sample:
        cpu = sink.cpu()
        sent = Dcmsend(sink.port, series.files, FORWARD, scratch).finish()
        return Sample(len(series.files), sent.ended - sent.began, sent.cpu, sink.cpu() - cpu)

    return turn


def _send_by(program: str, sink: Server, series: Series) -> Turn:
    def turn() -> Sample:
        cpu = sink.cpu()
        sent = peers.send_by(program, sink.port, series.files)
        return Sample(len(series.files), sent.ended - sent.began, sent.cpu, sink.cpu() - cpu)

    return turn


def _series(scale: Scale, memory: Path) -> Sequence[Series]:
    return objects.ct(memory / "objects", scale.ct), objects.mr(memory / "objects", scale.mr)


# Memory and idling


@dataclass(frozen=True, slots=True)
class Grown:
    """Anonymous memory at its highest, over what it was before, in bytes."""

    receiving: int
    sending: int
    seconds_receiving: float
    seconds_sending: float


def large_object(memory: Path, disk: Path) -> Grown:
    """Receive one of 2 GiB and forward it, one after the other, with the spool on the disk."""
    with peers.sink("+B") as sink, Router(disk / "router", sink) as router:
        # What the first objects need once is not this one's.
        Dcmsend(router.port, objects.ct(memory / "objects", 32).files, FORWARD, memory).finish()
        router.wait_delivered(32)
        sink.wait_idle()
        before = router.anonymous()
        sink.pause()
        say("a 2 GiB object: receiving")
        sending = Dcmsend(router.port, objects.large(memory / "objects").files, FORWARD, memory)
        received = before
        while sending.running:
            received = max(received, router.anonymous())
            time.sleep(0.01)
        sent = sending.finish()
        say("a 2 GiB object: sending")
        router.skip_log()
        began = time.time()
        sink.proceed()
        forwarded = before
        while not router.delivered():
            forwarded = max(forwarded, router.anonymous())
            time.sleep(0.01)
        return Grown(received - before, forwarded - before, sent.ended - sent.began, time.time() - began)


@dataclass(frozen=True, slots=True)
class Idle:
    """What associations cost that do nothing."""

    core: float
    """Part of one core."""
    bytes_each: float
    """Anonymous memory."""


def idle_associations(memory: Path) -> Idle:
    """Open them, wait, look."""
    with ExitStack() as ends:
        sink = ends.enter_context(peers.sink())
        router = ends.enter_context(Router(memory / "router", sink))
        ends.enter_context(_associated(router.port)).close()
        before = router.anonymous()
        say(f"{IDLE_ASSOCIATIONS} idle associations")
        for _ in range(IDLE_ASSOCIATIONS):
            ends.enter_context(_associated(router.port))
        grown = router.anonymous() - before
        cpu = router.cpu()
        time.sleep(IDLE_SECONDS)
        return Idle((router.cpu() - cpu) / IDLE_SECONDS, grown / IDLE_ASSOCIATIONS)


def _associated(port: int) -> socket.socket:
    """A connection with an association that proposed Verification."""
    from router.model.presentation_context import VERIFICATION, PresentationContext
    from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
    from router.protocol import Requestor

    request = Requestor(maximum_length=16384).associate(
        calling_ae_title=HOLD,
        called_ae_title="ROUTER",
        contexts=[PresentationContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))],
        implementation_class_uid="2.25.1",
        implementation_version_name="BENCHMARK",
    )
    connection = socket.create_connection((peers.HOST, port))
    connection.sendall(request)
    if connection.recv(1 << 16)[:1] != b"\x02":
        raise BenchmarkError("an idle association was not accepted")
    return connection
