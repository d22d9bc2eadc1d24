"""The commands as users run them: child processes of this interpreter; and in this very process, where many are run."""

import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from typer.testing import CliRunner

from router.cli import app
from router.cli.output import CommandError
from tests.admin.served import Served, served

HOUSE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    talk: str


Run = Callable[..., Awaitable[Ended]]


@pytest.fixture(scope="session")
def router() -> Run:
    """Runs one command to its end, and gives what it left."""

    async def run(*words: object, cwd: Path | None = None, **environment: str) -> Ended:
        ended = await anyio.run_process(
            [sys.executable, "-m", "router", *map(str, words)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(HOUSE), "COLUMNS": "200", **environment},
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return run


async def invoked(line: str, *, typed: str = "") -> Ended:
    """What a command line left that was run in this process; ``typed`` is standard input."""
    words = shlex.split(line)
    result = await to_thread.run_sync(lambda: CliRunner().invoke(app, words, input=typed, env={"COLUMNS": "200"}))
    if isinstance(result.exception, CommandError):
        return Ended(result.exception.code, result.stdout, f"{result.exception}\n")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


class Here:
    """Runs commands in this process, and has them ask the daemon behind a socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def __call__(self, line: str, *, typed: str = "") -> Ended:
        """What a command line left."""
        return await invoked(f"{line} --socket {self._socket}", typed=typed)


@pytest.fixture
def here(api: Served) -> Here:
    """Runs commands in this process."""
    return Here(api.socket)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    """A daemon's API, with four deliveries in the queue."""
    async with served(tmp_path) as running:
        yield running
