"""Asynchronous tests here run on trio's mock clock, unless they say otherwise; what needs threads says asyncio."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from trio.testing import MockClock

from tests.flow.world import Flow


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The event loop: trio, whose clock jumps to the next deadline when nobody has anything to do."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder in memory where the system has one: for thousands of commits."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def flow(folder: Path) -> Flow:
    """One router's way out; not open yet."""
    return Flow(folder / "spool")
