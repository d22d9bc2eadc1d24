"""A destination tried step by step: name, TCP, TLS, association, C-ECHO, presentation contexts; no instance is sent."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import anyio

from router.dicom.buffers import Buffers
from router.dicom.scu import Address, AssociationFailedError, OutgoingAssociation, associate
from router.dicom.sop_classes import name_of
from router.model.destination import Destination, Strategy
from router.model.outcome import Cause, Failed
from router.model.presentation_context import (
    MAXIMUM_CONTEXTS,
    VERIFICATION,
    AnsweredContext,
    ContextResult,
    PresentationContext,
)
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from router.rules.advice import CAUSES
from router.rules.negotiation import STRATEGIES, another_strategy
from router.rules.probing import contexts_for

SUCCESS = 0x0000

REJECTED: Mapping[tuple[int, int], str] = {
    (1, 3): "Have our AE title {calling}, and this machine's address, entered at the PACS; or change `local_ae_title`.",
    (1, 7): "The PACS does not go by {called}: correct `remote_ae_title`.",
}
"""What to do about an A-ASSOCIATE-RJ of this source and reason (PS3.8 Table 9-21)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and how it went."""

    name: str
    passed: bool
    words: str
    advice: str = ""
    """What to do."""
    seconds: float = 0.0


class _Watch:
    """Times steps, one after the other."""

    def __init__(self) -> None:
        self._since = anyio.current_time()
        self.steps: list[Step] = []

    def lap(self) -> float:
        """Seconds since the last one."""
        since, self._since = self._since, anyio.current_time()
        return self._since - since

    def reached(self, name: str) -> None:
        """An association that is being opened has come so far."""
        words = {"TCP": "connected", "TLS": "encrypted"}[name]
        self.steps.append(Step(name, passed=True, words=words, seconds=self.lap()))


async def trial(destination: Destination, calling_ae_title: str, sop_classes: Sequence[str]) -> AsyncIterator[Step]:
    """Each step as it is done; the first that fails is the last, but for a C-ECHO.

    Args:
        destination: that is tried.
        calling_ae_title: who we say we are.
        sop_classes: proposed in the transfer syntaxes of the destination's strategy, as many as find room.
    """
    address = Address.of(destination, calling_ae_title)
    watch = _Watch()
    step = await _name(address, watch)
    yield step
    if not step.passed:
        return
    verification = PresentationContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))
    opened = await _associate(address, [verification], destination, watch)
    for step in watch.steps:
        yield step
    if isinstance(opened, OutgoingAssociation):
        yield await _echo(opened, watch)
        await opened.release()
        watch.lap()
        yield await _contexts(address, destination, sop_classes, watch)


async def _name(address: Address, watch: _Watch) -> Step:
    try:
        found = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        words = f"{address.host!r} has no address: {why}"
        return Step(
            "DNS", passed=False, words=words, advice=CAUSES[Cause.NAME_NOT_RESOLVED].remedy, seconds=watch.lap()
        )
    addresses = ", ".join(dict.fromkeys(str(each[4][0]) for each in found))
    return Step("DNS", passed=True, words=addresses, seconds=watch.lap())


async def _associate(
    address: Address, contexts: Sequence[PresentationContext], destination: Destination, watch: _Watch
) -> OutgoingAssociation | None:
    """The association; its steps are added to the watch's."""
    try:
        opened = await associate(
            address, contexts, deadlines=destination.deadlines, buffers=Buffers(1), reached=watch.reached
        )
    except AssociationFailedError as failed:
        done = {step.name for step in watch.steps}
        expected = ("TCP", "association") if address.tls is None else ("TCP", "TLS", "association")
        name = next(name for name in expected if name not in done)
        watch.steps.append(
            Step(name, passed=False, words=str(failed), advice=_advice(address, failed), seconds=watch.lap())
        )
        return None
    implementation = opened.implementation_version_name or opened.implementation_class_uid
    words = f"accepted by {implementation}"
    watch.steps.append(Step("association", passed=True, words=words, seconds=watch.lap()))
    return opened


def _advice(address: Address, failed: AssociationFailedError) -> str:
    if failed.rejection is not None and failed.rejection[1:] in REJECTED:
        words = REJECTED[failed.rejection[1:]]
        return words.format(calling=address.calling_ae_title, called=address.called_ae_title)
    return CAUSES[failed.failure.cause].remedy


async def _echo(opened: OutgoingAssociation, watch: _Watch) -> Step:
    if opened.contexts[0].transfer_syntax is None:
        words = "the peer does not support Verification"
        return Step(
            "C-ECHO", passed=False, words=words, advice="Nothing, if the next step passes.", seconds=watch.lap()
        )
    answer = await opened.echo(1)
    if isinstance(answer, Failed):
        advice = CAUSES[answer.cause].remedy
        return Step("C-ECHO", passed=False, words=answer.error, advice=advice, seconds=watch.lap())
    passed = answer.status == SUCCESS
    advice = "" if passed else "Ask the PACS's administrator."
    return Step("C-ECHO", passed=passed, words=f"answered {answer.status:04X}H", advice=advice, seconds=watch.lap())


async def _contexts(address: Address, destination: Destination, sop_classes: Sequence[str], watch: _Watch) -> Step:
    strategy = destination.transfer_syntax_strategy
    syntaxes = destination.transfer_syntaxes if strategy is Strategy.LISTED else STRATEGIES[strategy]
    pairs = [(sop_class, syntax) for sop_class in sop_classes for syntax in syntaxes][:MAXIMUM_CONTEXTS]
    try:
        opened = await associate(address, contexts_for(pairs), deadlines=destination.deadlines, buffers=Buffers(1))
    except AssociationFailedError as failed:
        sentence = f"with the {len(pairs)} of strategy {strategy}: {failed}"
        helps = another_strategy(failed.failure, failed.rejection)
        advice = "Run `probe`, and configure what it recommends." if helps else _advice(address, failed)
        return Step("contexts", passed=False, words=sentence, advice=advice, seconds=watch.lap())
    await opened.release()
    taken = [answer for answer in opened.contexts if answer.result is ContextResult.ACCEPTANCE]
    words = f"{len(taken)} of the {len(pairs)} of strategy {strategy} accepted"
    if not taken:
        advice = "Run `probe`: the PACS may take other kinds of objects, or other transfer syntaxes."
        return Step("contexts", passed=False, words=words, advice=advice, seconds=watch.lap())
    return Step("contexts", passed=True, words=f"{words}: {_in_words(taken)}", seconds=watch.lap())


def _in_words(taken: Sequence[AnsweredContext]) -> str:
    """By transfer syntaxes, which are few, the classes that are taken in all of them."""
    syntaxes: dict[str, list[str]] = {}
    for each in taken:
        syntaxes.setdefault(each.abstract_syntax, []).append(transfer_syntax(str(each.transfer_syntax)).name)
    classes: dict[tuple[str, ...], list[str]] = {}
    for sop_class, names in syntaxes.items():
        classes.setdefault(tuple(names), []).append(name_of(sop_class))
    return "; ".join(f"{', '.join(names)} in {', '.join(taken_in)}" for taken_in, names in classes.items())
