"""How to find out what a peer accepts in few associations, and what to recommend then."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from router.model.destination import Strategy
from router.model.presentation_context import MAXIMUM_CONTEXTS, ContextResult, PresentationContext
from router.model.transfer_syntax import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
from router.rules.negotiation import FALLBACK_CHAIN, LITTLE_ENDIAN, LOSSLESS, STRATEGIES, Pair, strategy_for

COMMON_SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography Image Storage
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray Image Storage - For Presentation
    "1.2.840.10008.5.1.4.1.1.6.1",  # Ultrasound Image Storage
    "1.2.840.10008.5.1.4.1.1.3.1",  # Ultrasound Multi-frame Image Storage
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.1.2",  # Digital Mammography X-Ray Image Storage - For Presentation
    "1.2.840.10008.5.1.4.1.1.20",  # Nuclear Medicine Image Storage
    "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography Image Storage
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR Storage
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF Storage
)
"""What most departments send."""

COMMON_TRANSFER_SYNTAXES = (
    *LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    *LOSSLESS,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.203",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.100",  # MPEG2 Main Profile / Main Level
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC/H.264 High Profile / Level 4.1
)
"""All that the strategies up to ``compression`` propose, and what is common beyond."""

CLASSES_AT_ONCE = 4
"""SOP classes that wait together in most departments: images, and what is about them. For more there is fallback."""

MOST_ASSOCIATIONS = 50
"""A peer that takes few contexts at once is not called without end: what is asked last stays unknown."""


def pairs_of(sop_classes: Iterable[str]) -> tuple[Pair, ...]:
    """What is asked, the most important first: each class in the first transfer syntax, then in the next one."""
    classes = tuple(dict.fromkeys(sop_classes))
    return tuple((sop_class, syntax) for syntax in COMMON_TRANSFER_SYNTAXES for sop_class in classes)


def contexts_for(pairs: Sequence[Pair]) -> tuple[PresentationContext, ...]:
    """One context for each, so that the answer is exact."""
    return tuple(
        PresentationContext(2 * number + 1, sop_class, (syntax,)) for number, (sop_class, syntax) in enumerate(pairs)
    )


@dataclass(frozen=True, slots=True)
class Appetite:
    """How many contexts a peer takes at once, as far as is known: a bisection between what it took and refused."""

    took: int = 0
    refused: int = MAXIMUM_CONTEXTS + 1

    @property
    def next(self) -> int:
        """How many to propose next."""
        if self.refused > MAXIMUM_CONTEXTS:
            return MAXIMUM_CONTEXTS
        return max(self.took, (self.took + self.refused) // 2)

    @property
    def limited(self) -> bool:
        """Whether it has refused a proposal for what may be its length."""
        return self.refused <= MAXIMUM_CONTEXTS

    @property
    def undecided(self) -> bool:
        """Whether a number between what it took and what it refused may be taken."""
        return self.limited and 0 < self.took < self.refused - 1

    def after(self, contexts: int, *, taken: bool) -> "Appetite":
        """What is known after a proposal of so many contexts."""
        if taken:
            return Appetite(max(self.took, contexts), self.refused)
        # What was taken before may be refused now, if it is not the number that the peer dislikes: search below.
        return Appetite(self.took if self.took < contexts else 0, contexts)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The strategy to configure; None: none would help."""

    strategy: Strategy | None
    words: str


def recommend(answers: Mapping[Pair, ContextResult], unanswered: Iterable[Pair], appetite: Appetite) -> Recommendation:
    """What to configure for a peer.

    Args:
        answers: the peer's.
        unanswered: pairs at which it ends the association, even if one is proposed alone.
        appetite: how many contexts it takes.
    """
    accepted = {syntax for (_, syntax), result in answers.items() if result is ContextResult.ACCEPTANCE}
    if not accepted:
        return Recommendation(None, _why_nothing(answers))
    disliked = {syntax for _, syntax in unanswered}
    suitable = strategy_for(accepted)
    for strategy in FALLBACK_CHAIN[FALLBACK_CHAIN.index(suitable) :]:
        reached = accepted & set(STRATEGIES[strategy])
        if reached and not disliked & set(STRATEGIES[strategy]):
            suitable = strategy
            break
    if appetite.limited and _contexts(suitable) > appetite.took:
        return _fitting(suitable, accepted, appetite)
    return Recommendation(suitable, _why(suitable, accepted))


def _contexts(strategy: Strategy) -> int:
    """How many it proposes for instances of ``CLASSES_AT_ONCE`` SOP classes, the one for Verification too."""
    # `extended` proposes an instance as it is stored, and as what it can be converted to.
    syntaxes = min(len(STRATEGIES[strategy]), len(STRATEGIES[Strategy.COMPRESSION]) + 1)
    return CLASSES_AT_ONCE * syntaxes + 1


def _fitting(suitable: Strategy, accepted: set[str], appetite: Appetite) -> Recommendation:
    """The richest strategy that reaches something with as many contexts as the peer takes; if none does, the least."""
    told = f"the peer took {appetite.took} at once and refused {appetite.refused} presentation contexts"
    lesser = FALLBACK_CHAIN[FALLBACK_CHAIN.index(suitable) :]
    # Who takes Little Endian gains nothing by Big Endian, which PS3.5 has retired.
    useful = accepted - {EXPLICIT_VR_BIG_ENDIAN}
    dispensable = Strategy.STANDARD if useful else None
    useful = useful or accepted
    reaching = [each for each in lesser if useful & set(STRATEGIES[each]) and each is not dispensable]
    fitting = [strategy for strategy in reaching if _contexts(strategy) <= appetite.took]
    if not fitting:
        return Recommendation(reaching[-1], f"{told}; of what it accepts '{reaching[-1]}' proposes the fewest")
    few = f"'{fitting[0]}' needs {_contexts(fitting[0])} for {CLASSES_AT_ONCE} SOP classes"
    return Recommendation(fitting[0], f"{told}; {few}")


def _why(strategy: Strategy, accepted: set[str]) -> str:
    missed = len(accepted - set(STRATEGIES[strategy]))
    if missed:
        return f"the peer ends associations that propose more than '{strategy}'; {missed} that it accepts go unused"
    return f"'{strategy}' is the least strategy that proposes all that the peer accepts"


def _why_nothing(answers: Mapping[Pair, ContextResult]) -> str:
    results = set(answers.values())
    if results == {ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED}:
        return "the peer supports none of these SOP classes: ask its administrator to enable them for this AE title"
    return "the peer accepts none of these transfer syntaxes: ask its administrator which ones it is meant to accept"
