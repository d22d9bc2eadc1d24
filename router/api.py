"""The library face, for scripts that send with the router's negotiation and without its daemon.

::

    backend = StorageBackend({"remote_ae_title": "PACS_SCP", "remote_host": "192.168.1.100", "remote_port": 11112})
    result = backend.store(dataset)
    print(result["strategy_used"], result["attempts_made"], result["transfer_syntax"])
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext

from router.dicom import part10
from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.transcode import converts
from router.dicom.transcode.pool import Transcoder
from router.flow.attempt import Attempt
from router.flow.pending import Result
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.instance import Identity
from router.model.outcome import Deferred, Refused, Stored
from router.model.presentation_context import MAXIMUM_CONTEXTS, AnsweredContext, ContextResult
from router.rules import negotiation
from router.rules.negotiation import Unsupported
from router.settings import ConfigurationError, destination


class StorageBackendError(Exception):
    """The instance was not stored; the sentence says why and what would help."""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """A stored instance. The three keys of a mapping work too: ``result["strategy_used"]``."""

    strategy_used: str
    attempts_made: int
    """Associations tried."""
    transfer_syntax: str
    """UID of the transfer syntax in which it was sent."""
    status: int
    """Of the C-STORE-RSP: 0000H, or a warning."""
    converted: bool
    strategies_tried: tuple[str, ...]

    def __getitem__(self, key: str) -> Any:
        if key not in self.__slots__:
            raise KeyError(key)
        return getattr(self, key)


class StorageBackend:
    """One destination. Safe to use from several threads: each call has an association of its own."""

    def __init__(self, config: Mapping[str, Any], *, journal: Journal | None = None) -> None:
        """A backend.

        Args:
            config: the keys of a destination's file; ``remote_ae_title``, ``remote_host`` and ``remote_port`` are
                enough and mean the strategy ``conservative``.
            journal: is told what happens; None: nobody is.

        Raises:
            StorageBackendError: something is wrong with the configuration.
        """
        try:
            self.destination: Destination = destination(config, origin="config")
        except ConfigurationError as error:
            raise StorageBackendError(str(error)) from error
        self._journal = journal or Journal()

    def store(self, dataset: Dataset | Path | str) -> StoreResult:
        """Send one instance, falling back from strategy to strategy, and wait for the answer.

        Args:
            dataset: a pydicom data set, or the path of a Part 10 file, whose data set is sent byte for byte.

        Raises:
            StorageBackendError: it was not stored.
        """
        return anyio.run(self.store_async, dataset)

    async def store_async(self, dataset: Dataset | Path | str) -> StoreResult:
        """As ``store``, for scripts that have an event loop."""
        async with anyio.TemporaryDirectory(prefix="dicom-router-") as directory:
            scratch = Path(directory)
            path = await anyio.to_thread.run_sync(_as_file, dataset, scratch)
            instance = await anyio.to_thread.run_sync(_outgoing, path)
            async with Attempt(
                self.destination, transcoder=Transcoder(scratch), buffers=Buffers(1), journal=self._journal
            ) as attempt:
                results = [result async for result in attempt.outcomes([instance])]
                await attempt.release()
        return _stored(results[0])


def _as_file(dataset: Dataset | Path | str, scratch: Path) -> Path:
    if not isinstance(dataset, Dataset):
        return Path(dataset)
    path = scratch / "instance.dcm"
    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    complete = FileDataset(str(path), dataset, file_meta=FileMetaDataset(meta), preamble=bytes(128))
    if "TransferSyntaxUID" not in complete.file_meta:
        implicit, _ = dataset.original_encoding
        complete.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    try:
        dcmwrite(path, complete, enforce_file_format=True)
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise StorageBackendError(f"The data set cannot be encoded: {error}") from error
    return path


def _outgoing(path: Path) -> Outgoing:
    try:
        meta = part10.read_meta(path)
        return Outgoing(1, meta.identity, path, meta.header_size, path.stat().st_size, digest=None)
    except (part10.Part10Error, OSError) as error:
        raise StorageBackendError(str(error)) from error


def _stored(result: Result) -> StoreResult:
    match result.outcome:
        case Stored(status=status):
            return StoreResult(
                strategy_used=result.strategy.value,
                attempts_made=result.associations,
                transfer_syntax=result.transfer_syntax,
                status=status,
                converted=result.transfer_syntax != result.instance.identity.transfer_syntax,
                strategies_tried=tuple(strategy.value for strategy in result.strategies_tried),
            )
        case Refused(error=error) | Deferred(error=error):
            raise StorageBackendError(error)


# The three functions that scripts on pynetdicom know, over its own presentation contexts

ANYWHERE = Destination("", "", "", 0)
"""A destination with nothing configured but the defaults."""


def create_presentation_contexts_with_fallback(
    dataset: Dataset, strategy: str = "conservative", max_contexts: int = MAXIMUM_CONTEXTS - 1
) -> list[PresentationContext]:
    """Presentation contexts for an instance: one for each transfer syntax that the strategy and those after it propose.

    Args:
        dataset: with its SOP class, and the transfer syntax in its file meta information.
        strategy: where the fallback chain starts.
        max_contexts: at most this many, the most compatible ones first kept.
    """
    identity = _identity(dataset)
    syntaxes: dict[str, None] = {}
    for each in reversed(negotiation.chain(Strategy(strategy), len(Strategy))):
        syntaxes |= dict.fromkeys(negotiation.candidates(identity, each, ANYWHERE, converts))
    contexts = []
    for number, syntax in enumerate(list(syntaxes)[:max_contexts]):
        context = PresentationContext()
        context.context_id = 2 * number + 1
        context.abstract_syntax = identity.sop_class
        context.transfer_syntax = [syntax]
        contexts.append(context)
    return contexts


def analyze_accepted_contexts(contexts: Iterable[PresentationContext]) -> dict[str, Any]:
    """What a peer answered, as pynetdicom's ``accepted_contexts`` and ``rejected_contexts`` tell it.

    Returns:
        ``accepted`` and ``rejected``, each abstract syntax → transfer syntaxes; ``recommended_strategy``, the
        least one that proposes all that was accepted; None if nothing was.
    """
    accepted: dict[str, list[str]] = {}
    rejected: dict[str, list[str]] = {}
    for context in contexts:
        group = accepted if context.result == 0 else rejected
        group.setdefault(str(context.abstract_syntax), []).extend(str(uid) for uid in context.transfer_syntax)
    every = {uid for uids in accepted.values() for uid in uids}
    return {
        "accepted": accepted,
        "rejected": rejected,
        "recommended_strategy": negotiation.strategy_for(every).value if every else None,
    }


def find_compatible_transfer_syntax(
    dataset: Dataset, accepted: Sequence[PresentationContext]
) -> PresentationContext | None:
    """The best accepted context for an instance: as stored, else by a lossless conversion; None if there is none."""
    answers = [
        AnsweredContext(number, str(context.abstract_syntax), ContextResult.ACCEPTANCE, str(context.transfer_syntax[0]))
        for number, context in enumerate(accepted)
        if context.transfer_syntax
    ]
    found = negotiation.plan(_identity(dataset), answers, Strategy.EXTENDED, ANYWHERE, converts)
    return None if isinstance(found, Unsupported) else accepted[found.context_id]


def _identity(dataset: Dataset) -> Identity:
    meta = getattr(dataset, "file_meta", FileMetaDataset())
    syntax = meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian
    return Identity(str(dataset.SOPClassUID), str(dataset.get("SOPInstanceUID", "")), str(syntax))
