"""Every asynchronous test here runs twice: with the thread runner on asyncio, and inline on trio."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from router.durable.sqlite import in_thread, inline
from tests.durable.world import World


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop; the runner goes with it."""
    name: str = request.param
    return name


@pytest.fixture
def world(folder: Path, anyio_backend: str) -> World:
    """A spool and a queue in an empty folder; not open yet."""
    return World(folder / "spool", inline if anyio_backend == "trio" else in_thread)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder in memory where the system has one: for hundreds of starts, each with its fsyncs."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)
