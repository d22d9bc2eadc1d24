"""The matrix for people: what became of the objects of each transfer syntax, in ``docs/negotiation.md``."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.model.destination import Strategy
from router.model.outcome import Cause
from router.model.transfer_syntax import transfer_syntax
from tests.dicom.transcode.witness import BIG_ENDIAN, EXPLICIT, HTJ2K, IMPLICIT, J2K, JPEG_LS, RLE
from tests.negotiation.matrix import PEERS, Fate, Peer
from tests.negotiation.objects import Object

DOCUMENT = Path(__file__).parents[2] / "docs" / "negotiation.md"
BEGIN, END = "<!-- the matrix, written by `make matrix` -->", "<!-- end of the matrix -->"

CODES = {
    IMPLICIT: "I",
    EXPLICIT: "E",
    BIG_ENDIAN: "B",
    JPEG_LS: "L",
    J2K: "J",
    HTJ2K: "H",
    RLE: "R",
}
REFUSED = {
    Cause.NO_CONTEXT: "–",
    Cause.SOP_CLASS_NOT_SUPPORTED: "–",
    Cause.CANNOT_CONVERT: "×",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One object, one peer, one strategy."""

    each: Object
    peer: Peer
    strategy: Strategy
    fate: Fate


def write_tables(cells: Sequence[Cell], document: Path = DOCUMENT) -> None:
    """Put them between the markers of the document."""
    before, _, rest = document.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text("\n".join((before + BEGIN, "", *tables(cells), "", END + after)), "utf-8")


def tables(cells: Sequence[Cell]) -> Iterator[str]:
    """As lines of Markdown."""
    extended = [cell for cell in cells if cell.strategy is Strategy.EXTENDED]
    columns = [peer for peer in PEERS if not peer.status and not peer.breaks_off]
    objects = len({cell.each for cell in extended})
    yield f"{objects} objects, {len(cells)} attempts. Strategy `extended`, `max_association_retries: 4`:"
    yield ""
    yield from _rows(["stored as", "objects", *(peer.name for peer in columns)], _by_syntax(extended, columns))
    yield ""
    yield "Which strategies were tried in turn, and how it ended:"
    yield ""
    yield from _rows(["peer", "strategies tried", "outcome", "objects"], _by_peer(cells))


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _by_syntax(cells: Sequence[Cell], columns: Sequence[Peer]) -> Iterator[Sequence[str]]:
    for stored in sorted({cell.each.stored for cell in cells}, key=lambda uid: [int(n) for n in uid.split(".")]):
        mine = [cell for cell in cells if cell.each.stored == stored]
        codes = [Counter(_code(cell) for cell in mine if cell.peer == peer) for peer in columns]
        yield [transfer_syntax(stored).name, str(codes[0].total()), *map(_counted, codes)]


def _code(cell: Cell) -> str:
    if cell.fate.cause is not None:
        return REFUSED[cell.fate.cause]
    return "=" if cell.fate.transfer_syntax == cell.each.stored else CODES[cell.fate.transfer_syntax]


def _counted(codes: Counter[str]) -> str:
    if len(codes) == 1:
        return next(iter(codes))
    return ", ".join(
        f"{codes[code]} {code}" for code in sorted(codes, key=lambda code: (code in REFUSED.values(), code))
    )


def _by_peer(cells: Sequence[Cell]) -> Iterator[Sequence[str]]:
    ends = Counter((cell.peer.name, " → ".join(cell.fate.tried), _end(cell.fate)) for cell in cells)
    for (peer, tried, end), count in ends.items():
        yield [peer, tried, end, str(count)]


def _end(fate: Fate) -> str:
    if fate.cause is None:
        return "stored"
    status = "" if fate.status is None else f" ({fate.status:04X}H)"
    return f"{'deferred' if fate.deferred else 'refused'}: {fate.cause}{status}"
