"""Modalities that do not give up: whatever has no answer is sent again."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self

from tests.daemon.modality import LostError, Modality, RejectedError
from tests.daemon.objects import Object, made
from tests.daemon.waiting import PATIENCE, until

ASSOCIATIONS = 3
AT_ONCE = 10
"""Files that storescu is given."""
PIXELS = (512, 4096, 40_960)
"""Bytes of pixel data: objects of one PDU and of several."""

_ANSWER = re.compile(r"Sending file: \S*/(\d+)\.dcm|Received Store Response \((\w+)")


class Load:
    """Our own SCU on several associations, and DCMTK's ``storescu``; they remember what was answered 0000H."""

    def __init__(self, port: int, storescu: Path, folder: Path, *, first: int = 1) -> None:
        """A load that has not begun.

        Args:
            port: of the router.
            storescu: the program.
            folder: for its files.
            first: number of its objects; no other load may send the same.
        """
        self._port = port
        options = ["-v", "-R", "-aet", "STORESCU", "-aec", "ROUTER"]
        self._command = [str(storescu), *options, "127.0.0.1", str(port)]
        self._folder = folder
        self.next = first
        """Number of the object that is sent next."""
        self._enough = Event()
        self._in_vain = Event()
        self._lock = Lock()
        self.promised: list[Object] = []
        """Those that were answered 0000H."""
        self.odd: list[str] = []
        """Answers that were none: a test has to find none."""
        targets = [self._send] * ASSOCIATIONS + [self._send_by_storescu]
        self._threads = [Thread(target=target) for target in targets]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send nothing new, and wait until all that was begun is answered for: never, perhaps, if a test has failed."""
        self._enough.set()
        if kind is not None:
            self._in_vain.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, promised: int, within: float = PATIENCE) -> None:
        """Until so many have been answered 0000H."""
        until(lambda: len(self.promised) >= promised, f"{promised} answers", within)

    def _next(self) -> Object:
        with self._lock:
            number, self.next = self.next, self.next + 1
        return made(number, pixels=PIXELS[number % len(PIXELS)])

    def _send(self) -> None:
        """One object after the other; each until it is answered, over as many associations as it takes."""
        associations = self._associations()
        while not self._enough.is_set():
            sent = self._next()
            status: int | None = None
            while status is None and not self._in_vain.is_set():
                with suppress(LostError):
                    status = next(associations).store(sent)
            if status is not None:
                self._note(sent, f"{status:04X}H")

    def _associations(self) -> Iterator[Modality]:
        """The association that is open, or, if the last C-STORE on it found it lost, another one."""
        while True:
            try:
                with Modality(self._port, [made().pair]) as modality:
                    while not modality.lost:
                        yield modality
            except (LostError, RejectedError) as refused:
                if self._in_vain.wait(0.02):
                    raise LostError("given up") from refused

    def _send_by_storescu(self) -> None:
        while not self._enough.is_set():
            waiting = {str(number): self._next() for number in range(AT_ONCE)}
            while waiting and not self._in_vain.is_set():
                files = [sent.write(self._folder / f"{number}.dcm") for number, sent in waiting.items()]
                ended = subprocess.run(
                    [*self._command, *files], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
                )
                number = ""
                for line in _ANSWER.finditer(ended.stdout + ended.stderr):
                    number = line[1] or number
                    if line[2]:
                        self._note(waiting.pop(number), "0000H" if line[2] == "Success" else line[2])

    def _note(self, sent: Object, answer: str) -> None:
        with self._lock:
            if answer == "0000H":
                self.promised.append(sent)
            else:
                self.odd.append(answer)
