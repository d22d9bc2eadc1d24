"""HTTP on a Unix socket and on TCP, in somebody else's task group: uvicorn without its signals and its log format."""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import uvicorn
from anyio import TASK_STATUS_IGNORED, CancelScope, to_thread
from anyio.abc import TaskStatus
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from router.admin.guard import Guard, trusted
from router.dicom.transport import listen

MODE = 0o660
"""Of the socket: its owner and their group may command the daemon."""

MOST_CONNECTIONS = 32
GRACE_SECONDS = 1
"""What a request that is being answered may still take when the server ends."""

# Without a format of ours nothing of uvicorn's is written anywhere; what the daemon does with the standard
# library's log records, it does with these too.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


REQUEST_SECONDS = 30.0
"""What a client may take until its request is there, whole: one that never asks must not keep another's place."""


class SocketError(Exception):
    """The socket for commands cannot be opened; the sentence says why and what to do."""


class PortError(Exception):
    """The port cannot be had; the sentence says why and what to do."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone: they are the daemon's."""
        yield


class _Protocol(H11Protocol):
    """uvicorn's, with a deadline for each request: it has one only between two of them."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client came."""
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        """It may ask again."""
        super().on_response_complete()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """It left."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _give_up(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # there is none before the first request
        if cycle is None or cycle.response_complete or cycle.more_body:
            self.transport.abort()


async def serve(app: ASGIApp, socket_path: Path, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
    """Answer requests on ``socket_path`` until cancelled; then the socket is gone. On asyncio only.

    Whoever can open the socket may do everything. A socket that a dead daemon left behind is replaced.

    Raises:
        SocketError: the path is taken, or cannot be created.
    """
    listener = await to_thread.run_sync(_listen, socket_path)
    try:
        await _serve(trusted(app), listener, task_status)
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(_remove, listener, socket_path)


async def serve_tcp(guard: Guard, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
    """Answer requests on the guard's host and port until cancelled. On asyncio only.

    Raises:
        PortError: somebody has it, or the address is none of this machine.
    """
    host, port = guard.settings.host, guard.settings.port
    try:
        listener = await to_thread.run_sync(listen, host, port)
    except OSError as error:
        raise PortError(
            f"Cannot serve HTTP on {host} port {port}: {error.strerror or error}; "
            "`port:` in the section `http` names another one"
        ) from error
    with listener:
        await _serve(guard, listener, task_status)


async def _serve(app: ASGIApp, listener: socket.socket, task_status: TaskStatus[None]) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    try:
        # It listens already: whoever connects from now on is answered as soon as uvicorn has started.
        task_status.started()
        await server.serve([listener])
    finally:
        with CancelScope(shield=True):
            # A cancelled uvicorn leaves its connections as they are.
            if server.started:
                await server.shutdown([listener])


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        # The file gets the mode of the socket less the umask: so it is never open to more than it should be.
        os.fchmod(listener.fileno(), MODE)
        listener.bind(str(path))
        path.chmod(MODE)
        listener.listen(MOST_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise SocketError(
            f"the socket for commands {path} cannot be created: {error.strerror or error}; "
            "`socket:` in the configuration names another place"
        ) from error
    except SocketError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _clear(path: Path) -> None:
    """Remove the socket of a dead daemon."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise SocketError(f"{path} is not a socket; `socket:` in the configuration has to name a path that is free")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SocketError(f"somebody else answers on {path}; `socket:` in the configuration names another place")


def _remove(listener: socket.socket, path: Path) -> None:
    listener.close()
    # It may be gone, or the disk read-only by now: who finds it later finds nobody behind it.
    with suppress(OSError):
        path.unlink()
