"""The router itself: the whole program, as its users start it."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from benchmarks.peers import HOST, Server, Tail, free_port, wait_until

FORWARD, BROADCAST, HOLD = "FORWARD", "BROADCAST", "HOLD"
"""What a calling AE title begins with whose objects go to the first destination, to all, or wait for another day."""

ANOTHER_DAY = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")

_CONFIGURATION = """\
listen:
  ae_titles: any
  host: {host}
  port: {port}
  allow_any: true
  max_associations: 1100
  max_associations_per_host: 1100
spool: {{directory: {spool}}}
routes:
{routes}  - {{name: keep, to: LATER}}
destinations:
{destinations}  - name: LATER
    remote_ae_title: LATER
    remote_host: {host}
    remote_port: 9
    only: "{another_day} 03:00-03:01"
http: {{enabled: false}}
log: {{format: json}}
"""

_ROUTES = """\
  - {{name: forward, when: {{calling_ae_title: "FORWARD*"}}, to: SINK1, stop: true}}
  - {{name: broadcast, when: {{calling_ae_title: "BROADCAST*"}}, to: [{sinks}], stop: true}}
"""

_DESTINATION = """\
  - name: {name}
    remote_ae_title: {name}
    remote_host: {host}
    remote_port: {port}
    max_associations: 1
    deadlines: {{association: 5m, linger: 100ms}}
"""

_numbers = count()


def another(title: str) -> str:
    """A calling AE title of its own: the same objects from the same sender would be taken for a loop."""
    return f"{title}{next(_numbers)}"


class Listening(Protocol):
    """A sink, or what stands before one."""

    port: int


class Router(Server):
    """It forwards what ``FORWARD…`` sends to its first destination, ``BROADCAST…`` to all, and keeps the rest."""

    def __init__(self, folder: Path, sinks: Sequence[Listening], idle: int = 0) -> None:
        """Start it, with configuration, spool and log in ``folder``, and so many destinations that get nothing."""
        folder.mkdir(parents=True)
        port = free_port()
        names = [f"SINK{number}" for number in range(1, len(sinks) + 1)]
        destinations = [
            _DESTINATION.format(name=name, host=HOST, port=sink.port) for name, sink in zip(names, sinks, strict=True)
        ]
        destinations += [_DESTINATION.format(name=f"IDLE{number}", host=HOST, port=9) for number in range(idle)]
        configuration = folder / "router.yaml"
        configuration.write_text(
            _CONFIGURATION.format(
                host=HOST,
                port=port,
                spool=folder / "spool",
                routes=_ROUTES.format(sinks=", ".join(names)) if sinks else "",
                destinations="".join(destinations),
                another_day=ANOTHER_DAY,
            ),
            "utf-8",
        )
        log = folder / "log"
        command = [sys.executable, "-m", "router", "run", "--config", str(configuration)]
        super().__init__(command, port, folder=folder / "spool" / "objects", log=log)
        self._tail = Tail(log)
        self._delivered: list[dict[str, Any]] = []

    def skip_log(self) -> None:
        """What was logged so far is of no interest."""
        self._tail.skip()
        self._delivered.clear()

    def delivered(self) -> int:
        """How many deliveries were answered with success since."""
        for line in self._tail.lines():
            if b'"C-STORE successful"' in line:
                self._delivered.append(json.loads(line))
        return len(self._delivered)

    def wait_delivered(self, deliveries: int) -> float:
        """Until that many were. Returns when the last one was, in Unix time."""
        wait_until(lambda: self.delivered() >= deliveries, f"{deliveries} instances delivered")
        return max(map(_instant, self._delivered))

    def delivered_as_stored(self) -> list[float]:
        """When those were that were not converted, in Unix time; after ``wait_delivered``."""
        return [_instant(each) for each in self._delivered if not each.get("converted")]


def _instant(logged: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(logged["timestamp"]).timestamp()
