"""What a test of faults gets: everything that the tests of the real program get, and disks of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom

import pytest

from tests.daemon.conftest import both, pacs, routers, start, storescp
from tests.faults.filesystem import FileSystem, Kind

__all__ = ["both", "pacs", "routers", "start", "storescp"]

MiB = 1 << 20

MakeFileSystem = Callable[..., FileSystem]


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[MakeFileSystem]:
    """Makes file systems; the smallest of their kind unless a size is given."""
    with ExitStack() as ending:

        def make(kind: Kind = Kind.EXT4, size: int = 0) -> FileSystem:
            smallest = {Kind.EXT4: 64 * MiB, Kind.XFS: 300 * MiB}
            return ending.enter_context(FileSystem(tmp_path, kind, size or smallest[kind]))

        yield make


@pytest.fixture
def chance() -> Random:
    """Of this run; pytest shows the seed when the test fails."""
    seed = SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201
    return Random(seed)
