"""HTTP on a Unix socket, inside somebody else's task group: uvicorn without its signals and its log format."""

import logging
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from anyio import TASK_STATUS_IGNORED, CancelScope, to_thread
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

MODE = 0o660
"""Of the socket: its owner and their group may command the daemon."""

MOST_CONNECTIONS = 32
GRACE_SECONDS = 1
"""What a request that is being answered may still take when the server ends."""

# Without a format of ours nothing of uvicorn's is written anywhere; what the daemon does with the standard
# library's log records, it does with these too.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class SocketError(Exception):
    """The socket for commands cannot be opened; the sentence says why and what to do."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone: they are the daemon's."""
        yield


async def serve(app: ASGIApp, socket_path: Path, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
    """Answer requests on ``socket_path`` until cancelled; then the socket is gone. On asyncio only.

    A socket that a dead daemon left behind is replaced.

    Raises:
        SocketError: the path is taken, or cannot be created.
    """
    server = _Server(
        uvicorn.Config(
            app,
            loop="none",
            http="h11",
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
    listener = await to_thread.run_sync(_listen, socket_path)
    try:
        # It listens already: whoever connects from now on is answered as soon as uvicorn has started.
        task_status.started()
        await server.serve([listener])
    finally:
        with CancelScope(shield=True):
            # A cancelled uvicorn leaves its connections as they are.
            if server.started:
                await server.shutdown([listener])
            await to_thread.run_sync(_remove, listener, socket_path)


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
    path.unlink(missing_ok=True)
