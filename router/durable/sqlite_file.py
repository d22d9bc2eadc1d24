"""One SQLite file: what it is for, how it is opened, and when it is damaged."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from router.durable.queue import QueueError
from router.durable.values import script

APPLICATION = 0x44434D52
"""The queue's ``application_id`` for SQLite: «DCMR»."""
MIGRATIONS = ("schema.sql",)
"""The N-th script leads from version N to N + 1."""
_PRAGMAS = (
    "journal_mode=WAL",
    "wal_autocheckpoint=0",
    "journal_size_limit=67108864",  # the log is cut to this when it starts again
    "mmap_size=0",  # a truncated file would kill the program
    "foreign_keys=ON",
    "synchronous=FULL",
)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Primary result codes that speak of the file, not of the disk or of a statement."""
_COMPANIONS = ("", "-wal", "-shm")


class DamagedError(QueueError):
    """The file is no database any more: set it aside and begin a new one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is for."""

    name: str
    """In sentences."""
    application: int
    """SQLite's ``application_id``."""
    migrations: tuple[str, ...]
    """The N-th script leads from version N to N + 1."""
    checked: bool
    """Whether every page is looked at when it is opened: about two seconds for a GB."""
    remedy: str
    """What to do when it cannot be opened."""
    settings: tuple[str, ...] = ()
    """Further pragmas, for a new file."""


QUEUE = Kind(
    "queue", APPLICATION, MIGRATIONS, checked=True, remedy="the payloads in the spool are adopted into a new one"
)


def opened(path: Path, kind: Kind, first: Callable[[sqlite3.Connection], object]) -> tuple[sqlite3.Connection, bool]:
    """Open or create the file, bring its schema to our version, and execute the first statements.

    Returns:
        The connection, and whether the file is new.

    Raises:
        DamagedError: the file is no database, or one of its pages is damaged.
        QueueError: it is not ours, from a newer version, or the disk fails.
    """
    try:
        connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            new = _check(connection, path, kind)
            for pragma in (*kind.settings, *_PRAGMAS):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            _migrate(connection, kind)
            first(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        if is_damage(error):
            raise DamagedError(f"the {kind.name} {path} is damaged: {error}") from error
        raise QueueError(
            f"the {kind.name} {path} cannot be opened: {error}. If the disk is sound, move the file aside: "
            f"{kind.remedy}"
        ) from error
    return connection, new


def set_aside(path: Path, now: datetime) -> Path:
    """Give a damaged file another name, for whoever wants to look at it. Returns that name.

    Raises:
        QueueError: the disk fails; whoever opens the file next finds the damage again.
    """
    aside = path.with_name(f"{path.name}.damaged-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    # The database first: a log without its database is removed by SQLite, the reverse would be an older state.
    try:
        for companion in _COMPANIONS:
            with suppress(FileNotFoundError):
                path.with_name(path.name + companion).replace(f"{aside}{companion}")
    except OSError as error:
        raise QueueError(f"the damaged {path} cannot be moved aside: {error.strerror}. See to the disk") from error
    return aside


def is_damage(error: Exception) -> bool:
    """Whether an error of SQLite says that the file is no database, or not any more."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _check(connection: sqlite3.Connection, path: Path, kind: Kind) -> bool:
    """Whether the file is new."""
    application = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != kind.application and (application or version or tables):
        raise QueueError(f"{path} is not a {kind.name} of dicom-router: name another spool directory")
    if version > len(kind.migrations):
        raise QueueError(
            f"the {kind.name} {path} was written by a newer dicom-router (schema {version}, this one knows "
            f"{len(kind.migrations)}): install that version or a later one"
        )
    if kind.checked and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise DamagedError(f"the {kind.name} {path} is damaged: {found}")
    return not version


def _migrate(connection: sqlite3.Connection, kind: Kind) -> None:
    for version in range(_pragma(connection, "user_version"), len(kind.migrations)):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script(kind.migrations[version])}\n"
            f"PRAGMA application_id = {kind.application};\nPRAGMA user_version = {version + 1};\nCOMMIT;"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    assert isinstance(value, int)
    return value
