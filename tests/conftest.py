"""What every test may stand on: one event loop, a guard against blocking it, free ports, DCMTK."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial, partialmethod
from pathlib import Path
from socketserver import BaseServer

import pytest
from blockbuster import BlockBuster, BlockBusterFunction
from hypothesis import settings

pytest_plugins = ("tests.rings", "tests.faults.matrix")

BLOCKING_CALLS = ("os.fsync", "os.fdatasync", "os.open", "io.open", "builtins.open", "socket.getaddrinfo")
"""What may wait for a disk or a name server, beside what blockbuster knows by itself."""

LAZY_IMPORTS = (
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),
    ("coverage/control.py", {"_should_trace"}),
    ("coverage/python.py", {"read_python_source"}),
)
"""Who may open a file all the same: the import of a module, and coverage when it meets a module for the first time."""


def loop_guard() -> BlockBuster:
    """Whatever ``router`` does on the thread of a running asyncio loop that may block raises ``BlockingError``.

    Code of the tests themselves, other threads, and trio's loop are not judged.
    """
    guarded = partial(BlockBusterFunction, None, scanned_modules="router")
    guard = BlockBuster("router")
    for call in BLOCKING_CALLS:
        guard.functions[call] = guarded(call, can_block_functions=list(LAZY_IMPORTS))
    # What others do while our code runs: coverage swaps its data, and anyio starts a worker process.
    guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
    guard.functions["io.open"].can_block_in("/subprocess.py", {"__init__"})
    guard.functions["os.writev"] = guarded("os.writev", can_block_predicate=lambda fd, *_: not os.get_blocking(fd))
    return guard


_GUARD = loop_guard()

settings.register_profile("suite", deadline=None)  # a slow machine is not a bug; pytest-timeout ends what hangs
settings.load_profile("suite")


def pytest_configure() -> None:
    """Guard before ``router`` is imported: it may keep a reference to a system call, and that must be a guarded one."""
    _GUARD.activate()


def pytest_unconfigure() -> None:
    """Leave the interpreter as it was."""
    _GUARD.deactivate()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests run on asyncio; one that wants trio's mock clock parametrizes this fixture."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def prompt_servers() -> Iterator[None]:
    """PACS on pynetdicom go down when they are told to: by default they look for that only every 0.5 s."""
    from pynetdicom.transport import AssociationServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociationServer, "serve_forever", partialmethod(BaseServer.serve_forever, poll_interval=0.01))
        yield


@pytest.fixture(scope="session")
def free_port() -> Iterator[Callable[[], int]]:
    """Gives TCP ports that nobody listens on."""
    with ExitStack() as reserved:

        def choose() -> int:
            # It stays bound while the tests run. So the kernel gives it to nobody, neither to a test in another process
            # nor to a connection; whoever names it, with SO_REUSEADDR as servers do, can listen on it.
            reservation = reserved.enter_context(socket.socket())
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reservation.bind(("0.0.0.0", 0))  # DCMTK's servers listen on every address
            port: int = reservation.getsockname()[1]
            return port

        yield choose


@pytest.fixture(scope="session")
def dcmtk() -> Callable[[str], Path]:
    """Finds a program of DCMTK by its name; a test that needs one that is missing fails."""

    def find(program: str) -> Path:
        if (path := shutil.which(program)) is None:
            pytest.fail(f"DCMTK's {program} is not on the PATH: install DCMTK (apt-get install dcmtk)", pytrace=False)
        return Path(path)

    return find
