"""What to propose to a destination, how to send over what was accepted, and what to try next (design: negotiation)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from router.model.destination import Destination, Prefer, ProposeStored, Strategy
from router.model.instance import Identity
from router.model.outcome import Cause, Failed
from router.model.presentation_context import (
    MAXIMUM_CONTEXTS,
    VERIFICATION,
    AnsweredContext,
    ContextResult,
    PresentationContext,
)
from router.model.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    TRANSFER_SYNTAXES,
    Kind,
    transfer_syntax,
)

Pair = tuple[str, str]
"""SOP class and transfer syntax: the unit of proposal, so that the peer's answer is exact."""

Converts = Callable[[str, str], bool]
"""Whether this router can convert losslessly from one transfer syntax to another."""

LITTLE_ENDIAN = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)
LOSSLESS = (
    RLE_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    HTJ2K_LOSSLESS,
)

STRATEGIES: Mapping[Strategy, tuple[str, ...]] = {
    Strategy.UNIVERSAL: (IMPLICIT_VR_LITTLE_ENDIAN,),
    Strategy.CONSERVATIVE: LITTLE_ENDIAN,
    Strategy.STANDARD: (*LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN),
    Strategy.COMPRESSION: LITTLE_ENDIAN + LOSSLESS,
    Strategy.EXTENDED: (*TRANSFER_SYNTAXES,),
}
"""What each strategy may propose; ``extended`` unknown and private syntaxes too, as stored."""

FALLBACK_CHAIN = (
    Strategy.EXTENDED,
    Strategy.COMPRESSION,
    Strategy.STANDARD,
    Strategy.CONSERVATIVE,
    Strategy.UNIVERSAL,
)
DROPPED_FIRST = (Strategy.STANDARD, Strategy.CONSERVATIVE, Strategy.COMPRESSION)
"""What a chain that is too long does without; ``universal`` stays last."""

SMALLEST_ORDER = (JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, RLE_LOSSLESS)
"""Which compression comes first where one is wanted."""

CONVERSION_ORDER = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
"""Which conversion comes first when the stored syntax was not accepted: the one that loses least about VRs."""


def chain(strategy: Strategy, max_association_retries: int) -> tuple[Strategy, ...]:
    """The strategies of one attempt in their order, starting at the configured one.

    At most ``max_association_retries`` follow the first. A list of the destination's own has no fallback: who writes
    one means it.
    """
    if strategy is Strategy.LISTED:
        return (strategy,)
    strategies = list(FALLBACK_CHAIN[FALLBACK_CHAIN.index(strategy) :])
    for dispensable in DROPPED_FIRST:
        if len(strategies) > max_association_retries + 1 and dispensable in strategies[1:]:
            strategies.remove(dispensable)
    return tuple(strategies[: max_association_retries + 1])


def candidates(identity: Identity, strategy: Strategy, destination: Destination, converts: Converts) -> tuple[str, ...]:
    """The transfer syntaxes that this instance may be proposed in, the stored one first where it may be."""
    stored = identity.transfer_syntax
    lossy = transfer_syntax(stored).kind is Kind.LOSSY
    allowed = destination.transfer_syntaxes if strategy is Strategy.LISTED else STRATEGIES[strategy]
    converted: tuple[str, ...] = ()
    if not destination.never_convert and (destination.decompress_lossy or not lossy):
        converted = tuple(syntax for syntax in allowed if syntax != stored and converts(stored, syntax))
    match destination.propose_stored:
        case ProposeStored.ALWAYS:
            beside = True
        case ProposeStored.NEVER:
            beside = False
        case ProposeStored.AUTO:
            # Stored lossy, or with no lossless native form here: nothing else could ever be sent as it is.
            native = stored in LITTLE_ENDIAN or any(converts(stored, syntax) for syntax in LITTLE_ENDIAN)
            beside = lossy or not native or destination.never_convert
        case _:
            assert_never(destination.propose_stored)
    as_stored = (stored,) if beside or strategy is Strategy.EXTENDED or stored in allowed else ()
    return as_stored + converted


@dataclass(frozen=True, slots=True)
class Proposal:
    """The presentation contexts for one association, and for whom there was room."""

    contexts: tuple[PresentationContext, ...]
    pairs: frozenset[Pair]

    def covers(self, wanted: Iterable[Pair]) -> bool:
        """Whether everything wanted is proposed."""
        return self.pairs.issuperset(wanted)


def propose(
    identities: Sequence[Identity], strategy: Strategy, destination: Destination, converts: Converts
) -> Proposal:
    """One context per (SOP class, transfer syntax) pair that the waiting instances can use.

    At most 127 Storage contexts and one for Verification: 128 is the limit of PS3.8. An instance whose pairs found no
    room waits for the next association.
    """
    pairs: dict[Pair, None] = {}
    for identity in identities:
        for syntax in candidates(identity, strategy, destination, converts):
            pairs.setdefault((identity.sop_class, syntax))
    proposed = list(pairs)[: MAXIMUM_CONTEXTS - 1]
    contexts = [
        PresentationContext(2 * number + 1, sop_class, (syntax,)) for number, (sop_class, syntax) in enumerate(proposed)
    ]
    contexts.append(PresentationContext(2 * len(proposed) + 1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)))
    return Proposal(tuple(contexts), frozenset(proposed))


@dataclass(frozen=True, slots=True)
class AsIs:
    """Send the stored bytes over this context."""

    context_id: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Convert:
    """Convert losslessly to this transfer syntax, and send over this context."""

    context_id: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """No accepted context can carry this instance under this strategy."""

    accepted: tuple[str, ...]
    """The transfer syntaxes that the peer accepted for its SOP class."""
    sop_class_refused: bool
    """The peer answered «abstract syntax not supported» for all of its contexts."""


Plan = AsIs | Convert | Unsupported


def plan(
    identity: Identity,
    answers: Sequence[AnsweredContext],
    strategy: Strategy,
    destination: Destination,
    converts: Converts,
    *,
    failed: frozenset[str] = frozenset(),
    avoided: frozenset[str] = frozenset(),
) -> Plan:
    """How to send one instance over what was accepted: as stored if possible, else by a lossless conversion.

    Args:
        identity: of the instance.
        answers: the peer's, for the contexts of ``propose``.
        strategy: the one in turn.
        destination: for ``propose_stored``.
        converts: what can be converted.
        failed: transfer syntaxes in which the peer has refused this very instance before.
        avoided: those in which it has refused others of this SOP class: taken only if nothing else is left.
    """
    own = [answer for answer in answers if answer.abstract_syntax == identity.sop_class]
    accepted = {answer.transfer_syntax: answer.id for answer in own if answer.transfer_syntax is not None}
    usable = [
        syntax
        for syntax in candidates(identity, strategy, destination, converts)
        if syntax in accepted and syntax not in failed
    ]
    if usable:
        best = min(usable, key=lambda syntax: (syntax in avoided, _rank(syntax, identity.transfer_syntax, destination)))
        return (AsIs if best == identity.transfer_syntax else Convert)(accepted[best], best)
    refused = bool(own) and all(answer.result is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED for answer in own)
    return Unsupported(tuple(sorted(accepted)), refused)


def _rank(syntax: str, stored: str, destination: Destination) -> int:
    """How good a transfer syntax is for an instance; the smallest wins."""
    compress = destination.prefer is Prefer.SMALLEST and transfer_syntax(stored).kind is Kind.NATIVE
    order = (*SMALLEST_ORDER, stored, *CONVERSION_ORDER) if compress else (stored, *CONVERSION_ORDER, *SMALLEST_ORDER)
    return order.index(syntax) if syntax in order else len(order)


TAUGHT = {
    ContextResult.ACCEPTANCE: True,
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: False,
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: False,
}
"""What an answer says for good. The other results, aborts and timeouts teach nothing."""


def taught(answers: Iterable[AnsweredContext], proposal: Proposal) -> dict[Pair, bool]:
    """Which pairs the peer was seen to accept, and which to refuse for good."""
    proposed = {context.id: context for context in proposal.contexts}
    return {
        (answer.abstract_syntax, proposed[answer.id].transfer_syntaxes[0]): TAUGHT[answer.result]
        for answer in answers
        if answer.result in TAUGHT
    }


def adds(
    identity: Identity, strategy: Strategy, destination: Destination, converts: Converts, tested: frozenset[Pair]
) -> bool:
    """Whether a strategy has a pair for this instance that has not failed yet; one that has none is skipped."""
    return any(
        (identity.sop_class, syntax) not in tested for syntax in candidates(identity, strategy, destination, converts)
    )


def another_strategy(failure: Failed, rejection: tuple[int, int, int] | None) -> bool:
    """Whether an association that was not opened may be opened with fewer contexts.

    Some peers abort or close on a proposal they do not like, or reject it without a reason (1/1/1). A wrong AE title,
    a lack of resources, or a peer that is unreachable or slow gets no better by another proposal.
    """
    return failure.cause is Cause.ASSOCIATION_ABORTED or rejection == (1, 1, 1)


def no_context(
    identity: Identity, plan: Unsupported, *, strategy: Strategy, destination: Destination, converts: Converts
) -> str:
    """The error for an instance that no accepted context can carry, with what would help."""
    return (
        f"No compatible presentation context for '{identity.sop_class}'. "
        f"Peer accepted transfer syntaxes: {list(plan.accepted)}. "
        f"Recommendation: {recommend(identity, plan, strategy=strategy, destination=destination, converts=converts)}"
    )


def recommend(
    identity: Identity, plan: Unsupported, *, strategy: Strategy, destination: Destination, converts: Converts
) -> str:
    """What would really help this instance, in words."""
    stored = transfer_syntax(identity.transfer_syntax)
    if plan.sop_class_refused:
        return "Ask the peer's administrator to enable this SOP class; the peer takes it in no transfer syntax"
    within_reach = [syntax for syntax in plan.accepted if converts(identity.transfer_syntax, syntax)]
    if within_reach and destination.never_convert:
        return "Remove `never_convert` from this destination"
    if within_reach and stored.kind is Kind.LOSSY and not destination.decompress_lossy:
        return "Set `decompress_lossy: true` for this destination"
    if within_reach and (suitable := strategy_for(plan.accepted)) is not strategy:
        return f"Use '{suitable}' strategy for this peer"
    return f"Ask the peer's administrator to enable {stored.name} for this SOP class"


def strategy_for(accepted: Iterable[str]) -> Strategy:
    """The least of the strategies that proposes everything that a peer accepts."""
    wanted = set(accepted)
    for strategy in reversed(FALLBACK_CHAIN):
        if wanted <= set(STRATEGIES[strategy]):
            return strategy
    return Strategy.EXTENDED
