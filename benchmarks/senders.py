"""DCMTK's and pynetdicom's senders, and the router's own SCU: a process each, for one association."""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import DCMTK_ENVIRONMENT, HOST, REPOSITORY, BenchmarkError, program

_LOG = """\
log4cplus.rootLogger = WARN, console
log4cplus.logger.dcmtk.apps = INFO
log4cplus.appender.console = log4cplus::ConsoleAppender
log4cplus.appender.console.logToStdErr = true
log4cplus.appender.console.layout = log4cplus::PatternLayout
log4cplus.appender.console.layout.ConversionPattern = %D{%s.%q} %m%n
"""

DCMSEND, STORESCU = "dcmsend", "storescu"

_STEPS = {
    DCMSEND: ([], "negotiating network association", "Status Summary"),
    STORESCU: (["-R"], "Requesting Association", "Releasing Association"),
}
"""Options, and what each says when it asks for the association, and when it releases it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender did."""

    began: float
    """Unix time."""
    seconds: float
    cpu: float
    """Of its whole process, in seconds."""
    rss: int
    """At its highest, in bytes."""


class Dcmtk:
    """DCMTK's ``dcmsend`` or ``storescu``, running.

    Its own log says when the association is asked for and when it is released: looking through the files, which it
    does before, is not counted.
    """

    def __init__(self, which: str, port: int, files: Sequence[Path], calling_ae_title: str, scratch: Path) -> None:
        """Start it."""
        configuration = scratch / "dcmtk.cfg"
        if not configuration.exists():
            configuration.write_text(_LOG, "utf-8")
        self._which, self._files = which, files
        options, _, _ = _STEPS[which]
        command = [which, *options, "--log-config", str(configuration), "-aet", calling_ae_title, HOST, str(port)]
        self._child = subprocess.Popen(
            [*command, *map(str, files)], stderr=subprocess.PIPE, env=DCMTK_ENVIRONMENT, text=True
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
        stored = re.search(rf"with status SUCCESS\s+: {len(self._files)}$", said, re.MULTILINE)
        if self._child.returncode or (self._which == DCMSEND and not stored):
            raise BenchmarkError(f"{self._which} did not have all of its {len(self._files)} objects stored:\n{said}")
        _, first, last = _STEPS[self._which]
        began = _stamp(said, first)
        cpu = usage.ru_utime + usage.ru_stime
        return Sent(began, _stamp(said, last) - began, cpu, usage.ru_maxrss * 1024)


def _stamp(said: str, words: str) -> float:
    found = re.search(rf"^([\d.]+) {words}", said, re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"{words!r} was not said:\n{said}")
    return float(found[1])


def send_by(child: str, port: int, files: Sequence[Path]) -> Sent:
    """Send by one of ``children``, to its end."""
    command = [*program(child), str(port), *map(str, files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=REPOSITORY, check=True)
    return Sent(**json.loads(done.stdout))
