"""PACS on loopback, of several kinds: pynetdicom's AE in threads, peers that the router did not choose."""

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event as AssociationEvent
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import, from a table

from router.dicom.transcode import converts
from router.model.destination import ProposeStored, Strategy
from router.model.instance import Identity
from router.model.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    TRANSFER_SYNTAXES,
    Kind,
    transfer_syntax,
)

LITTLE_ENDIAN = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})
HOST = "127.0.0.1"
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
SERVICE_USER = 0
"""Source of an A-ABORT (PS3.8 Table 9-26)."""
IN_A_ROW = 2


@dataclass(frozen=True, slots=True)
class Received:
    """One object as it came."""

    identity: Identity
    content: bytes
    """The data set."""


class Crowded:
    """Answers to C-STORE: room for so many objects, then none for a while (A700H), again and again.

    At least two in a row get A700H, however slow the machine: one alone, between objects that are stored, would look
    like that object's own fault, and it would have to wait for a minute.
    """

    def __init__(self, objects: int, seconds: float) -> None:
        self._objects = objects
        self._seconds = seconds
        self._taken = 0
        self._turned_away = IN_A_ROW
        self._full_until = 0.0

    def __call__(self, _: str) -> int:
        """The next status, whatever the transfer syntax."""
        now = monotonic()
        if self._taken == self._objects:
            self._taken, self._turned_away, self._full_until = 0, 0, now + self._seconds
        if self._turned_away < IN_A_ROW or now < self._full_until:
            self._turned_away += 1
            return OUT_OF_RESOURCES
        self._taken += 1
        return SUCCESS


def _only_implicit(transfer_syntax: str) -> int:
    """Answers to C-STORE of a PACS that negotiates more than it understands."""
    return SUCCESS if transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN else CANNOT_UNDERSTAND


class Pacs:
    """One PACS: what it takes, how it behaves, and its own record of what happened."""

    def __init__(
        self,
        name: str,
        character: str,
        *,
        strategy: Strategy,
        transfer_syntaxes: Sequence[str] = (*TRANSFER_SYNTAXES,),
        propose_stored: ProposeStored = ProposeStored.AUTO,
        contexts_per_class: int | None = None,
        faints_after: int | None = None,
        down_for: float = 0.0,
        answer: Callable[[str], int] = lambda _: SUCCESS,
    ) -> None:
        """A PACS that is still down.

        Args:
            name: also its AE title.
            character: what is special about it, in words that follow its name.
            strategy: what the router is to try first with it.
            transfer_syntaxes: what it accepts, for every Storage SOP class.
            propose_stored: whether the router is to propose what an object is stored in beside that.
            contexts_per_class: with more presentation contexts than these for one SOP class, it aborts the association.
            faints_after: objects after which it goes down, once; None: it does not.
            down_for: seconds for which nothing listens on its port then.
            answer: the status of the next C-STORE, for the transfer syntax in which it comes; what is not answered with
                0000H is not kept.
        """
        self.name = name
        self.character = character
        self.strategy = strategy
        self.propose_stored = propose_stored
        self.down_for = down_for
        self.fainted = Event()
        """Set when it is about to go down: somebody has to close and to open it."""
        self._faints_after = faints_after
        self.received: dict[str, Received] = {}
        """By SOP Instance UID."""
        self.answers: Counter[int] = Counter()
        """How often each status was answered."""
        self._transfer_syntaxes = transfer_syntaxes
        self._contexts_per_class = contexts_per_class
        self._answer = answer
        self._called_at: float | None = None
        self._stored_at = 0.0
        # Bound, but nobody listens: connections are refused, and nobody else gets the port.
        self._place = socket.socket()
        self._place.bind((HOST, 0))
        self.port: int = self._place.getsockname()[1]
        self._ae: AE | None = None
        self._keep: Path | None = None

    def can_have(self, stored: str) -> bool:
        """Whether an object stored in this transfer syntax can reach it, as it is or converted losslessly."""
        return any(syntax == stored or converts(stored, syntax) for syntax in self._transfer_syntaxes)

    def must_have(self, stored: str, *, plain_image: bool) -> bool:
        """Whether it is beyond doubt that it can: as it is, or by a conversion that nothing can stand in the way of."""
        taken = {*self._transfer_syntaxes}
        if stored in taken:
            return True
        compresses = plain_image and any(transfer_syntax(each).kind is Kind.LOSSLESS for each in taken)
        return stored in LITTLE_ENDIAN and (bool(taken & LITTLE_ENDIAN) or compresses)

    @property
    def seconds(self) -> float:
        """From the first association to the last object that was stored, pauses included."""
        return 0.0 if self._called_at is None else max(0.0, self._stored_at - self._called_at)

    def open(self, keep: Path | None) -> None:
        """Listen. Blocks.

        Args:
            keep: a folder for what is received, as Part 10 files; None: no files.
        """
        _config.LOG_HANDLER_LEVEL = "none"
        self._keep = keep
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        ae = AE(self.name)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(str(context.abstract_syntax), list(self._transfer_syntaxes))
        ae.add_supported_context(Verification)
        self._place.close()
        ae.start_server(
            (HOST, self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_REQUESTED, self._called)],
        )
        self._ae = ae

    def close(self) -> None:
        """Shut down. Blocks."""
        self._place.close()
        if self._ae is not None:
            self._ae.shutdown()

    def _called(self, event: AssociationEvent) -> None:
        if self._called_at is None:
            self._called_at = monotonic()
        request = event.assoc.requestor.primitive
        assert request is not None
        per_class = Counter(context.abstract_syntax for context in request.presentation_context_definition_list)
        if self._contexts_per_class is not None and max(per_class.values()) > self._contexts_per_class:
            event.assoc.acse.send_abort(SERVICE_USER)
            event.assoc.kill()  # only when it is sent: abort() would close the connection before

    def _store(self, event: AssociationEvent) -> int:
        syntax = str(event.context.transfer_syntax)
        status = self._answer(syntax)
        self.answers[status] += 1
        if status == SUCCESS:
            request = event.request
            assert isinstance(request, C_STORE)
            identity = Identity(str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), syntax)
            if self._keep is not None:
                path = self._keep / f"{len(self.received) + 1:03}.dcm"
                path.write_bytes(event.encoded_dataset())
            self.received[identity.sop_instance] = Received(identity, event.encoded_dataset(include_meta=False))
            self._stored_at = monotonic()
            if len(self.received) == self._faints_after:
                self.fainted.set()
        return status


def usual() -> tuple[Pacs, ...]:
    """The PACS of the demonstration."""
    return (
        Pacs("ARCHIVE", "takes everything, in every transfer syntax", strategy=Strategy.EXTENDED),
        Pacs(
            "LEGACY",
            "takes nothing but Implicit VR Little Endian",
            strategy=Strategy.CONSERVATIVE,
            transfer_syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,),
        ),
        Pacs(
            "NERVOUS",
            "aborts an association that proposes two transfer syntaxes for one SOP class",
            strategy=Strategy.CONSERVATIVE,
            transfer_syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
            propose_stored=ProposeStored.NEVER,
            contexts_per_class=1,
        ),
        Pacs(
            "FICKLE",
            "accepts Explicit VR Little Endian, and then cannot understand it (C000H); Implicit it can",
            strategy=Strategy.CONSERVATIVE,
            transfer_syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
            answer=_only_implicit,
        ),
        Pacs(
            "COMPACT",
            "takes nothing but JPEG 2000 Lossless: what has no pixels, or has lost some, never",
            strategy=Strategy.COMPRESSION,
            transfer_syntaxes=(JPEG_2000_LOSSLESS,),
        ),
        Pacs(
            "FLAKY",
            "goes down after 40 objects, in the middle of it all, and is back after 2 seconds",
            strategy=Strategy.STANDARD,
            faints_after=40,
            down_for=2.0,
        ),
        Pacs(
            "BUSY",
            "has no room for a second after every 25 objects (A700H)",
            strategy=Strategy.COMPRESSION,
            answer=Crowded(25, 1.0),
        ),
    )
