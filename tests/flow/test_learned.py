"""What a destination was seen to accept: what teaches, what does not, and what it changes."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.durable.queue import Seen
from router.flow.attempt import Attempt
from router.flow.learned import EXPIRES_AFTER, Learned, load
from router.flow.pending import Result
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.instance import Identity
from router.model.outcome import Answered, Stored
from router.model.presentation_context import AnsweredContext, ContextResult
from router.model.transfer_syntax import EXPLICIT_VR_BIG_ENDIAN
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN as EXPLICIT
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN as IMPLICIT
from router.rules.negotiation import STRATEGIES, Pair, Proposal, propose
from tests.durable.world import Clock, World
from tests.flow.pacs import Asked, Pacs, Relabels, aborted

pytestmark = pytest.mark.unit

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PACS = Destination("PACS", "PACS_SCP", "pacs.invalid", 104)
CONSERVATIVE, UNIVERSAL = Strategy.CONSERVATIVE, Strategy.UNIVERSAL


class Notebook:
    """What was told to be remembered, in turn."""

    def __init__(self) -> None:
        self.told: list[Mapping[Pair, Seen]] = []

    async def __call__(self, news: Mapping[Pair, Seen]) -> None:
        """One more."""
        self.told.append(news)


def both() -> Proposal:
    """CT, in the two native little endian transfer syntaxes."""
    return propose([Identity(CT, "1.2.3", EXPLICIT)], CONSERVATIVE, PACS, lambda stored, target: stored != target)


def answers(proposal: Proposal, *results: ContextResult) -> Sequence[AnsweredContext]:
    """For the Storage contexts in turn."""
    return [
        AnsweredContext(
            context.id,
            context.abstract_syntax,
            result,
            context.transfer_syntaxes[0] if result is ContextResult.ACCEPTANCE else None,
        )
        for context, result in zip(proposal.contexts, results, strict=False)
    ]


def nothing(_: Strategy) -> frozenset[Pair]:
    """Nothing waits."""
    return frozenset()


def instance(name: str) -> Outgoing:
    """One that is stored in Explicit VR Little Endian; nobody reads its payload."""
    return Outgoing(ord(name), Identity(CT, name, EXPLICIT), Path(f"{name}.dcm"), 0, 10, None)


def of_ct(strategy: Strategy) -> Sequence[Pair]:
    """What a strategy would propose for CT images that anything can be made of."""
    return [(CT, syntax) for syntax in STRATEGIES[strategy]]


async def send(pacs: Pacs, learned: Learned, name: str, destination: Destination = PACS) -> Result:
    """One instance, in an attempt of its own."""
    async with Attempt(
        destination, transcoder=Relabels(), buffers=Buffers(1), journal=Journal(), associate=pacs, learned=learned
    ) as attempt:
        async with aclosing(attempt.outcomes([instance(name)])) as results:
            (result,) = [result async for result in results]
        await attempt.release()
    return result


async def test_answers_for_good_are_learned_once() -> None:
    """Acceptance, and results 3 and 4; results 1 and 2 teach nothing, and what is known is not told again."""
    notebook, proposal = Notebook(), both()
    learned = Learned(notebook)
    syntaxes = [context.transfer_syntaxes[0] for context in proposal.contexts[:2]]
    await learned.answered(answers(proposal, ContextResult.USER_REJECTION, ContextResult.NO_REASON), proposal)
    assert notebook.told == []
    for _ in range(2):
        await learned.answered(
            answers(proposal, ContextResult.ACCEPTANCE, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED), proposal
        )
    assert notebook.told == [{(CT, syntaxes[0]): Seen.ACCEPTED, (CT, syntaxes[1]): Seen.REFUSED}]
    await learned.answered(answers(proposal, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED), proposal)
    assert notebook.told[1:] == [{(CT, syntaxes[0]): Seen.REFUSED}]


async def test_a_refused_context_that_is_accepted_later_is_used_at_once() -> None:
    """Somebody enabled the transfer syntax at the peer."""
    proposal = both()
    learned = Learned(Notebook())
    for result in (ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, ContextResult.ACCEPTANCE):
        await learned.answered(answers(proposal, result, result), proposal)
        assert learned.avoided(CT) == frozenset()


async def test_an_instance_refused_in_one_syntax_and_stored_in_another_spares_the_next_one() -> None:
    """C000H in Explicit, 0000H in Implicit: from then on instances of the class go Implicit at once, others do not.

    That the peer goes on accepting contexts for Explicit changes nothing.
    """
    pacs, learned = Pacs(), Learned(Notebook())

    async def respond(sent: Outgoing) -> Answered:
        return Answered(0xC000 if sent.identity.transfer_syntax == EXPLICIT else 0)

    pacs.respond = respond
    assert (await send(pacs, learned, "A")).strategies_tried == (CONSERVATIVE, UNIVERSAL)
    assert learned.avoided(CT) == {EXPLICIT}
    assert learned.avoided(MR) == frozenset()
    for name in "BC":
        result = await send(pacs, learned, name)
        assert (result.outcome, result.strategies_tried) == (Stored(0), (CONSERVATIVE,))
    assert pacs.sent == [("A", EXPLICIT), ("A", IMPLICIT), ("B", IMPLICIT), ("C", IMPLICIT)]


async def test_what_is_avoided_is_not_forbidden() -> None:
    """Where nothing else is accepted it is used; if the instance is stored so, it is no longer avoided."""
    pacs, learned = Pacs(), Learned(Notebook())
    await learned.stored(CT, IMPLICIT, refused=frozenset({EXPLICIT}))
    pacs.accepts = frozenset({EXPLICIT})
    assert (await send(pacs, learned, "A")).outcome == Stored(0)
    assert pacs.sent == [("A", EXPLICIT)]
    assert learned.avoided(CT) == frozenset()


async def test_a_refusal_that_no_other_syntax_helped_teaches_nothing() -> None:
    """It is the instance that the peer does not want."""
    pacs, notebook = Pacs(), Notebook()
    learned = Learned(notebook)
    pacs.script({"A": [Answered(0xC000)]})
    await send(pacs, learned, "A")
    assert {seen for news in notebook.told for seen in news.values()} == {Seen.ACCEPTED}
    assert learned.avoided(CT) == frozenset()


async def test_a_strategy_whose_association_failed_is_tried_last() -> None:
    """If another one's was accepted after it; for an hour, and only if there is another."""
    pacs, learned = Pacs(), Learned(Notebook())
    pacs.refusal = lambda asked: aborted() if asked.syntaxes == "EI" else None
    assert (await send(pacs, learned, "A")).associations == 2
    assert (await send(pacs, learned, "B")).associations == 1
    asked: list[Asked] = pacs.asked
    assert [each.syntaxes for each in asked] == ["EI", "I", "I"]
    assert list(learned.in_order([CONSERVATIVE, UNIVERSAL], nothing)) == [UNIVERSAL, CONSERVATIVE]
    assert list(learned.in_order([CONSERVATIVE], nothing)) == [CONSERVATIVE]


async def test_a_destination_that_is_down_teaches_nothing() -> None:
    """Every association failed: the order stays."""
    pacs, notebook = Pacs(), Notebook()
    learned = Learned(notebook)
    pacs.refusal = lambda _: aborted()
    await send(pacs, learned, "A")
    assert notebook.told == []
    assert list(learned.in_order([CONSERVATIVE, UNIVERSAL], nothing)) == [CONSERVATIVE, UNIVERSAL]


async def test_a_strategy_of_which_the_peer_refused_everything_is_tried_after_the_others() -> None:
    """Late, not never; what is unknown is as good as what was accepted, and an unknown peer changes nothing."""
    learned, chain = Learned(Notebook()), [Strategy.STANDARD, CONSERVATIVE, UNIVERSAL]
    assert list(learned.in_order(chain, of_ct)) == chain
    proposal = both()
    await learned.answered(answers(proposal, *2 * [ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED]), proposal)
    chain = [Strategy.COMPRESSION, CONSERVATIVE, Strategy.STANDARD, UNIVERSAL]
    assert list(learned.in_order(chain, of_ct)) == [Strategy.COMPRESSION, Strategy.STANDARD, CONSERVATIVE, UNIVERSAL]
    assert list(learned.in_order(chain, lambda _: {(MR, EXPLICIT)})) == chain


async def test_refused_contexts_reorder_the_chain_of_the_next_attempt() -> None:
    """A peer that takes Big Endian alone costs `compression` two associations once; then it begins with `standard`."""
    pacs, learned = Pacs(), Learned(Notebook())
    pacs.accepts = frozenset({EXPLICIT_VR_BIG_ENDIAN})
    destination = replace(PACS, transfer_syntax_strategy=Strategy.COMPRESSION)
    first = await send(pacs, learned, "A", destination)
    assert (first.outcome, first.strategies_tried) == (Stored(0), (Strategy.COMPRESSION, Strategy.STANDARD))
    second = await send(pacs, learned, "B", destination)
    assert (second.outcome, second.strategies_tried) == (Stored(0), (Strategy.STANDARD,))


async def test_a_peer_that_takes_nothing_any_more_is_still_asked_for_everything() -> None:
    """Negative facts forbid nothing: what it takes again is found out by the next attempt."""
    pacs, learned = Pacs(), Learned(Notebook())
    pacs.accepts = frozenset()
    assert not isinstance((await send(pacs, learned, "A")).outcome, Stored)
    pacs.accepts = frozenset({IMPLICIT})
    result = await send(pacs, learned, "B")
    assert (result.outcome, result.strategies_tried) == (Stored(0), (CONSERVATIVE,))


async def test_what_is_learned_expires_in_a_running_daemon() -> None:
    """After a week it is found out anew, and remembered with a new date."""
    clock, notebook = Clock(), Notebook()
    learned = Learned(notebook, clock=clock)
    await learned.stored(CT, IMPLICIT, refused=frozenset({EXPLICIT}))
    clock.advance(EXPIRES_AFTER)
    assert learned.avoided(CT) == {EXPLICIT}
    clock.advance(timedelta(seconds=1))
    assert learned.avoided(CT) == frozenset()
    await learned.stored(CT, IMPLICIT, refused=frozenset())
    assert notebook.told[1:] == [{(CT, IMPLICIT): Seen.ACCEPTED}]


async def test_what_is_learned_is_loaded_again_for_the_same_peer_only(tmp_path: Path) -> None:
    """After a restart, and not after its address changed."""
    journal, clock = Journal(), Clock()
    world = World(tmp_path, clock=clock)
    async with world.running("PACS"):
        learned = await load(PACS, world.queue.capabilities, journal=journal, clock=clock)
        await learned.stored(CT, IMPLICIT, refused=frozenset({EXPLICIT}))
    world = World(tmp_path, clock=clock)
    async with world.running("PACS"):
        learned = await load(PACS, world.queue.capabilities, journal=journal, clock=clock)
        assert learned.avoided(CT) == {EXPLICIT}
        moved = Destination("PACS", "PACS_SCP", "new.invalid", 104)
        learned = await load(moved, world.queue.capabilities, journal=journal, clock=clock)
        assert learned.avoided(CT) == frozenset()
