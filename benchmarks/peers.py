"""The processes that are measured, and those they talk to: how each is started, and what it has used."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # no stubs

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).parent.parent

# Without it DCMTK waits 40 ms per object for a delayed acknowledgement, at either end.
DCMTK_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}

WATCH_EVERY = 0.1
"""Seconds between two looks at a process's memory: what they cost is the same for every contender."""

PATIENCE = 120.0
"""Seconds after which a measure that has not ended is an error."""


class BenchmarkError(Exception):
    """A measure did not do what it is meant to measure."""


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Look again and again.

    Raises:
        BenchmarkError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


def make_durable(folder: Path) -> None:
    """Have the file system commit now what was changed in ``folder``, so that nobody else pays for it."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@dataclass(slots=True)
class Memory:
    """Bytes."""

    rss: int
    anonymous: int

    def raise_to(self, other: "Memory") -> None:
        """The higher of both."""
        self.rss, self.anonymous = max(self.rss, other.rss), max(self.anonymous, other.anonymous)


class Tail:
    """The lines that are added to a log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def skip(self) -> None:
        """What is there so far is of no interest."""
        self._at = self._path.stat().st_size

    def lines(self) -> list[bytes]:
        """Whole ones, since the last look."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, _, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + 1 if whole else 0
        return whole.splitlines()


class Server:
    """A listening child process. ``with`` ends it."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        *,
        folder: Path | None,
        log: Path | None = None,
        environment: dict[str, str] | None = None,
        patience: float = 30,
    ) -> None:
        """Start it and wait until it listens.

        Args:
            command: what to run.
            port: where it listens.
            folder: where the objects lie that it received.
            log: where its standard error goes.
            environment: of the process.
            patience: seconds until it has to listen.
        """
        self.port = port
        self.folder = folder
        with Path(log or os.devnull).open("wb") as errors:
            self._child = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=errors, cwd=REPOSITORY, env=environment
            )
        self._watched = psutil.Process(self._child.pid)
        try:
            wait_until(self._listens, f"{command[0]} listens on port {port}", patience)
        except BenchmarkError:
            self._child.kill()
            self._child.wait()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.proceed()
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def pid(self) -> int:
        """The process, for profilers."""
        return self._child.pid

    def cpu(self) -> float:
        """CPU seconds so far, user and system, forks included."""
        # Twice: a fork that its parent reaps between the two looks at them would be missed.
        return max(self._cpu(), self._cpu())

    def memory(self) -> Memory:
        """Of now, children included; what forks share counts for each."""
        rss = anonymous = 0
        for process in (self._watched, *self._watched.children(recursive=True)):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue
            found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE))
            rss += int(found.get("VmRSS", 0)) * 1024
            anonymous += int(found.get("RssAnon", 0)) * 1024
        return Memory(rss, anonymous)

    @contextmanager
    def watched(self) -> Iterator[Memory]:
        """Its memory at its highest, until the block ends."""
        highest = self.memory()
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(WATCH_EVERY):
                highest.raise_to(self.memory())

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield highest
        finally:
            ended.set()
            watching.join()
            highest.raise_to(self.memory())

    def received(self) -> int:
        """How many objects lie in its folder."""
        return 0 if self.folder is None else sum(1 for path in self.folder.rglob("*") if path.is_file())

    def clear(self) -> None:
        """Remove what it received, and let nobody else pay for that."""
        if self.folder is not None:
            for path in self.folder.rglob("*"):
                if path.is_file():
                    path.unlink()
            make_durable(self.folder)

    def pause(self) -> None:
        """Stop it: connections to it are made by the kernel, and get no answer."""
        self._child.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        """Let it go on."""
        self._child.send_signal(signal.SIGCONT)

    def wait_idle(self) -> None:
        """Until nobody is connected, to a fork neither."""
        wait_until(
            lambda: not self._connections(psutil.CONN_ESTABLISHED) and not self._watched.children(),
            "nobody is connected any more",
        )

    def _connections(self, status: str) -> list[Any]:
        return [each for each in self._watched.net_connections("tcp") if each.status == status]

    def _listens(self) -> bool:
        if self._child.poll() is not None:
            raise BenchmarkError(f"a peer ended at once, with exit code {self._child.returncode}")
        return any(each.laddr.port == self.port for each in self._connections(psutil.CONN_LISTEN))

    def _cpu(self) -> float:
        times = self._watched.cpu_times()
        total: float = times.user + times.system + times.children_user + times.children_system
        for child in self._watched.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total


def program(name: str) -> list[str]:
    """The command that runs one of ``benchmarks.children``."""
    return [sys.executable, "-m", "benchmarks.children", name]


def storescp(folder: Path, *options: str) -> Server:
    """DCMTK's, a process for each association, writing to ``folder``."""
    folder.mkdir(parents=True)
    port = free_port()
    command = ["storescp", "--fork", *options, "--output-directory", str(folder), str(port)]
    return Server(command, port, folder=folder, environment=DCMTK_ENVIRONMENT)


def sink(*options: str) -> Server:
    """DCMTK's ``storescp --ignore``: takes everything, keeps nothing."""
    port = free_port()
    return Server(["storescp", "--ignore", *options, str(port)], port, folder=None, environment=DCMTK_ENVIRONMENT)


class CountingSink(Server):
    """DCMTK's ``storescp --ignore``, a process for each association, that says what comes and when."""

    _LOG = """\
log4cplus.rootLogger = INFO, file
log4cplus.appender.file = log4cplus::FileAppender
log4cplus.appender.file.File = {log}
log4cplus.appender.file.Append = true
log4cplus.appender.file.layout = log4cplus::PatternLayout
log4cplus.appender.file.layout.ConversionPattern = %D{{%s.%q}} %m%n
"""
    """A file: forks that write to standard error tear each other's lines."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its log in ``folder``."""
        folder.mkdir(parents=True)
        configuration = folder / "sink.cfg"
        log = folder / "log"
        configuration.write_text(self._LOG.format(log=log), "utf-8")
        port = free_port()
        command = ["storescp", "--ignore", "--fork", "--log-config", str(configuration), str(port)]
        super().__init__(command, port, folder=None, environment=DCMTK_ENVIRONMENT)
        self._tail = Tail(log)
        self._requests: list[float] = []

    def skip_log(self) -> None:
        """What came so far is of no interest."""
        self._tail.skip()
        self._requests.clear()

    def wait_requests(self, count: int) -> float:
        """Until so many C-STORE requests have come. Returns when the last one began, in Unix time."""
        wait_until(lambda: self._count() >= count, f"{count} instances sent on")
        return max(self._requests)

    def _count(self) -> int:
        for line in self._tail.lines():
            if b"Received Store Request" in line:
                self._requests.append(float(line.split()[0]))
        return len(self._requests)


def pynetdicom_router(folder: Path, to: Server) -> Server:
    """``children.pynetdicom_router``, writing to ``folder``."""
    folder.mkdir(parents=True)
    port = free_port()
    return Server([*program("pynetdicom-router"), str(port), str(to.port), str(folder)], port, folder=folder)


def pynetdicom_scp(folder: Path) -> Server:
    """That of pynetdicom with default settings, writing to ``folder``."""
    folder.mkdir(parents=True)
    port = free_port()
    return Server([*program("pynetdicom-scp"), str(port), str(folder)], port, folder=folder)


def tcp_sink() -> Server:
    """Reads whatever comes, and answers with a byte at the end."""
    port = free_port()
    return Server([*program("tcp-sink"), str(port)], port, folder=None)


def versions() -> dict[str, str]:
    """Of the peers."""
    from importlib.metadata import version

    return {"DCMTK": _said_version("storescp", r"storescp v(\S+)"), "pynetdicom": version("pynetdicom")}


def _said_version(command: str, pattern: str) -> str:
    said = subprocess.run([command, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.search(pattern, said)
    return found[1] if found else "unknown"


def missing() -> str | None:
    """A sentence, if DCMTK is not here."""
    if shutil.which("storescp") and shutil.which("dcmsend"):
        return None
    return "DCMTK (storescp, dcmsend) is not on the PATH: install it (Debian: apt-get install dcmtk)"
