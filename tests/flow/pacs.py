"""A PACS by script: the other end of the port that ``flow`` sends through, without a socket and without a thread."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import anyio.lowlevel

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.scu import Address, AssociationFailedError
from router.dicom.transcode.pool import NotConvertedError
from router.model.destination import SendDeadlines
from router.model.outcome import Answered, Cause, Failed
from router.model.presentation_context import VERIFICATION, AnsweredContext, ContextResult, PresentationContext
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax

ABORTED = Failed(Cause.STORE_ABORTED, "The peer aborted during C-STORE")
NO_ANSWER = Failed(Cause.RESPONSE_TIMEOUT, "During C-STORE the peer was silent until its deadline")
DAMAGED = Failed(Cause.PAYLOAD_DAMAGED, "The payload has changed on disk: its digest differs")
UNREADABLE = Failed(Cause.LOCAL_TROUBLE, "The payload cannot be read: Too many open files")

Response = Answered | Failed


def connection_refused() -> AssociationFailedError:
    """Nobody listens."""
    return AssociationFailedError(Failed(Cause.CONNECT_FAILED, "Cannot connect"))


def aborted() -> AssociationFailedError:
    """A-ABORT in place of an answer to the A-ASSOCIATE-RQ."""
    return AssociationFailedError(Failed(Cause.ASSOCIATION_ABORTED, "The peer aborted the association request"))


def rejected(result: int, source: int, reason: int) -> AssociationFailedError:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""
    unknown = source == 1 and reason in {3, 7}
    cause = Cause.AE_TITLE_UNKNOWN if unknown else Cause.ASSOCIATION_REJECTED
    return AssociationFailedError(Failed(cause, "The peer rejected the association"), (result, source, reason))


@dataclass(frozen=True, slots=True)
class Asked:
    """One association that was asked for."""

    calling_ae_title: str
    pairs: tuple[tuple[str, str], ...]
    """SOP class and transfer syntax of the Storage contexts."""

    @property
    def syntaxes(self) -> str:
        """The first letters of what was proposed: `EI` for Explicit and Implicit VR Little Endian."""
        return "".join(sorted({transfer_syntax(syntax).name[0] for _, syntax in self.pairs}))


class Pacs:
    """Takes what its script lets it take. ``sent`` is every C-STORE that reached it, with the transfer syntax."""

    def __init__(self) -> None:
        self.accepts: frozenset[str] = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN})
        self.refusal: Callable[[Asked], AssociationFailedError | None] = lambda _: None
        self.respond: Callable[[Outgoing], Awaitable[Response]] = _stored
        self.refused_result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
        self.asked: list[Asked] = []
        self.sent: list[tuple[str, str]] = []
        self.echoes = 0
        self.echo_response: Response = Answered(0)
        self.verifies = True
        self.seconds_to_release = 0.0
        self.open = 0
        self.most_open = 0
        self.associations: list[ScriptedAssociation] = []

    def script(self, answers: dict[str, Sequence[Response]]) -> None:
        """What the C-STOREs of each SOP instance are answered in turn; the last answer again and again; else 0000H."""
        turns = {instance: list(responses) for instance, responses in answers.items()}

        async def respond(instance: Outgoing) -> Response:
            await anyio.lowlevel.checkpoint()  # an answer takes its time: whatever else can begin has begun
            waiting = turns.get(instance.identity.sop_instance, [Answered(0)])
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

        self.respond = respond

    @property
    def received(self) -> list[str]:
        """The SOP instances of ``sent``."""
        return [instance for instance, _ in self.sent]

    async def __call__(
        self, address: Address, contexts: Sequence[PresentationContext], *, deadlines: SendDeadlines, buffers: Buffers
    ) -> "ScriptedAssociation":
        """Open an association."""
        del deadlines, buffers  # the script's own
        assert len(contexts) <= 128
        assert len({context.id for context in contexts}) == len(contexts)
        storage = [context for context in contexts if context.abstract_syntax != VERIFICATION]
        pairs = tuple((context.abstract_syntax, context.transfer_syntaxes[0]) for context in storage)
        self.asked.append(Asked(address.calling_ae_title, pairs))
        if (refusal := self.refusal(self.asked[-1])) is not None:
            raise refusal
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.associations.append(ScriptedAssociation(self, [self._answered(context) for context in contexts]))
        return self.associations[-1]

    def _answered(self, context: PresentationContext) -> AnsweredContext:
        (syntax,) = context.transfer_syntaxes
        if self.verifies if context.abstract_syntax == VERIFICATION else syntax in self.accepts:
            return AnsweredContext(context.id, context.abstract_syntax, ContextResult.ACCEPTANCE, syntax)
        return AnsweredContext(context.id, context.abstract_syntax, self.refused_result)


async def _stored(_: Outgoing) -> Response:
    return Answered(0)


class ScriptedAssociation:
    """One association with a ``Pacs``."""

    def __init__(self, pacs: Pacs, contexts: Sequence[AnsweredContext]) -> None:
        self.contexts = contexts
        self.over = False
        self.closed_by_peer = False
        self.released = False
        self._pacs = pacs

    async def store(self, context_id: int, instance: Outgoing) -> Response:
        """What the script says; a failure ends the association."""
        assert not self.over
        context = self._context(context_id)
        assert context.abstract_syntax == instance.identity.sop_class
        assert context.transfer_syntax == instance.identity.transfer_syntax, "sent over a context that says otherwise"
        self._pacs.sent.append((instance.identity.sop_instance, instance.identity.transfer_syntax))
        try:
            response = await self._pacs.respond(instance)
        except BaseException:
            self._end()
            raise
        if isinstance(response, Failed):
            self._end()
        return response

    async def echo(self, context_id: int) -> Response:
        """What the script says."""
        assert not self.over
        assert self._context(context_id).abstract_syntax == VERIFICATION
        self._pacs.echoes += 1
        if isinstance(self._pacs.echo_response, Failed):
            self._end()
        return self._pacs.echo_response

    async def still_open(self) -> bool:
        """Whether neither end has ended it."""
        if self.closed_by_peer:
            self._end()
        return not self.over

    async def release(self) -> None:
        """In order."""
        if not self.over:
            await anyio.sleep(self._pacs.seconds_to_release)
            self.released = True
            self._end()

    async def abort(self) -> None:
        """At once."""
        if not self.over:
            await anyio.lowlevel.checkpoint()
            self._end()

    def _context(self, context_id: int) -> AnsweredContext:
        (context,) = [context for context in self.contexts if context.id == context_id]
        return context

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self._pacs.open -= 1


class Relabels:
    """A transcoder that changes the label only: the scripted PACS looks at nothing else."""

    def __init__(self) -> None:
        self.failure: Failed | None = None
        self.held: dict[str, anyio.Event] = {}
        """Conversions of these SOP instances wait."""
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.files = 0
        self.most_files = 0

    @asynccontextmanager
    async def converted(self, instance: Outgoing, transfer_syntax: str, /) -> AsyncIterator[Outgoing]:
        """The instance in another transfer syntax."""
        name = instance.identity.sop_instance
        self.begun.append(name)
        if name in self.held:
            try:
                await self.held[name].wait()
            except BaseException:
                self.stopped.append(name)
                raise
        if self.failure is not None:
            raise NotConvertedError(self.failure)
        self.files += 1
        self.most_files = max(self.files, self.most_files)
        try:
            yield replace(instance, identity=replace(instance.identity, transfer_syntax=transfer_syntax))
        finally:
            self.files -= 1
