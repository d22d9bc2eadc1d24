"""Asks the running daemon, by HTTP over its Unix socket."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from router.cli.options import configured
from router.cli.output import CommandError

PATIENCE_SECONDS = 60
CHUNK = 1 << 18
"""Bytes of a download that are read at once."""
_CODES = {404: os.EX_DATAERR, 422: os.EX_USAGE, 503: os.EX_TEMPFAIL}


class UnixConnection(HTTPConnection):
    """HTTP over the socket at ``path``."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class NobodyError(CommandError):
    """No daemon runs, as far as can be seen."""


class RefusedError(CommandError):
    """The daemon answered, and will not do it."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("error", f"the daemon answered HTTP status {status}")), _code(status))
        self.status = status
        self.answer = answer


class Client:
    """A daemon that may be running."""

    def __init__(self, socket_path: Path | None, configuration: Path) -> None:
        """The daemon behind a socket.

        Args:
            socket_path: of the socket; None: the configuration says where it is.
            configuration: of the daemon.
        """
        self._path = socket_path or configured(configuration).socket

    def get(self, path: str, **parameters: str | float | None) -> Any:
        """What the daemon answers; parameters that are None are left out.

        Raises:
            CommandError: no daemon answers, or not as it should.
            RefusedError: it refuses.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """As ``get``, for what changes something."""
        return self._ask("POST", path, {} if body is None else body)

    def chunks(self, path: str) -> Iterator[bytes]:
        """What the daemon gives, piece by piece; as ``get``, but for a file. A piece may be missing at the end."""
        with self._response("GET", path, None) as response:
            if response.status != HTTPStatus.OK:
                _read(response.status, response.read())
            while chunk := response.read(CHUNK):
                yield chunk

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:
        with self._response(method, path, body) as response:
            return _read(response.status, response.read())

    @contextmanager
    def _response(self, method: str, path: str, body: Mapping[str, object] | None) -> Iterator[HTTPResponse]:
        connection = UnixConnection(self._path)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            yield connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NobodyError(
                f"no daemon answers on {self._path}: start it, or say with --config or --socket which one is meant",
                os.EX_UNAVAILABLE,
            ) from error
        except PermissionError as error:
            sentence = f"{self._path} may not be used by you: become the daemon's user, or join its group"
            raise CommandError(sentence, os.EX_NOPERM) from error
        except TimeoutError as error:
            raise CommandError(f"no answer on {self._path} within {PATIENCE_SECONDS} s", os.EX_TEMPFAIL) from error
        except OSError as error:
            raise CommandError(f"cannot ask on {self._path}: {error.strerror or error}", os.EX_UNAVAILABLE) from error
        except HTTPException as error:
            sentence = f"what answers on {self._path} is not a router ({type(error).__name__})"
            raise CommandError(sentence, os.EX_PROTOCOL) from error
        finally:
            connection.close()


def _read(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if 200 <= status < 300 and answer is not None:  # noqa: PLR2004 -- HTTP's class of success
        return answer
    raise RefusedError(status, answer if isinstance(answer, dict) else {})


def _code(status: int) -> int:
    return _CODES.get(status, os.EX_SOFTWARE)
