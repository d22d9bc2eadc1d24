"""A connection of its own that only reads, for questions that must not wait for the writer, nor it for them."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from anyio import Lock

from router.durable.queue import QueueError
from router.durable.runner import Runner
from router.durable.values import Value


class Reading:
    """Reads the file at ``path``, which its writer has opened before."""

    def __init__(self, path: Path, runner: Runner, *, name: str) -> None:
        """A reader.

        Args:
            path: of the file.
            runner: where statements run.
            name: of the file, in sentences.
        """
        self._path = path
        self._runner = runner
        self._name = name
        self._turn = Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Connect.

        Raises:
            QueueError: there is no such file.
        """
        try:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", timeout=5, uri=True, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA query_only=1")
            connection.execute("PRAGMA mmap_size=0")
        except sqlite3.Error as error:
            raise QueueError(f"the {self._name} {self._path} cannot be read: {error}") from error
        self._connection = connection

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def fetch(self, statement: str, values: Mapping[str, Value] | None = None) -> Sequence[sqlite3.Row]:
        """All rows of a statement. Blocks.

        Raises:
            QueueError: it is not open, or cannot be read.
        """
        if self._connection is None:
            raise QueueError(f"the {self._name} {self._path} is not open")
        try:
            return self._connection.execute(statement, values or {}).fetchall()
        except sqlite3.Error as error:
            raise QueueError(f"the {self._name} {self._path} cannot be read: {error}") from error

    async def ask(self, statement: str, values: Mapping[str, Value]) -> Sequence[sqlite3.Row]:
        """As ``fetch``, where statements run; several who ask take turns."""
        async with self._turn:
            return await self._runner(lambda: self.fetch(statement, values))
