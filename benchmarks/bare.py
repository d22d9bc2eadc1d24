"""What the disk alone can do: the system calls of an acceptance in a loop, with nothing around them."""

import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from benchmarks.peers import make_durable


def accept_bare(folder: Path, contents: Sequence[bytes], count: int, concurrency: int) -> tuple[float, float]:
    """Write, fsync, rename, fsync the directory, commit one row (WAL, FULL); ``count`` times, in so many threads.

    Returns:
        Seconds, and CPU seconds.
    """
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "queue.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE instance (path TEXT NOT NULL)")
    committing = Lock()

    def accept(numbers: range) -> None:
        for number in numbers:
            part, final = folder / f"{number}.part", folder / f"{number}.dcm"
            file = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(file, contents[number % len(contents)])
            os.fsync(file)
            os.close(file)
            part.rename(final)
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(directory)
            os.close(directory)
            with committing:
                connection.execute("INSERT INTO instance VALUES (?)", [str(final)])

    try:
        with ThreadPoolExecutor(concurrency) as threads:
            began, cpu = time.monotonic(), time.process_time()
            for done in [threads.submit(accept, range(first, count, concurrency)) for first in range(concurrency)]:
                done.result()
            return time.monotonic() - began, time.process_time() - cpu
    finally:
        connection.close()
        shutil.rmtree(folder)
        make_durable(folder.parent)
