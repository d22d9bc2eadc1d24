"""What the queue knows of payloads, read from its file: beside a running daemon, or without one. Blocks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.durable.queue import QueueError
from router.durable.reading import Reading
from router.durable.runner import inline
from router.durable.values import statements

_SQL = statements("census.sql")

ASKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class PayloadRow:
    """What the queue says of one payload."""

    path: str
    size: int
    digest: str


class Census:
    """The queue in the file at ``path``; nothing is changed in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = Reading(path, inline, name="queue")

    def open(self) -> None:
        """Connect, and look at every page.

        Raises:
            QueueError: there is no such file, or it is damaged.
        """
        self._reading.open()
        ((found,),) = self._reading.fetch(_SQL["sound"])
        if found != "ok":
            raise QueueError(f"the queue {self._path} is damaged: {found}")

    def close(self) -> None:
        """Disconnect."""
        self._reading.close()

    def rows(self, ulids: Sequence[str]) -> Mapping[str, PayloadRow]:
        """By ULID, for those that have one."""
        rows = self._reading.fetch(_SQL["of_payloads"], {"ulids": json.dumps(ulids)})
        return {row["ulid"]: PayloadRow(row["path"], row["size"], row["digest"]) for row in rows}

    def needed(self) -> Iterator[str]:
        """The paths of all payloads that somebody has a claim on (S4, S5)."""
        wanted = {"ulid": None, "after": 0, "limit": ASKED_AT_ONCE}
        while rows := self._reading.fetch(_SQL["needed"], wanted):
            yield from (row["path"] for row in rows)
            wanted["after"] = rows[-1]["id"]

    def needs(self, ulid: str) -> bool:
        """Whether somebody has a claim on the payload of this instance."""
        return bool(self._reading.fetch(_SQL["needed"], {"ulid": ulid, "after": 0, "limit": 1}))
