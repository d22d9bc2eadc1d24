"""The log: events as lines on a stream, written by one thread."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, TextIO

import structlog

from router.journal.events import Event, Level, LinesLost
from router.journal.record import Uids, plain, record

BATCH_SECONDS = 0.02
"""How long the log may be behind: a thread that wakes for each line takes the interpreter from those who answer."""


class Lines:
    """The log: one line per event, written by one thread from a bounded queue.

    A blocked or closed pipe stops nothing: what finds no room is dropped and counted, and the count is written with
    the next line that finds room.
    """

    SEVERITY: ClassVar[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

    def __init__(
        self,
        stream: TextIO,
        *,
        key: bytes,
        level: Level = "info",
        json: bool = True,
        uids: Uids = "hash",
        clock: Callable[[], datetime],
        room: int = 10_000,
    ) -> None:
        self._stream = stream
        self._key = key
        self._threshold = self.SEVERITY[level]
        self._uids: Uids = uids
        self._clock = clock
        self._waiting: queue.Queue[tuple[datetime, Event] | None] = queue.Queue(room)
        # Each is counted by one thread alone.
        self._without_room = 0
        self._unwritten = 0
        self._render: Callable[[Any, str, dict[str, Any]], str | bytes] = (
            structlog.processors.JSONRenderer(default=plain, ensure_ascii=False)
            if json
            else structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=32)
        )
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that found no room, or could not be written."""
        return self._without_room + self._unwritten

    def __call__(self, event: Event) -> None:
        """Queue the event's line. Never blocks."""
        if self.SEVERITY[event.level] < self._threshold:
            return
        try:
            self._waiting.put_nowait((self._clock(), event))
        except queue.Full:
            self._without_room += 1

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most ``seconds``."""
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _write(self) -> None:
        told = 0
        while (waiting := self._waiting.get()) is not None:
            if (lost := self.dropped) > told:
                sentence = f"{lost - told} lines found no room or were not written"
                self._print(waiting[0], LinesLost(error=sentence))
                told = lost
            self._print(*waiting)
            if self._waiting.empty():
                # While nobody waits for the next line, putting it costs no change of threads: lines come in batches.
                time.sleep(BATCH_SECONDS)

    def _print(self, instant: datetime, event: Event) -> None:
        line = record(event, now=instant, key=self._key, uids=self._uids)
        try:
            print(self._render(None, "", line), file=self._stream, flush=self._waiting.empty())
        except (OSError, ValueError):
            # The pipe is closed: routing goes on, and the loss is counted.
            self._unwritten += 1
