"""What a test gets: routers, PACS and modalities on free ports, all of them gone when it ends."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.daemon.program import Program
from tests.daemon.sinks import Pacs, Storescp

FreePort = Callable[[], int]
Both = tuple[Storescp, Pacs]


HERE = Path(__file__).parent
LIMIT = 60
"""Seconds: these tests start several processes, and on a busy machine the usual limit is soon over."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test of this folder has ``LIMIT``, unless it names its own."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT))


class Routers(Protocol):
    """Makes routers; keyword arguments are sections of the configuration."""

    def __call__(self, **sections: Any) -> Program:
        """Another one."""


class Pacses(Protocol):
    """Makes PACS on pynetdicom; keyword arguments are those of ``Pacs``."""

    def __call__(self, name: str = "PACS", *, up: bool = True, **more: Any) -> Pacs:
        """Another one, on a free port."""


class Storescps(Protocol):
    """Makes ``storescp`` processes."""

    def __call__(self, name: str = "DCMTK") -> Storescp:
        """Another one, on a free port."""


@pytest.fixture
def routers(tmp_path: Path, free_port: FreePort) -> Iterator[Routers]:
    """Makes routers that are not started yet. One that still runs at the end has to end in order when asked."""
    with ExitStack() as ending:

        def make(**sections: Any) -> Program:
            folder = tmp_path / f"router-{next(numbers)}"
            return ending.enter_context(Program(folder, free_port(), **sections))

        numbers = count(1)
        yield make


@pytest.fixture
def start(routers: Routers) -> Routers:
    """Makes routers, and starts them."""

    def start(**sections: Any) -> Program:
        program = routers(**sections)
        program.start()
        return program

    return start


@pytest.fixture
def pacs(free_port: FreePort) -> Iterator[Pacses]:
    """Makes PACS on pynetdicom, and starts them; ``up=False`` leaves that to the test."""
    with ExitStack() as ending:

        def make(name: str = "PACS", *, up: bool = True, **more: Any) -> Pacs:
            one = Pacs(free_port(), name, **more)
            if up:
                one.start()
            ending.callback(one.stop)
            return one

        yield make


@pytest.fixture
def storescp(tmp_path: Path, free_port: FreePort, dcmtk: Callable[[str], Path]) -> Iterator[Storescps]:
    """Makes ``storescp`` processes, and starts them."""
    with ExitStack() as ending:

        def make(name: str = "DCMTK") -> Storescp:
            one = Storescp(dcmtk("storescp"), tmp_path / name, free_port(), name)
            one.start()
            ending.callback(one.stop)
            return one

        yield make


@pytest.fixture
def both(storescp: Storescps, pacs: Pacses) -> Both:
    """A DCMTK and a pynetdicom PACS."""
    return storescp(), pacs()
