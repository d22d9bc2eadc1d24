"""The peers of the matrix: pynetdicom where it can be told what to take, DCMTK, and scripts where nobody aborts so."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from pynetdicom import AE, _config, evt, register_uid
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import ThreadedAssociationServer

from router.dicom.link import Link
from router.model.presentation_context import VERIFICATION, AnsweredContext, ContextResult
from router.protocol import Aborted, Acceptor, Closed, Fragment, ReleaseRequested, StoreRequested
from tests.daemon.objects import read
from tests.daemon.sinks import Storescp
from tests.dicom.peers import PATIENCE, acting
from tests.negotiation.matrix import Peer
from tests.protocol.pair import CLASS_UID, VERSION

# Retired, and some modality still sends it; unless it is told of it, pynetdicom negotiates it and aborts.
register_uid("1.2.840.10008.5.1.4.1.1.6", "UltrasoundImageStorageRetired", StorageServiceClass)


@dataclass(frozen=True, slots=True)
class Received:
    """One whole data set as it arrived."""

    transfer_syntax: str
    content: bytes


@dataclass(slots=True)
class Playing:
    """A peer that is up."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    """Everything that arrived whole, whatever was answered."""
    folder: Path | None = None

    def taken(self) -> list[Received]:
        """What has arrived since the last call. Blocks."""
        if self.folder is not None:
            for path in sorted(self.folder.iterdir()):
                found = read(path)
                self.received.append(Received(found.identity.transfer_syntax, found.dataset))
                path.unlink()
        taken, self.received = self.received, []
        return taken


@asynccontextmanager
async def playing(
    peer: Peer, sop_classes: Iterable[str], *, folder: Path, storescp: Path, free_port: Callable[[], int]
) -> AsyncIterator[Playing]:
    """A peer for the time of a block."""
    up = Playing()
    if peer.dcmtk:
        program = Storescp(storescp, folder, free_port())
        up.port, up.folder = program.port, folder
        await anyio.to_thread.run_sync(program.start)
        try:
            yield up
        finally:
            await anyio.to_thread.run_sync(program.stop)
    elif peer.most_contexts is not None or peer.breaks_off:
        async with acting(lambda link: _script(link, peer, up)) as up.port:
            yield up
    else:
        server = await anyio.to_thread.run_sync(_pynetdicom, peer, sorted(sop_classes), up)
        try:
            yield up
        finally:
            await anyio.to_thread.run_sync(server.shutdown)


def _pynetdicom(peer: Peer, sop_classes: list[str], up: Playing) -> ThreadedAssociationServer:
    def store(event: Event) -> int:
        request, context = event.request, event.context
        assert isinstance(request, C_STORE)
        assert isinstance(request.DataSet, BytesIO)
        up.received.append(Received(str(context.transfer_syntax), request.DataSet.getvalue()))
        return peer.status

    _config.LOG_HANDLER_LEVEL = "none"
    application = AE("PACS")
    application.maximum_associations = 100
    application.add_supported_context(VERIFICATION)
    for sop_class in sop_classes if peer.accepts else ():
        application.add_supported_context(sop_class, sorted(peer.accepts))
    server = application.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None, "it does not block"
    up.port = server.server_address[1]
    return server


async def _script(link: Link[Acceptor], peer: Peer, up: Playing) -> None:
    await link.event(PATIENCE)
    request = link.connection.request()
    if peer.most_contexts is not None and len(request.contexts) > peer.most_contexts:
        await link.close(link.connection.abort())
        return
    syntaxes = {context.id: context.transfer_syntaxes[0] for context in request.contexts}
    answers = [
        AnsweredContext(each.id, each.abstract_syntax, ContextResult.ACCEPTANCE, syntaxes[each.id])
        for each in request.contexts
    ]
    accepted: dict[str, Any] = {"implementation_class_uid": CLASS_UID, "implementation_version_name": VERSION}
    await link.transport.send([link.connection.accept(request, answers, **accepted)])
    while True:
        match await link.event(PATIENCE):
            case StoreRequested() as store:
                if peer.breaks_off:
                    assert isinstance(await link.event(PATIENCE), Fragment)
                    await link.close(link.connection.abort())
                    return
                content = bytearray()
                async for piece in link.pieces(PATIENCE):
                    content += b"".join(piece.fragments)
                up.received.append(Received(syntaxes[store.context_id], bytes(content)))
                await link.transport.send([link.connection.store_answer(store, peer.status)])
            case ReleaseRequested():
                await link.close(link.connection.confirm_release())
                return
            case Aborted() | Closed():
                return
            case other:
                raise AssertionError(f"{other} was not expected")
