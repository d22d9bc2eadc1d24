"""What a peer accepts, found out deliberately: SOP classes × transfer syntaxes in few associations, and no instance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.dicom.buffers import Buffers
from router.dicom.scu import Address, AssociationFailedError, OutgoingAssociation, associate
from router.model.destination import SendDeadlines, Strategy
from router.model.presentation_context import MAXIMUM_CONTEXTS, ContextResult
from router.rules.negotiation import Pair, another_strategy
from router.rules.probing import MOST_ASSOCIATIONS, Appetite, contexts_for, recommend


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a peer answered, and what follows."""

    answers: Mapping[Pair, ContextResult]
    unanswered: tuple[Pair, ...]
    """It ends the association when one of these is proposed, even alone."""
    not_asked: tuple[Pair, ...]
    """There was no time for them: the peer takes few contexts at once, or went away."""
    implementation_class_uid: str
    implementation_version_name: str
    maximum_length: int
    """Of the P-DATA-TF PDUs that the peer takes, in bytes; 0: any."""
    most_contexts: int
    """So many were taken at once; fewer than 128 only if more were refused."""
    associations: int
    strategy: Strategy | None
    """To configure; None: none would help."""
    words: str
    """Why this strategy, or why none."""
    trouble: str = ""
    """Why it ended early; empty: it did not."""


class _Search:
    """What has been found out so far."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.remaining = list(pairs)
        self._pairs = pairs
        self.answers: dict[Pair, ContextResult] = {}
        self.unanswered: list[Pair] = []
        self.appetite = Appetite()
        self.associations = 0
        self.peer: OutgoingAssociation | None = None

    @property
    def goes_on(self) -> bool:
        return self.associations < MOST_ASSOCIATIONS and (bool(self.remaining) or self.appetite.undecided)

    def next(self) -> list[Pair]:
        self.associations += 1
        # To find out how many it takes, what is known already is asked once more.
        again = self._pairs if self.appetite.limited else ()
        return [*dict.fromkeys((*self.remaining, *again))][: self.appetite.next]

    def answered(self, asked: Sequence[Pair], association: OutgoingAssociation) -> None:
        self.peer = association
        self.answers |= {pair: answer.result for pair, answer in zip(asked, association.contexts, strict=True)}
        self.appetite = self.appetite.after(len(asked), taken=True)
        del self.remaining[: len(asked)]

    def refused(self, asked: Sequence[Pair]) -> None:
        if len(asked) > 1:
            self.appetite = self.appetite.after(len(asked), taken=False)
        else:
            # It was this one, not the number.
            self.unanswered += asked
            self.appetite = Appetite()
            del self.remaining[:1]


async def probe(address: Address, pairs: Sequence[Pair], *, deadlines: SendDeadlines, buffers: Buffers) -> Matrix:
    """Ask a peer which of the pairs it accepts.

    A peer that ends or rejects an association without a reason is asked for fewer at once, until it answers.

    Raises:
        AssociationFailedError: no association was opened at all.
    """
    search = _Search(pairs)
    trouble = ""
    while search.goes_on:
        asked = search.next()
        try:
            association = await associate(address, contexts_for(asked), deadlines=deadlines, buffers=buffers)
        except AssociationFailedError as failed:
            liked = search.peer is not None
            if not another_strategy(failed.failure, failed.rejection) or (len(asked) == 1 and not liked):
                if not liked:
                    raise
                trouble = str(failed)
                break
            search.refused(asked)
        else:
            search.answered(asked, association)
            await association.release()
    return _matrix(search, trouble)


def _matrix(search: _Search, trouble: str) -> Matrix:
    assert search.peer is not None, "an association was opened, or an error raised"
    found = recommend(search.answers, search.unanswered, search.appetite)
    return Matrix(
        answers=search.answers,
        unanswered=tuple(search.unanswered),
        not_asked=tuple(search.remaining),
        implementation_class_uid=search.peer.implementation_class_uid,
        implementation_version_name=search.peer.implementation_version_name,
        maximum_length=search.peer.maximum_length,
        most_contexts=search.appetite.took if search.appetite.limited else MAXIMUM_CONTEXTS,
        associations=search.associations,
        strategy=found.strategy,
        words=found.words,
        trouble=trouble,
    )
