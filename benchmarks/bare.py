"""What the machine alone can do: the system calls of an acceptance in a loop, and the bytes over loopback."""

import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from benchmarks.objects import Series
from benchmarks.peers import HOST, make_durable

IN_MEMORY = 64_000_000
"""Bytes of files that are kept to be written again and again."""


def contents(series: Series) -> list[bytes]:
    """Some of its files, so that nothing is read while time is taken."""
    return [file.read_bytes() for file in series.files[: max(1, IN_MEMORY // series.size)]]


def accept(folder: Path, contents: Sequence[bytes], count: int, concurrency: int) -> tuple[float, float]:
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
        return _in_threads(accept, count, concurrency)
    finally:
        connection.close()
        shutil.rmtree(folder)
        make_durable(folder.parent)


def copy(port: int, contents: Sequence[bytes], count: int, connections: int) -> tuple[float, float]:
    """Send the same bytes to ``children.tcp_sink``, over so many connections, each answered at its end.

    Returns:
        Seconds, and CPU seconds of the sender.
    """

    def send(numbers: range) -> None:
        with socket.create_connection((HOST, port)) as connection:
            for number in numbers:
                connection.sendall(contents[number % len(contents)])
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b"."

    return _in_threads(send, count, connections)


def _in_threads(do: Callable[[range], None], count: int, concurrency: int) -> tuple[float, float]:
    with ThreadPoolExecutor(concurrency) as threads:
        began, cpu = time.monotonic(), time.process_time()
        for done in [threads.submit(do, range(first, count, concurrency)) for first in range(concurrency)]:
            done.result()
        return time.monotonic() - began, time.process_time() - cpu
