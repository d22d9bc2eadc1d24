"""The commands as users run them: child processes of this interpreter."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

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


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    """A daemon's API, with four deliveries in the queue."""
    async with served(tmp_path) as running:
        yield running
