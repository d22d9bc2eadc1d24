"""The rules, told a second time and shorter: what has to become of an object, a peer and a strategy.

As stored if the peer accepts that; else converted, if there is a way without a loss; else refused, for a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from router.flow.pending import Result
from router.model.destination import Strategy
from router.model.outcome import Cause, Stored
from router.model.transfer_syntax import TRANSFER_SYNTAXES
from tests.dicom.transcode.witness import (
    BASELINE,
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    EXTENDED,
    HTJ2K,
    HTJ2K_LOSSY,
    HTJ2K_RPCL,
    IMPLICIT,
    J2K,
    J2K_LOSSY,
    JPEG_LS,
    JPEG_LS_NEAR,
    LOSSLESS,
    LOSSLESS_SV1,
    RLE,
)
from tests.negotiation.objects import MPEG2, MPEG4, Object

NATIVE = (EXPLICIT, IMPLICIT, BIG_ENDIAN)
TARGETS = (*NATIVE, JPEG_LS, J2K, HTJ2K, RLE)
"""What can be made of others, the best first."""
COMES_BACK = {*TARGETS, DEFLATED, LOSSLESS, LOSSLESS_SV1, HTJ2K_RPCL}
LOSSY = {BASELINE, EXTENDED, JPEG_LS_NEAR, J2K_LOSSY, HTJ2K_LOSSY}
"""May be decompressed, never compressed again."""

MAY_PROPOSE = {
    Strategy.EXTENDED: {*TRANSFER_SYNTAXES},
    Strategy.COMPRESSION: {IMPLICIT, EXPLICIT, RLE, J2K, JPEG_LS, LOSSLESS, LOSSLESS_SV1, HTJ2K},
    Strategy.STANDARD: {IMPLICIT, EXPLICIT, BIG_ENDIAN},
    Strategy.CONSERVATIVE: {IMPLICIT, EXPLICIT},
    Strategy.UNIVERSAL: {IMPLICIT},
}
CHAIN = tuple(MAY_PROPOSE)

EVERYTHING = frozenset(TRANSFER_SYNTAXES)
KNOWN_TO_DCMTK = frozenset(
    {*NATIVE, DEFLATED, BASELINE, EXTENDED, LOSSLESS_SV1, JPEG_LS, JPEG_LS_NEAR, J2K, J2K_LOSSY, RLE, MPEG2, MPEG4}
)
"""What ``storescp +xa`` of DCMTK 3.6.7 takes, of the transfer syntaxes of the objects."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One kind of PACS."""

    name: str
    accepts: frozenset[str] = EVERYTHING
    """Transfer syntaxes, for every SOP class; none: no SOP class either."""
    most_contexts: int | None = None
    """It aborts when it is asked for more presentation contexts, Verification among them."""
    status: int = 0
    """Of every C-STORE-RSP."""
    breaks_off: bool = False
    """It aborts with the first fragment of a data set."""
    dcmtk: bool = False
    recommended: Strategy | None = Strategy.EXTENDED
    """What ``dicom-router probe`` has to recommend for it."""


PEERS = (
    Peer("everything"),
    Peer("DCMTK `storescp +B +xa`", KNOWN_TO_DCMTK, dcmtk=True),
    Peer("only Implicit", frozenset({IMPLICIT}), recommended=Strategy.UNIVERSAL),
    Peer("Implicit and Explicit", frozenset({IMPLICIT, EXPLICIT}), recommended=Strategy.CONSERVATIVE),
    Peer("only Big Endian", frozenset({BIG_ENDIAN}), recommended=Strategy.STANDARD),
    Peer("only JPEG 2000 Lossless", frozenset({J2K}), recommended=Strategy.COMPRESSION),
    Peer("only RLE", frozenset({RLE}), recommended=Strategy.COMPRESSION),
    Peer("only lossy JPEG", frozenset({BASELINE, EXTENDED})),
    Peer("nothing", frozenset(), recommended=None),
    Peer("aborts on more than 3 contexts", most_contexts=3, recommended=Strategy.UNIVERSAL),
    Peer("answers A900H", status=0xA900),
    Peer("answers C000H", status=0xC000),
    Peer("answers A700H", status=0xA700),
    Peer("answers 0122H", status=0x0122),
    Peer("aborts in mid-object", breaks_off=True),
)
ANSWERS = {
    0xA900: Cause.CANNOT_UNDERSTAND,
    0xC000: Cause.CANNOT_UNDERSTAND,
    0xA700: Cause.OUT_OF_RESOURCES,
    0x0122: Cause.SOP_CLASS_NOT_SUPPORTED,
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one object, or has to."""

    cause: Cause | None
    """None: it was stored."""
    status: int | None
    transfer_syntax: str
    """In which it was sent last; empty: it was not."""
    tried: tuple[Strategy, ...]
    """The last one is the one that was used."""
    attempts: int
    """Associations."""
    deferred: bool = False

    @classmethod
    def of(cls, result: Result) -> "Fate":
        """As it was."""
        outcome = result.outcome
        kind = type(outcome).__name__
        cause = None if isinstance(outcome, Stored) else outcome.cause
        assert result.strategy is result.strategies_tried[-1]
        return cls(
            cause,
            outcome.status,
            result.transfer_syntax,
            result.strategies_tried,
            result.associations,
            deferred=kind == "Deferred",
        )


def ways(stored: str, strategy: Strategy) -> Sequence[str]:
    """The transfer syntaxes in which an object may go, the best first."""
    allowed = MAY_PROPOSE[strategy]
    reachable: Sequence[str] = ()
    if stored in COMES_BACK:
        reachable = TARGETS
    elif stored in LOSSY:
        reachable = NATIVE
    converted = [syntax for syntax in reachable if syntax in allowed and syntax != stored]
    # What nobody could send otherwise is proposed as it is, whatever the strategy says.
    return [stored, *converted] if stored in allowed or stored not in COMES_BACK else converted


def expected(each: Object, peer: Peer, strategy: Strategy) -> Fate:
    """As it has to be."""
    tried: list[Strategy] = []
    cause, status, sent = None, None, ""
    settled: set[str] = set()
    unopened = True

    def fate(cause: Cause | None, status: int | None, *, deferred: bool = False) -> Fate:
        return Fate(cause, status, sent, tuple(tried), len(tried), deferred)

    for turn in CHAIN[CHAIN.index(strategy) :]:
        offered = ways(each.stored, turn)
        if not unopened and settled.issuperset(offered):
            continue  # it would add nothing
        tried.append(turn)
        unopened = peer.most_contexts is not None and len(offered) + 1 > peer.most_contexts
        if unopened:
            continue
        if not peer.accepts:
            return fate(Cause.SOP_CLASS_NOT_SUPPORTED, None)
        settled.update(syntax for syntax in offered if syntax not in peer.accepts)
        best = next((syntax for syntax in offered if syntax in peer.accepts and syntax not in settled), None)
        if best is None:
            cause = cause or Cause.NO_CONTEXT
        elif best != each.stored and each.exception(best):
            settled.add(best)
            cause = cause or Cause.CANNOT_CONVERT
        else:
            sent = best
            if peer.breaks_off:
                return fate(Cause.STORE_ABORTED, None, deferred=True)
            if peer.status == 0:
                return fate(None, 0)
            cause, status = ANSWERS[peer.status], peer.status
            if cause is not Cause.CANNOT_UNDERSTAND:
                return fate(cause, status, deferred=cause is Cause.OUT_OF_RESOURCES)
            settled.add(best)
    return fate(cause or Cause.ASSOCIATION_ABORTED, status, deferred=cause is None)
