"""A look at the whole spool that changes nothing: every payload's digest, and whether queue and payloads agree."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path, PurePosixPath

from xxhash import xxh3_128

from router.dicom import part10
from router.durable.census import ASKED_AT_ONCE, Census, PayloadRow
from router.durable.queue import QueueError
from router.durable.spool import Spool

_READ_AT_ONCE = 1 << 20


class Flaw(StrEnum):
    """What can be wrong."""

    DAMAGED = "payload damaged"
    WITHOUT_ROW = "payload without row"
    WITHOUT_PAYLOAD = "row without payload"
    QUEUE = "queue unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    flaw: Flaw
    path: str
    """Relative to the spool."""
    error: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was looked at, and what was found."""

    payloads: int
    size: int
    """Bytes."""
    findings: tuple[Finding, ...]


class Inspector:
    """Looks at one spool; a daemon may be at work on it."""

    def __init__(self, spool: Spool, census: Census, *, pause: Callable[[], None], seen: Callable[[int], None]) -> None:
        """An inspector.

        Args:
            spool: not opened, as its lock may be somebody else's.
            census: of its queue, not opened.
            pause: waits for as long as a daemon may take between a payload and its row.
            seen: told the bytes of each payload that was looked at.
        """
        self._spool = spool
        self._census = census
        self._pause = pause
        self._seen = seen
        self._payloads = self._size = 0
        self._strays: list[PurePosixPath] = []

    def inspect(self) -> Inspection:
        """Look at everything. Blocking.

        Raises:
            OSError: there is no spool, or it cannot be read.
        """
        findings = list(self._findings())
        return Inspection(self._payloads, self._size, tuple(findings))

    def _findings(self) -> Iterator[Finding]:
        try:
            self._census.open()
        except QueueError as error:
            yield Finding(Flaw.QUEUE, "queue.db", f"{error}. The next start makes a new one")
            yield from self._damaged(known=False)
            return
        try:
            yield from self._damaged(known=True)
            missing = [path for path in map(PurePosixPath, self._census.needed()) if not self._exists(path)]
            if self._strays or missing:
                # What came or went meanwhile is no flaw.
                self._pause()
            yield from self._without_row()
            yield from self._without_payload(missing)
        finally:
            self._census.close()

    def _damaged(self, *, known: bool) -> Iterator[Finding]:
        payloads = self._spool.payloads()
        while paths := list(islice(payloads, ASKED_AT_ONCE)):
            rows = self._census.rows([path.stem for path in paths]) if known else {}
            for path in paths:
                row = rows.get(path.stem)
                if known and row is None:
                    self._strays.append(path)
                try:
                    error = self._flaw(path, row)
                except FileNotFoundError:
                    continue  # removed just now; if it was still needed, that is found below
                except (OSError, part10.Part10Error) as unreadable:
                    error = str(unreadable)
                if error:
                    yield Finding(Flaw.DAMAGED, str(path), error)

    def _flaw(self, path: PurePosixPath, row: PayloadRow | None) -> str:
        absolute = self._spool.absolute(path)
        size = absolute.stat().st_size
        self._payloads += 1
        self._size += size
        self._seen(size)
        meta = part10.read_meta(absolute)
        digest = _digest(absolute, meta.header_size)
        if row is not None and row.size != size:
            return f"it has {size} bytes in place of {row.size}"
        if digest != meta.digest or (row is not None and digest != row.digest):
            return "its digest is not that of what was received"
        return ""

    def _without_row(self) -> Iterator[Finding]:
        for path in self._strays:
            if path.stem not in self._census.rows([path.stem]) and self._exists(path):
                yield Finding(Flaw.WITHOUT_ROW, str(path), "the queue does not know it: the next start adopts it")

    def _without_payload(self, missing: list[PurePosixPath]) -> Iterator[Finding]:
        for path in missing:
            if self._census.needs(path.stem) and not self._exists(path):
                error = "it is owed or kept, but it is gone: the next start makes it a dead letter; see to the disk"
                yield Finding(Flaw.WITHOUT_PAYLOAD, str(path), error)

    def _exists(self, path: PurePosixPath) -> bool:
        return self._spool.absolute(path).exists()


def _digest(path: Path, begin: int) -> str:
    digest = xxh3_128()
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        while block := file.read(_READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()
