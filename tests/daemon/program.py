"""The real program as a child process: start, stop, kill, signal it; read its log; ask its API."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Self, TextIO

from router.cli.client import Client
from tests.daemon.objects import Object, read_all
from tests.daemon.waiting import PATIENCE, until

Line = Mapping[str, Any]


class Program:
    """``python -m router run`` in a folder of its own. Its log goes on over restarts."""

    def __init__(self, folder: Path, port: int, **sections: Any) -> None:
        """A router that has not been started.

        Args:
            folder: for configuration and spool; it is made.
            port: where it listens.
            sections: of the configuration, on top of a listener that takes everybody.
        """
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = port
        self.path = folder / "router.yaml"
        self.spool = Path(sections.get("spool", {}).get("directory", folder / "spool"))
        self.lines: list[Line] = []
        """Of the log, in order."""
        self.module: Sequence[str] = ("router",)
        """What Python runs, with arguments of its own."""
        self.handed_over: Sequence[int] = ()
        """Descriptors that the process gets beside the standard ones."""
        self.words: list[str] = []
        """On standard error that are no lines of the log."""
        self.client = Client(self.spool / "dicom-router.sock", self.path)
        self._process: subprocess.Popen[str] | None = None
        self._reader = Thread()
        self.configure(**sections)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """If it runs still, it has to end in order when asked."""
        try:
            code = self.stop() if self.running else 0
        finally:
            self.kill()
            (self.spool / "ballast").unlink(missing_ok=True)  # pytest keeps the folders of the last runs
        assert not self.words, "only lines of the log belong on standard error:\n" + "".join(self.words)
        assert code == 0, "a router that is asked to end does so in order"

    def configure(self, **sections: Any) -> None:
        """Write the configuration; the daemon takes it over when it starts or reloads."""
        written = sections.pop("listen", {})
        listeners = [
            {"host": "127.0.0.1", "port": self.port, "allow_any": True, **each}
            for each in (written if isinstance(written, list) else [written])
        ]
        configuration = {
            "listen": listeners,
            "spool": {"directory": str(self.spool), **sections.pop("spool", {})},
            "log": {"level": "debug", "uids": "plain", **sections.pop("log", {})},
            "http": {"enabled": False},
            "drain": "5s",
            **sections,
        }
        # JSON is YAML too.
        self.path.write_text(json.dumps(configuration, indent=2))

    # The process

    def launch(self) -> None:
        """Start the process, and do not wait until it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self.module, "run", "--config", str(self.path)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=self.handed_over,
        )
        assert self._process.stderr is not None, "it is a pipe"
        self._reader = Thread(target=self._read, args=(self._process.stderr,))
        self._reader.start()

    def start(self) -> None:
        """Start, and wait until its ports are open."""
        before = len(self.lines)
        self.launch()
        until(lambda: self.find("started", since=before) or not self.running, "a router that has started")
        assert self.running, self.words

    @property
    def process(self) -> subprocess.Popen[str]:
        """The latest one."""
        assert self._process is not None, "it was never started"
        return self._process

    def has_its_spool(self) -> bool:
        """Whether the process has come to the point where it locks the spool, and begins to recover."""
        try:
            return (self.spool / "lock").read_text() == f"{self.process.pid}\n"
        except FileNotFoundError:
            return False

    @property
    def running(self) -> bool:
        """Whether there is a process that lives."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self, within: float = PATIENCE) -> int:
        """Wait until it has ended by itself: its exit code, or the number of the signal that ended it, negative."""
        code = self.process.wait(within)
        self._reader.join()
        return code

    def kill(self) -> None:
        """SIGKILL, if it runs: it gets no chance to put anything in order."""
        if self.running:
            self.process.kill()
            self.ended()

    def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def _read(self, stream: TextIO) -> None:
        with stream:
            for line in stream:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.words.append(line)

    # Its log

    def find(self, event: str | None = None, *, since: int = 0, **fields: Any) -> Sequence[Line]:
        """The lines of an event (None: of any) with these fields, from line number ``since`` on."""
        return [
            line
            for line in self.lines[since:]
            if event in {None, line["event"]} and all(line.get(name) == value for name, value in fields.items())
        ]

    def wait_for(self, event: str, times: int = 1, *, since: int = 0, **fields: Any) -> Sequence[Line]:
        """Wait until an event was logged so many times."""

        def enough() -> Sequence[Line]:
            found = self.find(event, since=since, **fields)
            return found if len(found) >= times else []

        return until(enough, f"{times} × {event!r} with {fields} in the log; last: {list(self.lines[-3:])}")

    # What it has

    def spooled(self) -> list[Object]:
        """The objects in its spool."""
        return read_all(self.spool.glob("objects/**/*.dcm"))

    def status(self) -> Mapping[str, Any]:
        """How each destination stands, by name."""
        answer = self.client.get("/api/status")
        return {each["name"]: each for each in answer["destinations"]}

    def tally(self, destination: str) -> Mapping[str, int]:
        """How many of its deliveries are in which state."""
        standing = self.status().get(destination, {"deliveries": {}})
        return {state: amount["deliveries"] for state, amount in standing["deliveries"].items()}

    def waiting(self) -> int:
        """Deliveries that are still open."""
        tallies = [self.tally(name) for name in self.status()]
        return sum(tally.get(state, 0) for tally in tallies for state in ("queued", "in flight", "held"))

    def until_delivered(self, within: float = PATIENCE) -> None:
        """Wait until nothing is open any more."""
        try:
            until(lambda: not self.waiting(), "an empty queue", within)
        except AssertionError as late:
            trouble = [line for line in self.lines if line["level"] in {"warning", "error"}]
            late.add_note("\n".join(map(str, [*trouble[-5:], self.status()])))
            raise
