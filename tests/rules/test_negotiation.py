"""What is proposed, how it is sent over what was accepted, and what comes next."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.destination import Destination, Prefer, ProposeStored, Strategy
from router.model.instance import Identity
from router.model.outcome import Cause, Failed
from router.model.presentation_context import VERIFICATION, AnsweredContext, ContextResult, PresentationContext
from router.model.transfer_syntax import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    TRANSFER_SYNTAXES,
    Kind,
    transfer_syntax,
)
from router.rules.negotiation import (
    DROPPED_FIRST,
    FALLBACK_CHAIN,
    STRATEGIES,
    AsIs,
    Convert,
    Converts,
    Unsupported,
    adds,
    another_strategy,
    candidates,
    chain,
    no_context,
    plan,
    propose,
    recommend,
    strategy_for,
    taught,
)

pytestmark = pytest.mark.unit

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
PRIVATE = "1.2.3.4"
PACS = Destination("PACS", "PACS", "127.0.0.1", 104)
NATIVE = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})
LOSSLESS = frozenset(
    {*NATIVE, RLE_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, EXPLICIT_VR_BIG_ENDIAN}
)


def native_only(stored: str, target: str) -> bool:
    """The router without codecs."""
    return stored != target and {stored, target} <= NATIVE


def with_codecs(stored: str, target: str) -> bool:
    """A router with lossless codecs."""
    return stored != target and {stored, target} <= LOSSLESS


def nothing(stored: str, target: str) -> bool:
    """A router that converts nothing."""
    return False


CONVERTERS = (native_only, with_codecs, nothing)


def ct(stored: str, sop_class: str = CT) -> Identity:
    """An instance."""
    return Identity(sop_class, "1.2.3", stored)


# The chain


def test_chains_of_the_design() -> None:
    """Starting at the configured strategy; for `standard` the seed's."""
    assert chain(Strategy.STANDARD, 3) == (Strategy.STANDARD, Strategy.CONSERVATIVE, Strategy.UNIVERSAL)
    assert chain(Strategy.UNIVERSAL, 3) == (Strategy.UNIVERSAL,)
    assert chain(Strategy.EXTENDED, 4) == FALLBACK_CHAIN
    assert chain(Strategy.EXTENDED, 3) == tuple(each for each in FALLBACK_CHAIN if each is not Strategy.STANDARD)
    assert chain(Strategy.EXTENDED, 2) == (Strategy.EXTENDED, Strategy.COMPRESSION, Strategy.UNIVERSAL)
    assert chain(Strategy.EXTENDED, 1) == (Strategy.EXTENDED, Strategy.UNIVERSAL)
    assert chain(Strategy.CONSERVATIVE, 0) == (Strategy.CONSERVATIVE,)


@given(first=st.sampled_from(FALLBACK_CHAIN), retries=st.integers(0, 10))
def test_every_chain(first: Strategy, retries: int) -> None:
    """Begins with the first, keeps the order, is short enough, ends with `universal` if anything may follow."""
    chosen = chain(first, retries)
    assert chosen[0] is first
    assert len(chosen) <= retries + 1
    assert list(chosen) == sorted(chosen, key=FALLBACK_CHAIN.index)
    if retries:
        assert chosen[-1] is Strategy.UNIVERSAL
    missing = set(FALLBACK_CHAIN[FALLBACK_CHAIN.index(first) :]) - set(chosen)
    if retries:
        dispensable = [each for each in DROPPED_FIRST if FALLBACK_CHAIN.index(each) > FALLBACK_CHAIN.index(first)]
        assert missing == set(dispensable[: len(missing)])


# What may be proposed


@pytest.mark.parametrize("strategy", FALLBACK_CHAIN)
@pytest.mark.parametrize("converts", CONVERTERS)
@pytest.mark.parametrize("propose_stored", ProposeStored)
def test_candidates(strategy: Strategy, converts: Converts, propose_stored: ProposeStored) -> None:
    """The stored syntax, or what it can be converted to, within the strategy; beside it only where it may be."""
    for stored in (*TRANSFER_SYNTAXES, PRIVATE):
        found = candidates(ct(stored), strategy, replace(PACS, propose_stored=propose_stored), converts)
        assert len(set(found)) == len(found)
        assert stored not in found[1:]
        for syntax in found:
            assert syntax == stored or (converts(stored, syntax) and syntax in STRATEGIES[strategy])
        lossy = transfer_syntax(stored).kind is Kind.LOSSY
        has_native = stored in NATIVE or any(converts(stored, syntax) for syntax in NATIVE)
        expected = (
            stored in STRATEGIES[strategy]
            or strategy is Strategy.EXTENDED
            or propose_stored is ProposeStored.ALWAYS
            or (propose_stored is ProposeStored.AUTO and (lossy or not has_native))
        )
        assert (stored in found) is expected


@pytest.mark.parametrize("converts", CONVERTERS)
def test_universal_proposes_nothing_but_implicit_for_native_instances(converts: Converts) -> None:
    """It is the last resort for peers that choke on anything else: Explicit VR must not slip in as «stored»."""
    found = candidates(ct(EXPLICIT_VR_LITTLE_ENDIAN), Strategy.UNIVERSAL, PACS, converts)
    assert set(found) <= {IMPLICIT_VR_LITTLE_ENDIAN}


_IDENTITIES = st.lists(
    st.builds(
        ct,
        st.sampled_from([*TRANSFER_SYNTAXES, PRIVATE]),
        st.integers(1, 60).map(lambda number: f"1.2.840.10008.5.1.4.1.1.{number}"),
    ),
    max_size=80,
)
_DESTINATIONS = st.builds(
    Destination,
    name=st.just("PACS"),
    remote_ae_title=st.just("PACS"),
    remote_host=st.just("127.0.0.1"),
    remote_port=st.just(104),
    propose_stored=st.sampled_from(ProposeStored),
    transfer_syntaxes=st.lists(st.sampled_from([*TRANSFER_SYNTAXES]), unique=True, max_size=3).map(tuple),
    prefer=st.sampled_from(Prefer),
    decompress_lossy=st.booleans(),
    never_convert=st.booleans(),
)
_STRATEGIES = st.sampled_from(Strategy)
_CONVERTS = st.sampled_from(CONVERTERS)


@given(identities=_IDENTITIES, strategy=_STRATEGIES, destination=_DESTINATIONS, converts=_CONVERTS)
def test_every_proposal(
    identities: list[Identity], strategy: Strategy, destination: Destination, converts: Converts
) -> None:
    """At most 128 contexts with odd ids of their own, one pair each, Verification among them."""
    proposal = propose(identities, strategy, destination, converts)
    contexts = proposal.contexts
    assert 1 <= len(contexts) <= 128
    ids = [context.id for context in contexts]
    assert len(set(ids)) == len(ids)
    assert all(number % 2 == 1 and 1 <= number <= 255 for number in ids)
    assert all(len(context.transfer_syntaxes) == 1 for context in contexts)
    assert [context for context in contexts if context.abstract_syntax == VERIFICATION] == [contexts[-1]]
    assert {(context.abstract_syntax, context.transfer_syntaxes[0]) for context in contexts[:-1]} == proposal.pairs
    wanted = [
        (identity.sop_class, syntax)
        for identity in identities
        for syntax in candidates(identity, strategy, destination, converts)
    ]
    assert proposal.pairs <= set(wanted)
    assert proposal.covers(wanted) is (len(set(wanted)) <= 127)
    if wanted:
        assert proposal.covers(wanted[:1])


# The plan


def answered(
    contexts: Sequence[PresentationContext], accepted: set[str], otherwise: ContextResult
) -> list[AnsweredContext]:
    """A peer that accepts some transfer syntaxes."""
    return [
        AnsweredContext(each.id, each.abstract_syntax, ContextResult.ACCEPTANCE, each.transfer_syntaxes[0])
        if each.transfer_syntaxes[0] in accepted
        else AnsweredContext(each.id, each.abstract_syntax, otherwise)
        for each in contexts
    ]


_ACCEPTED = st.sets(st.sampled_from([*TRANSFER_SYNTAXES, PRIVATE]))


@given(
    identities=_IDENTITIES.filter(bool),
    strategy=_STRATEGIES,
    destination=_DESTINATIONS,
    converts=_CONVERTS,
    accepted=_ACCEPTED,
    failed=st.frozensets(st.sampled_from([*TRANSFER_SYNTAXES])),
)
def test_every_plan(  # noqa: PLR0917 -- hypothesis names them
    identities: list[Identity],
    strategy: Strategy,
    destination: Destination,
    converts: Converts,
    accepted: set[str],
    failed: frozenset[str],
) -> None:
    """Only over what the peer accepted for this SOP class, and only what has not failed."""
    proposal = propose(identities, strategy, destination, converts)
    answers = answered(proposal.contexts, accepted, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    by_id = {answer.id: answer for answer in answers}
    identity = identities[0]
    chosen = plan(identity, answers, strategy, destination, converts, failed=failed)
    match chosen:
        case AsIs() | Convert():
            answer = by_id[chosen.context_id]
            assert (answer.abstract_syntax, answer.transfer_syntax) == (identity.sop_class, chosen.transfer_syntax)
            assert chosen.transfer_syntax not in failed
            assert isinstance(chosen, AsIs) is (chosen.transfer_syntax == identity.transfer_syntax)
            if isinstance(chosen, Convert):
                assert converts(identity.transfer_syntax, chosen.transfer_syntax)
        case Unsupported():
            possible = candidates(identity, strategy, destination, converts)
            assert not [each for each in possible if each in chosen.accepted and each not in failed]
            assert not chosen.sop_class_refused


@pytest.mark.parametrize(
    ("stored", "accepted", "expected"),
    [
        (EXPLICIT_VR_LITTLE_ENDIAN, {*NATIVE}, EXPLICIT_VR_LITTLE_ENDIAN),
        (IMPLICIT_VR_LITTLE_ENDIAN, {*NATIVE}, IMPLICIT_VR_LITTLE_ENDIAN),
        (RLE_LOSSLESS, {*NATIVE, JPEG_2000_LOSSLESS}, EXPLICIT_VR_LITTLE_ENDIAN),
        (RLE_LOSSLESS, {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN}, IMPLICIT_VR_LITTLE_ENDIAN),
        (RLE_LOSSLESS, {EXPLICIT_VR_BIG_ENDIAN, JPEG_2000_LOSSLESS}, EXPLICIT_VR_BIG_ENDIAN),
        (RLE_LOSSLESS, {JPEG_2000_LOSSLESS}, JPEG_2000_LOSSLESS),
        (RLE_LOSSLESS, {RLE_LOSSLESS, *NATIVE}, RLE_LOSSLESS),
        (JPEG_BASELINE, {*NATIVE, JPEG_BASELINE}, JPEG_BASELINE),
    ],
)
def test_order_of_preference(stored: str, accepted: set[str], expected: str) -> None:
    """As stored; else Explicit before Implicit before Big Endian; a compression when nothing else is there."""
    proposal = propose([ct(stored)], Strategy.EXTENDED, PACS, with_codecs)
    answers = answered(proposal.contexts, accepted, ContextResult.USER_REJECTION)
    chosen = plan(ct(stored), answers, Strategy.EXTENDED, PACS, with_codecs)
    assert isinstance(chosen, AsIs | Convert)
    assert chosen.transfer_syntax == expected


def test_what_no_context_can_carry() -> None:
    """Says what was accepted for this class, and whether the class itself was refused."""
    proposal = propose(
        [ct(IMPLICIT_VR_LITTLE_ENDIAN), ct(IMPLICIT_VR_LITTLE_ENDIAN, MR)], Strategy.CONSERVATIVE, PACS, nothing
    )
    refused = answered(proposal.contexts, set(), ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    identity = ct(IMPLICIT_VR_LITTLE_ENDIAN)
    assert plan(identity, refused, Strategy.CONSERVATIVE, PACS, nothing) == Unsupported((), sop_class_refused=True)
    assert plan(identity, (), Strategy.CONSERVATIVE, PACS, nothing) == Unsupported((), sop_class_refused=False)
    mixed = [refused[0], AnsweredContext(9, CT, ContextResult.ACCEPTANCE, RLE_LOSSLESS)]
    unsupported = plan(identity, mixed, Strategy.CONSERVATIVE, PACS, nothing)
    assert unsupported == Unsupported((RLE_LOSSLESS,), sop_class_refused=False)


# What comes next


def test_strategy_that_adds_nothing_is_skipped() -> None:
    """Only pairs that have not failed yet are worth another association."""
    identity = ct(EXPLICIT_VR_LITTLE_ENDIAN)
    implicit, explicit = (CT, IMPLICIT_VR_LITTLE_ENDIAN), (CT, EXPLICIT_VR_LITTLE_ENDIAN)
    assert adds(identity, Strategy.UNIVERSAL, PACS, native_only, frozenset({explicit}))
    assert not adds(identity, Strategy.UNIVERSAL, PACS, native_only, frozenset({implicit}))
    assert adds(identity, Strategy.CONSERVATIVE, PACS, native_only, frozenset({implicit}))
    assert not adds(identity, Strategy.CONSERVATIVE, PACS, native_only, frozenset({implicit, explicit}))
    assert not adds(
        ct(RLE_LOSSLESS), Strategy.UNIVERSAL, replace(PACS, propose_stored=ProposeStored.NEVER), nothing, frozenset()
    )


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("rejection", [None, (1, 1, 1), (1, 1, 3), (2, 1, 1), (1, 2, 1)])
def test_another_strategy(cause: Cause, rejection: tuple[int, int, int] | None) -> None:
    """After an abort or a close before A-ASSOCIATE-AC, and a permanent rejection without a reason."""
    expected = cause is Cause.ASSOCIATION_ABORTED or rejection == (1, 1, 1)
    assert another_strategy(Failed(cause, ""), rejection) is expected


@pytest.mark.parametrize(
    ("stored", "accepted", "destination", "words"),
    [
        (RLE_LOSSLESS, (), PACS, "enable RLE Lossless for this SOP class"),
        (PRIVATE, (), PACS, f"enable {PRIVATE} for this SOP class"),
        (RLE_LOSSLESS, (IMPLICIT_VR_LITTLE_ENDIAN,), PACS, "Use 'universal' strategy for this peer"),
        (RLE_LOSSLESS, (*NATIVE,), PACS, "Use 'conservative' strategy for this peer"),
        (RLE_LOSSLESS, (*NATIVE, EXPLICIT_VR_BIG_ENDIAN), PACS, "Use 'standard' strategy for this peer"),
        (RLE_LOSSLESS, (*NATIVE, JPEG_2000_LOSSLESS), PACS, "Use 'compression' strategy for this peer"),
        (RLE_LOSSLESS, (JPEG_BASELINE,), PACS, "enable RLE Lossless for this SOP class"),
        (RLE_LOSSLESS, (PRIVATE,), PACS, "enable RLE Lossless"),
        (RLE_LOSSLESS, (*NATIVE,), replace(PACS, never_convert=True), "Remove `never_convert`"),
        (JPEG_BASELINE, (*NATIVE,), replace(PACS, decompress_lossy=False), "Set `decompress_lossy: true`"),
    ],
)
def test_recommendations(stored: str, accepted: tuple[str, ...], destination: Destination, words: str) -> None:
    """What would really help this instance: a strategy that reaches what the peer accepts, a key, or whom to ask."""
    unsupported = Unsupported(accepted, sop_class_refused=False)

    def reaches(stored: str, target: str) -> bool:
        return target in (*NATIVE, EXPLICIT_VR_BIG_ENDIAN, JPEG_2000_LOSSLESS)

    def told(function: Callable[..., str]) -> str:
        return function(ct(stored), unsupported, strategy=Strategy.EXTENDED, destination=destination, converts=reaches)

    assert words in told(recommend)
    sentence = told(no_context)
    assert sentence.startswith(f"No compatible presentation context for '{CT}'. Peer accepted transfer syntaxes: [")
    assert sentence.endswith(f"Recommendation: {told(recommend)}")


def test_refused_sop_class_is_for_the_administrator_of_the_peer() -> None:
    """No strategy helps where the SOP class itself is not supported."""
    refused = Unsupported((), sop_class_refused=True)
    words = recommend(ct(RLE_LOSSLESS), refused, strategy=Strategy.CONSERVATIVE, destination=PACS, converts=with_codecs)
    assert words.startswith("Ask the peer's administrator to enable this SOP class")


def test_the_sentence_of_the_first_document() -> None:
    """Word for word, as users search for it."""
    identity = ct(EXPLICIT_VR_LITTLE_ENDIAN)
    unsupported = Unsupported((IMPLICIT_VR_LITTLE_ENDIAN,), sop_class_refused=False)
    assert no_context(
        identity, unsupported, strategy=Strategy.CONSERVATIVE, destination=PACS, converts=native_only
    ) == (
        "No compatible presentation context for '1.2.840.10008.5.1.4.1.1.2'. "
        "Peer accepted transfer syntaxes: ['1.2.840.10008.1.2']. "
        "Recommendation: Use 'universal' strategy for this peer"
    )


def test_a_list_of_its_own_is_all_that_is_proposed() -> None:
    """In the destination's own order, without a fallback."""
    destination = replace(PACS, transfer_syntaxes=(JPEG_2000_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN))
    assert chain(Strategy.LISTED, 3) == (Strategy.LISTED,)
    found = candidates(ct(IMPLICIT_VR_LITTLE_ENDIAN), Strategy.LISTED, destination, with_codecs)
    assert found == (JPEG_2000_LOSSLESS, EXPLICIT_VR_LITTLE_ENDIAN)


def test_never_convert_leaves_the_stored_syntax_alone() -> None:
    """Under every strategy."""
    destination = replace(PACS, never_convert=True)
    assert candidates(ct(RLE_LOSSLESS), Strategy.CONSERVATIVE, destination, with_codecs) == (RLE_LOSSLESS,)


def test_lossy_is_decompressed_only_where_it_may_be() -> None:
    """The stored syntax is proposed either way."""
    allowed = candidates(ct(JPEG_BASELINE), Strategy.CONSERVATIVE, PACS, lambda *_: True)
    assert allowed == (JPEG_BASELINE, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)
    destination = replace(PACS, decompress_lossy=False)
    assert candidates(ct(JPEG_BASELINE), Strategy.CONSERVATIVE, destination, lambda *_: True) == (JPEG_BASELINE,)


@pytest.mark.parametrize(
    ("stored", "prefer", "avoided", "expected"),
    [
        (EXPLICIT_VR_LITTLE_ENDIAN, Prefer.SMALLEST, set(), JPEG_LS_LOSSLESS),
        (EXPLICIT_VR_LITTLE_ENDIAN, Prefer.SMALLEST, {JPEG_LS_LOSSLESS}, JPEG_2000_LOSSLESS),
        (RLE_LOSSLESS, Prefer.SMALLEST, set(), RLE_LOSSLESS),
        (EXPLICIT_VR_LITTLE_ENDIAN, Prefer.STORED, {EXPLICIT_VR_LITTLE_ENDIAN}, IMPLICIT_VR_LITTLE_ENDIAN),
        (EXPLICIT_VR_LITTLE_ENDIAN, Prefer.STORED, {*TRANSFER_SYNTAXES}, EXPLICIT_VR_LITTLE_ENDIAN),
    ],
)
def test_preferred_and_avoided(stored: str, prefer: Prefer, avoided: set[str], expected: str) -> None:
    """What is preferred comes first, what did not work for others comes last, and nothing is forbidden."""
    destination = replace(PACS, prefer=prefer)
    proposal = propose([ct(stored)], Strategy.EXTENDED, destination, with_codecs)
    answers = answered(proposal.contexts, {*TRANSFER_SYNTAXES}, ContextResult.USER_REJECTION)
    chosen = plan(ct(stored), answers, Strategy.EXTENDED, destination, with_codecs, avoided=frozenset(avoided))
    assert isinstance(chosen, AsIs | Convert)
    assert chosen.transfer_syntax == expected


def test_what_answers_teach() -> None:
    """An acceptance and the results 3 and 4; a rejection without a lasting reason teaches nothing."""
    proposal = propose([ct(RLE_LOSSLESS)], Strategy.CONSERVATIVE, PACS, with_codecs)
    first, second, _ = proposal.contexts
    answers = [
        AnsweredContext(first.id, CT, ContextResult.ACCEPTANCE, first.transfer_syntaxes[0]),
        AnsweredContext(second.id, CT, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED),
        AnsweredContext(5, VERIFICATION, ContextResult.NO_REASON),
    ]
    assert taught(answers, proposal) == {
        (CT, first.transfer_syntaxes[0]): True,
        (CT, second.transfer_syntaxes[0]): False,
    }


def test_strategy_for_what_a_peer_accepts() -> None:
    """The least that proposes it all; what no table knows only `extended` proposes, as stored."""
    assert strategy_for(()) is Strategy.UNIVERSAL
    assert strategy_for([RLE_LOSSLESS]) is Strategy.COMPRESSION
    assert strategy_for([JPEG_BASELINE]) is Strategy.EXTENDED
    assert strategy_for([PRIVATE]) is Strategy.EXTENDED
