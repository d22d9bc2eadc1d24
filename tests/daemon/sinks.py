"""Destinations: DCMTK's ``storescp``, and a PACS on pynetdicom that answers as a test says."""

import logging
import socket
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs
from pydicom import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from router.model.instance import Identity
from router.model.presentation_context import VERIFICATION
from tests.daemon.objects import Object, read_all, sample_objects
from tests.daemon.waiting import until

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # a router that dies in mid-object is no news here

Destination = dict[str, Any]


def destination(name: str, port: int, **more: Any) -> Destination:
    """The section of a configuration; nothing in it waits longer than a test can."""
    quick = {"back_off": {"initial": "50ms", "maximum": "200ms"}, "retry": {"initial": "50ms", "maximum": "200ms"}}
    address = {"remote_ae_title": name, "remote_host": "127.0.0.1", "remote_port": port}
    return {"name": name, **address, **quick, "deadlines": {"linger": "100ms"}, **more}


class Storescp:
    """DCMTK's ``storescp``: takes everything, and writes each data set as it came."""

    def __init__(self, program: Path, folder: Path, port: int, name: str = "DCMTK") -> None:
        options = ["--fork", "+B", "+uf", "+xa", "-pm", "-aet", name, "-od", str(folder)]
        self._command = [str(program), *options, str(port)]
        self._folder = folder
        self._process: subprocess.Popen[bytes]
        self.name = name
        self.port = port

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(answers, f"storescp on port {self.port}")

    def stop(self) -> None:
        """End it, if it runs, with its forks, which hold its port too; what they were writing, unanswered, is gone."""
        if self._process.poll() is not None:
            return
        parent = psutil.Process(self._process.pid)
        parent.suspend()  # it makes no further fork
        for fork in parent.children():
            with suppress(psutil.NoSuchProcess):
                fork.suspend()
                torn = [Path(file.path) for file in fork.open_files()]
                fork.kill()
                for file in torn:
                    file.unlink(missing_ok=True)
        self._process.kill()
        self._process.wait()

    def destination(self, **more: Any) -> Destination:
        """Its section of a configuration."""
        return destination(self.name, self.port, **more)

    def received(self) -> Sequence[Object]:
        """What it has."""
        return read_all(self._folder.iterdir())

    def forget(self) -> None:
        """Have nothing any more."""
        for file in self._folder.iterdir():
            file.unlink()


@dataclass(frozen=True, slots=True)
class Store:
    """A C-STORE that a PACS was sent."""

    sent: Object
    calling: str
    """AE title."""
    answer: int | None
    """The status; None: the association was aborted instead."""


Answer = Callable[[Identity], int | None]


def success(_: Identity) -> int:
    """Take everything."""
    return 0x0000


class Pacs:
    """A Storage SCP that takes what its presentation contexts allow and answers as it is told."""

    def __init__(
        self,
        port: int,
        name: str = "PACS",
        *,
        answer: Answer = success,
        comment: str = "",
        transfer_syntaxes: Iterable[str] = ALL_TRANSFER_SYNTAXES,
    ) -> None:
        """A PACS that is not up yet.

        Args:
            port: where it listens.
            name: its AE title; it does not answer to another.
            answer: the status for an instance; None aborts the association.
            comment: the Error Comment (0000,0902) of an answer that is not success.
            transfer_syntaxes: what it accepts, for every SOP class that the tests send.
        """
        self.port = port
        self.name = name
        self.answer = answer
        self.comment = comment
        self.transfer_syntaxes = list(transfer_syntaxes)
        self.stores: list[Store] = []
        """In the order in which they were answered."""
        self.associations = 0
        self._down: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Come up."""
        application = AE(self.name)
        application.require_called_aet = True
        application.maximum_associations = 100
        application.add_supported_context(VERIFICATION)
        for sop_class in {each.identity.sop_class for each in sample_objects()}:
            application.add_supported_context(sop_class, self.transfer_syntaxes)
        server = application.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)],
        )
        assert server is not None, "it does not block"
        self._down = server.shutdown

    def stop(self) -> None:
        """Go down, in the middle of whatever happens."""
        self._down()
        self._down = lambda: None

    def destination(self, **more: Any) -> Destination:
        """Its section of a configuration."""
        return destination(self.name, self.port, **more)

    def received(self) -> Sequence[Object]:
        """What it has: everything that it answered with success or a warning."""
        stores = list(self.stores)
        return [each.sent for each in stores if each.answer is not None and each.answer >> 12 in {0x0, 0xB}]

    def forget(self) -> None:
        """Have nothing any more."""
        self.stores.clear()

    def _accepted(self, _: Event) -> None:
        self.associations += 1

    def _store(self, event: Event) -> Dataset:
        request, context = event.request, event.context
        assert isinstance(request, C_STORE), "that is what this event is about"
        assert isinstance(request.DataSet, BytesIO), "it is kept in memory"
        identity = Identity(
            str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), str(context.transfer_syntax)
        )
        answer = self.answer(identity)
        sent = Object(identity, b"", request.DataSet.getvalue())
        self.stores.append(Store(sent, event.assoc.requestor.ae_title, answer))
        if answer is None:
            event.assoc.abort()
        response = Dataset()
        response.Status = 0x0110 if answer is None else answer
        if answer and self.comment:
            response.ErrorComment = self.comment
        return response
