"""The HTTP server inside somebody else's task group, on a Unix socket."""

import logging
import signal
import socket
import stat
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router.admin import SocketError, serve
from tests.admin.served import Served, served

pytestmark = pytest.mark.unit


async def test_the_socket_is_for_the_owner_and_the_group_and_goes_with_the_server(tmp_path: Path) -> None:
    """Whatever the umask is."""
    async with served(tmp_path) as api:
        found = api.socket.lstat().st_mode
        assert stat.S_ISSOCK(found)
        assert stat.S_IMODE(found) == 0o660
    assert not api.socket.exists()


async def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    """It was killed and could not remove it."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    async with served(tmp_path) as api:
        assert await api.get("/livez") == {"alive": True}


async def test_the_socket_of_a_living_daemon_is_left_alone(api: Served) -> None:
    """A second daemon with another spool was told the same path."""
    with pytest.raises(SocketError, match="somebody else answers on"):
        await serve(Starlette(), api.socket)
    assert await api.get("/livez") == {"alive": True}


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A slip in the configuration costs nobody a file."""
    path = tmp_path / "router.yaml"
    path.write_text("precious")
    with pytest.raises(SocketError, match="is not a socket"):
        await serve(Starlette(), path)
    assert path.read_text() == "precious"


async def test_a_path_that_cannot_be_bound_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The sentence says which setting helps."""
    with pytest.raises(SocketError, match=r"missing/s cannot be created: No such file or directory; `socket:`"):
        await serve(Starlette(), tmp_path / "missing" / "s")


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HT", b"POST /api/queue/retry HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_clients_that_hang_do_not_keep_the_server(tmp_path: Path, sent: bytes) -> None:
    """Neither one that says nothing nor one in mid-request; their connections end with it."""
    async with served(tmp_path) as api:
        stream = await anyio.connect_unix(api.socket)
        await stream.send(sent)
        assert await api.get("/livez") == {"alive": True}
    async with stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HT",
        b"POST /api/queue/retry HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
        b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HT",
    ],
)
async def test_a_request_that_does_not_come_ends_its_connection(
    tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The places are few: one that never asks must not keep another's, the first time or later."""
    monkeypatch.setattr("router.admin.server.REQUEST_SECONDS", 0.05)
    async with served(tmp_path) as api:
        async with await anyio.connect_unix(api.socket) as stream:
            await stream.send(sent)
            answer = b"".join([each async for each in stream])
        assert answer.count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\nGET")
        assert await api.get("/livez") == {"alive": True}


async def test_signals_stay_the_daemons(tmp_path: Path) -> None:
    """Uvicorn would take SIGTERM and SIGINT for itself."""
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    async with served(tmp_path):
        assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


async def test_nothing_is_written_that_is_not_a_log_line_of_ours(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at start, not for nonsense, not for an error of ours: what handles log records decides, if anything does."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    async def broken(_: Request) -> Response:
        raise ZeroDivisionError

    path = tmp_path / "s"
    async with anyio.create_task_group() as group:
        await group.start(serve, Starlette(routes=[Route("/", broken)]), path)
        for request, status in ((b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"500"), (b"nonsense\r\n\r\n", b"400")):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(request)
                assert (await stream.receive()).startswith(b"HTTP/1.1 " + status)
        group.cancel_scope.cancel()
    assert capfd.readouterr() == ("", "")
