"""Sockets that somebody else listens on: found by their address, kept over reloads."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from router.dicom import inherited
from router.dicom.inherited import Inherited

pytestmark = pytest.mark.unit


def listening(port: int) -> socket.socket:
    """A socket on this machine."""
    return socket.create_server(("127.0.0.1", port))


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_listener_that_comes_back_has_its_socket_again(free_port: Callable[[], int]) -> None:
    """A reload may close it and open it again: the one that was handed over stays open all the while."""
    with listening(port := free_port()) as ours:
        sockets = Inherited([ours])
        for _ in range(2):
            with sockets.listen("127.0.0.1", port) as copy:
                assert not copy.getblocking()
                assert not copy.get_inheritable()
            assert answers(port)


def test_what_was_not_handed_over_is_opened(free_port: Callable[[], int]) -> None:
    """As without systemd."""
    port = free_port()
    with Inherited().listen("127.0.0.1", port):
        assert answers(port)
    assert not answers(port)


def test_what_nobody_listens_on_is_named(free_port: Callable[[], int], tmp_path: Path) -> None:
    """An address may be spelt differently; a Unix socket is none that we could take."""
    with (
        listening(port := free_port()) as ours,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(tmp_path / "s"))
        sockets = Inherited([ours, six, unix])
        number = six.getsockname()[1]
        listeners = [("127.0.0.1", port), ("0:0:0:0:0:0:0:1", number)]
        assert sockets.without_listener(listeners) == [str(tmp_path / "s")]
        assert sockets.without_listener([("localhost", port)])[:2] == [f"127.0.0.1 port {port}", f"::1 port {number}"]


def test_the_environment_says_what_was_handed_over(
    free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To this process, and to no child of it."""
    ours = listening(port := free_port())
    ours.set_inheritable(True)
    number = ours.detach()
    monkeypatch.setattr(inherited, "FIRST", number)
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    assert Inherited.of({**environment, "LISTEN_PID": "1"}).without_listener([]) == []
    assert Inherited.of({}).without_listener([]) == []
    sockets = Inherited.of(environment)
    assert sockets.without_listener([]) == [f"127.0.0.1 port {port}"]
    assert not os.get_inheritable(number)
    for each in sockets._sockets.values():
        each.close()


def test_a_descriptor_that_is_no_socket_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that something else was meant."""
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    with tempfile.TemporaryFile() as file:
        monkeypatch.setattr(inherited, "FIRST", file.fileno())
        with pytest.raises(OSError, match="non-socket"):
            Inherited.of(environment)
