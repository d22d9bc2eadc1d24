"""pynetdicom's SCP as the PACS of a test."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from router.model.transfer_syntax import TRANSFER_SYNTAXES

EVERYTHING = (*TRANSFER_SYNTAXES,)
AE_TITLE = "PACS_SCP"


@dataclass(slots=True)
class Accepting:
    """A PACS that listens."""

    port: int
    received: list[tuple[str, bytes]] = field(default_factory=list)
    """Transfer syntax and data set of what it stored."""
    associations: int = 0


@contextmanager
def accepting(
    *syntaxes: str, sop_classes: Sequence[str] | None = None, answer: Callable[[str], int] = lambda _: 0
) -> Iterator[Accepting]:
    """A PACS that accepts these transfer syntaxes and no other.

    Args:
        syntaxes: for every class.
        sop_classes: by default those that pynetdicom proposes as Storage.
        answer: the status of a C-STORE, for the transfer syntax in which it comes.
    """
    ae = AE(AE_TITLE)
    ae.require_called_aet = True
    ae.maximum_associations = 50
    ae.add_supported_context(Verification)
    if sop_classes is None:
        sop_classes = [str(context.abstract_syntax) for context in StoragePresentationContexts]
    for sop_class in sop_classes if syntaxes else ():
        ae.add_supported_context(sop_class, list(syntaxes))

    def store(event: evt.Event) -> int:
        request: Any = event.request
        syntax = str(UID(event.context.transfer_syntax))
        if (status := answer(syntax)) == 0:
            peer.received.append((syntax, request.DataSet.getvalue()))
        return status

    def requested(_: evt.Event) -> None:
        peer.associations += 1

    with warnings.catch_warnings(action="ignore"):
        server: Any = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_REQUESTED, requested)]
        )
        peer = Accepting(server.server_address[1])
        try:
            yield peer
        finally:
            # One that was rejected waits for its connection to close, and cannot be aborted there (Evt15 in Sta13).
            for association in ae.active_associations:
                association.join(1)
            ae.shutdown()
