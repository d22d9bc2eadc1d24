"""The processes that are measured, and those they talk to: how each is started, and what it has used."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).parent.parent

# Without it DCMTK waits 40 ms per object for a delayed acknowledgement, at either end.
DCMTK_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}

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
    ) -> None:
        """Start it and wait until it listens.

        Args:
            command: what to run.
            port: where it listens.
            folder: where the objects lie that it received.
            log: where its standard error goes.
            environment: of the process.
        """
        self.port = port
        self.folder = folder
        with Path(log or os.devnull).open("wb") as errors:
            self._child = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=errors, cwd=REPOSITORY, env=environment
            )
        self._watched = psutil.Process(self._child.pid)
        try:
            wait_until(self._listens, f"{command[0]} listens on port {port}", 30)
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

    def anonymous(self) -> int:
        """Anonymous memory in bytes, children included."""
        total = 0
        for process in (self._watched, *self._watched.children(recursive=True)):
            status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
            found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
        return total

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
        """Until nobody is connected."""
        wait_until(lambda: not self._connections(psutil.CONN_ESTABLISHED), "nobody is connected any more")

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


def storescp(folder: Path) -> Server:
    """DCMTK's, a process for each association, writing to ``folder``."""
    folder.mkdir(parents=True)
    port = free_port()
    command = ["storescp", "--fork", "--output-directory", str(folder), str(port)]
    return Server(command, port, folder=folder, environment=DCMTK_ENVIRONMENT)


def sink(*options: str) -> Server:
    """DCMTK's ``storescp --ignore``: takes everything, keeps nothing."""
    port = free_port()
    return Server(["storescp", "--ignore", *options, str(port)], port, folder=None, environment=DCMTK_ENVIRONMENT)


def pynetdicom_scp(folder: Path) -> Server:
    """That of pynetdicom with default settings, writing to ``folder``."""
    folder.mkdir(parents=True)
    port = free_port()
    return Server([*_program("pynetdicom-scp"), str(port), str(folder)], port, folder=folder)


def _program(name: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.children", name]


_CONFIGURATION = """\
listen:
  ae_titles: any
  host: {host}
  port: {port}
  allow_any: true
  max_associations: 600
  max_associations_per_host: 600
spool: {{directory: {spool}}}
routes:
  - {{name: forward, when: {{calling_ae_title: "FORWARD*"}}, to: SINK, stop: true}}
  - {{name: keep, to: LATER}}
destinations:
  - name: SINK
    remote_ae_title: SINK
    remote_host: {host}
    remote_port: {sink}
    max_associations: 1
    deadlines: {{association: 5m, linger: 100ms}}
  - name: LATER
    remote_ae_title: LATER
    remote_host: {host}
    remote_port: {sink}
    only: "{another_day} 03:00-03:01"
http: {{enabled: false}}
log: {{format: json}}
"""


class Router(Server):
    """The program itself. It forwards what ``FORWARD…`` sends, and keeps the rest for another day."""

    def __init__(self, folder: Path, destination: Server) -> None:
        """Start it, with configuration, spool and log in ``folder``."""
        folder.mkdir(parents=True)
        port = free_port()
        configuration = folder / "router.yaml"
        configuration.write_text(
            _CONFIGURATION.format(
                host=HOST,
                port=port,
                spool=folder / "spool",
                sink=destination.port,
                another_day=(datetime.now(UTC) + timedelta(days=3)).strftime("%a"),
            ),
            "utf-8",
        )
        self._log = folder / "log"
        command = [sys.executable, "-m", "router", "run", "--config", str(configuration)]
        super().__init__(command, port, folder=folder / "spool" / "objects", log=self._log)
        self._read = self._log.open("rb")
        self._delivered: list[dict[str, Any]] = []

    def skip_log(self) -> None:
        """What was logged so far is of no interest."""
        self._read.seek(0, os.SEEK_END)
        self._delivered.clear()

    def delivered(self) -> int:
        """How many instances were answered with success since."""
        for line in self._read:
            if not line.endswith(b"\n"):
                self._read.seek(-len(line), os.SEEK_CUR)
                break
            if b'"C-STORE successful"' in line:
                self._delivered.append(json.loads(line))
        return len(self._delivered)

    def wait_delivered(self, count: int) -> float:
        """Until that many were. Returns when the last one was, in Unix time."""
        wait_until(lambda: self.delivered() >= count, f"{count} instances delivered")
        return _instant(self._delivered[-1])

    def delivered_as_stored(self) -> list[float]:
        """When those were that were not converted, in Unix time; after ``wait_delivered``."""
        return [_instant(each) for each in self._delivered if not each.get("converted")]


def _instant(logged: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(logged["timestamp"]).timestamp()


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender did."""

    began: float
    ended: float
    """Unix time."""
    cpu: float
    """CPU seconds."""


class Dcmsend:
    """DCMTK's sender, running.

    Its own log says when the association is asked for and when it is released: looking through the files, which it
    does before, is not counted.
    """

    _LOG = """\
log4cplus.rootLogger = WARN, console
log4cplus.logger.dcmtk.apps.dcmsend = INFO
log4cplus.appender.console = log4cplus::ConsoleAppender
log4cplus.appender.console.logToStdErr = true
log4cplus.appender.console.layout = log4cplus::PatternLayout
log4cplus.appender.console.layout.ConversionPattern = %D{%s.%q} %m%n
"""

    def __init__(self, port: int, files: Sequence[Path], calling_ae_title: str, scratch: Path) -> None:
        """Start it."""
        configuration = scratch / "dcmsend.cfg"
        if not configuration.exists():
            configuration.write_text(self._LOG, "utf-8")
        self._files = len(files)
        self._child = subprocess.Popen(
            [
                "dcmsend",
                "--log-config",
                str(configuration),
                "-aet",
                calling_ae_title,
                HOST,
                str(port),
                *map(str, files),
            ],
            stderr=subprocess.PIPE,
            env=DCMTK_ENVIRONMENT,
            text=True,
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet; ask before ``finish``."""
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def finish(self) -> Sent:
        """Wait for its end.

        Raises:
            BenchmarkError: not everything was stored.
        """
        assert self._child.stderr is not None
        said = self._child.stderr.read()
        self._child.stderr.close()
        _, status, usage = os.wait4(self._child.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        if not re.search(rf"with status SUCCESS\s+: {self._files}$", said, re.MULTILINE):
            raise BenchmarkError(f"dcmsend did not have all of its {self._files} objects stored:\n{said}")
        return Sent(
            _stamp(said, "negotiating network association"),
            _stamp(said, "Status Summary"),
            usage.ru_utime + usage.ru_stime,
        )


def _stamp(said: str, words: str) -> float:
    found = re.search(rf"^([\d.]+) {words}", said, re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"dcmsend did not say {words!r}:\n{said}")
    return float(found[1])


def send_by(program: str, port: int, files: Sequence[Path]) -> Sent:
    """Send by one of ``children``, to its end."""
    command = [*_program(program), str(port), *map(str, files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=REPOSITORY, check=True)
    said = json.loads(done.stdout)
    return Sent(0.0, said["seconds"], said["cpu"])


def versions() -> dict[str, str]:
    """Of the peers."""
    from importlib.metadata import version

    said = subprocess.run(["storescp", "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.search(r"storescp v(\S+)", said)
    return {"DCMTK": found[1] if found else "unknown", "pynetdicom": version("pynetdicom")}


def missing() -> str | None:
    """A sentence, if DCMTK is not here."""
    if shutil.which("storescp") and shutil.which("dcmsend"):
        return None
    return "DCMTK (storescp, dcmsend) is not on the PATH: install it (Debian: apt-get install dcmtk)"
