"""Probing PACS of pynetdicom, and peers that end the association when they do not like it."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from router.dicom.buffers import Buffers
from router.dicom.link import Link
from router.dicom.scu import Address, AssociationFailedError
from router.flow.probe import Matrix, probe
from router.model.destination import SendDeadlines, Strategy
from router.model.presentation_context import AnsweredContext, ContextResult, PresentationContext
from router.model.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    RLE_LOSSLESS,
)
from router.protocol import Acceptor, ReleaseRequested
from router.rules.probing import COMMON_SOP_CLASSES, COMMON_TRANSFER_SYNTAXES, MOST_ASSOCIATIONS, pairs_of
from tests.dicom.peers import PATIENCE, Script, acting, until_ended
from tests.peers import AE_TITLE, EVERYTHING, accepting
from tests.protocol.pair import CLASS_UID, VERSION

pytestmark = pytest.mark.negotiation

CT = "1.2.840.10008.5.1.4.1.1.2"
PAIRS = pairs_of(COMMON_SOP_CLASSES)
Likes = Callable[[Sequence[PresentationContext]], bool]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Sockets and threads: not the mock clock of the other tests here."""
    return "asyncio"


async def ask(port: int, *, called: str = AE_TITLE) -> Matrix:
    """The whole list."""
    patient = timedelta(seconds=PATIENCE)
    return await probe(
        Address("127.0.0.1", port, called, "ROUTER"),
        PAIRS,
        deadlines=SendDeadlines(patient, patient, patient),
        buffers=Buffers(1),
    )


@pytest.mark.parametrize(
    ("accepted", "strategy"),
    [
        (EVERYTHING, Strategy.EXTENDED),
        ([IMPLICIT_VR_LITTLE_ENDIAN], Strategy.UNIVERSAL),
        ([IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN], Strategy.CONSERVATIVE),
        ([EXPLICIT_VR_BIG_ENDIAN], Strategy.STANDARD),
        ([JPEG_2000_LOSSLESS], Strategy.COMPRESSION),
        ([RLE_LOSSLESS], Strategy.COMPRESSION),
        (["1.2.840.10008.1.2.4.50"], Strategy.EXTENDED),
        ([], None),
    ],
    ids=["everything", "Implicit", "little endian", "Big Endian", "JPEG 2000", "RLE", "JPEG", "nothing"],
)
async def test_a_pacs_gets_its_strategy(accepted: Sequence[str], strategy: Strategy | None) -> None:
    """The answers are the PACS's, for every pair, in as few associations as there can be."""
    with accepting(*accepted) as pacs:
        matrix = await ask(pacs.port)
    assert matrix.strategy is strategy
    assert {pair for pair, result in matrix.answers.items() if result is ContextResult.ACCEPTANCE} == {
        (sop_class, syntax) for sop_class, syntax in PAIRS if syntax in accepted
    }
    assert set(matrix.answers) == set(PAIRS)
    assert matrix.associations == pacs.associations == -(-len(PAIRS) // 128)
    assert matrix.implementation_version_name.startswith("PYNETDICOM")
    assert (matrix.maximum_length, matrix.most_contexts) == (16382, 128)


async def test_a_pacs_that_lacks_a_class_says_so() -> None:
    """Result 3, where a transfer syntax would be result 4."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN, sop_classes=[CT]) as pacs:
        matrix = await ask(pacs.port)
    of = {sop_class: matrix.answers[sop_class, EXPLICIT_VR_LITTLE_ENDIAN] for sop_class in COMMON_SOP_CLASSES}
    assert of.pop(CT) is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    assert set(of.values()) == {ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED}


def choosy(likes: Likes, *, rejects: tuple[int, int, int] | None = None) -> Script:
    """A peer that accepts all contexts of a proposal that it likes; else it closes, or rejects."""

    async def script(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        request = link.connection.request()
        if not likes(request.contexts):
            if rejects is not None:
                result, source, reason = rejects
                await link.transport.send([link.connection.reject(result=result, source=source, reason=reason)])
            return
        answers = [
            AnsweredContext(each.id, each.abstract_syntax, ContextResult.ACCEPTANCE, each.transfer_syntaxes[0])
            for each in request.contexts
        ]
        accepted = link.connection.accept(
            request, answers, implementation_class_uid=CLASS_UID, implementation_version_name=VERSION
        )
        await link.transport.send([accepted])
        assert isinstance(await link.event(PATIENCE), ReleaseRequested)
        await link.transport.send([link.connection.confirm_release()])
        await until_ended(link)

    return script


@pytest.mark.parametrize("rejects", [None, (1, 1, 1)], ids=["closes", "RJ 1/1/1"])
@pytest.mark.parametrize(("limit", "strategy"), [(20, Strategy.CONSERVATIVE), (100, Strategy.EXTENDED)])
async def test_a_peer_that_takes_few_contexts_is_asked_for_fewer(
    limit: int, strategy: Strategy, rejects: tuple[int, int, int] | None
) -> None:
    """How many it takes is found out, and all pairs are asked; a strategy is recommended that fits the number."""
    async with acting(choosy(lambda contexts: len(contexts) <= limit, rejects=rejects)) as port:
        matrix = await ask(port)
    assert (matrix.most_contexts, matrix.strategy) == (limit, strategy)
    assert (len(matrix.answers), matrix.unanswered, matrix.not_asked) == (len(PAIRS), (), ())


async def test_a_peer_that_takes_one_context_is_not_called_without_end() -> None:
    """What is left is reported as not asked; the universal pairs are known for every class."""
    async with acting(choosy(lambda contexts: len(contexts) == 1)) as port:
        matrix = await ask(port)
    assert (matrix.most_contexts, matrix.strategy) == (1, Strategy.UNIVERSAL)
    assert matrix.associations == MOST_ASSOCIATIONS
    assert set(matrix.answers) | set(matrix.not_asked) == set(PAIRS)
    assert {(each, IMPLICIT_VR_LITTLE_ENDIAN) for each in COMMON_SOP_CLASSES} <= set(matrix.answers)


async def test_a_pair_that_the_peer_ends_the_association_for_is_named() -> None:
    """The others are answered all the same."""
    bad = "1.2.840.10008.1.2.4.203"
    assert bad in COMMON_TRANSFER_SYNTAXES

    def likes(contexts: Sequence[PresentationContext]) -> bool:
        return not any(each.abstract_syntax == CT and bad in each.transfer_syntaxes for each in contexts)

    async with acting(choosy(likes)) as port:
        matrix = await ask(port)
    assert matrix.unanswered == ((CT, bad),)
    assert len(matrix.answers) == len(PAIRS) - 1
    assert (matrix.most_contexts, matrix.strategy) == (128, Strategy.COMPRESSION)


async def test_a_peer_that_goes_away_has_told_what_it_told() -> None:
    """The matrix says why it ended early."""
    asked = 0

    def once(_: Sequence[PresentationContext]) -> bool:
        nonlocal asked
        asked += 1
        return asked == 1

    async with acting(choosy(once, rejects=(2, 3, 2))) as port:
        matrix = await ask(port)
    assert len(matrix.answers) == 128
    assert matrix.not_asked == PAIRS[128:]
    assert "local limit exceeded" in matrix.trouble


async def test_a_peer_that_does_not_know_the_ae_title_is_not_probed(free_port: Callable[[], int]) -> None:
    """Nor one that is down; the error says which."""
    with (
        accepting(*EVERYTHING) as pacs,
        pytest.raises(AssociationFailedError, match="called AE title not recognized"),
    ):
        await ask(pacs.port, called="ANOTHER")
    assert pacs.associations <= 1
    with pytest.raises(AssociationFailedError, match="Cannot connect"):
        await ask(free_port())


async def test_a_peer_that_ends_every_association_is_not_probed() -> None:
    """After the smallest proposal there is nothing left to ask."""
    async with acting(choosy(lambda _: False)) as port:
        with pytest.raises(AssociationFailedError):
            await ask(port)
