"""What must be true in the end, held against what the PACS themselves have."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from router.demo.comparison import Likeness, compare
from router.demo.ledger import Ledger
from router.demo.modality import Sample
from router.demo.pacs import Pacs
from router.durable.queue import Entry
from router.journal import StoreSucceeded
from router.model.delivery import State
from router.model.outcome import Cause
from router.model.transfer_syntax import transfer_syntax

NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Reason:
    """Why so many objects were not delivered to one destination."""

    count: int
    cause: str
    can_have: bool
    """Whether the destination takes what they are stored in, or what that can be converted to."""
    state: State
    next_attempt_at: datetime | None
    """The earliest; None for dead letters."""
    stored: Mapping[str, int]
    """Names of the transfer syntaxes that they are stored in, and how many."""
    errors: Mapping[str, int]
    """What the router says about them, and about how many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One destination."""

    name: str
    character: str
    owed: int
    """Objects that the router has accepted for it."""
    deliverable: int
    """Those that it can take, as stored or converted losslessly; without what turned out not to be convertible."""
    delivered: int
    """Those that it has, by its own record."""
    converted: int
    likeness: Mapping[Likeness, int]
    """What a comparison with what the modality sent came to."""
    strategies: Mapping[str, int]
    """With which each object was delivered, and how many."""
    fallbacks: Mapping[str, int]
    """How often the router fell back to each strategy."""
    attempts: int
    """C-STOREs, and proposals in vain, that were charged to objects."""
    answers: Mapping[str, int]
    """C-STORE statuses, by its own record."""
    troubles: int
    """How often the router found that the destination itself does not work."""
    seconds: float
    """From the first association to the last object."""
    bytes: int
    reasons: Sequence[Reason]
    problems: Sequence[str]
    """What must not be; empty: all is well."""


def judge_intake(samples: Sequence[Sample], ledger: Ledger) -> list[str]:
    """What is wrong with what the router accepted and refused: it must refuse exactly what is cut off."""
    kept = [each.name for each in samples if each.cut_off and each.identity.sop_instance in ledger.accepted]
    lost = [each.name for each in samples if not each.cut_off and each.identity.sop_instance not in ledger.accepted]
    return [
        *_problem(lost, "whole objects were not accepted by the router"),
        *_problem(kept, "objects were accepted although their files are cut off"),
    ]


def judge(pacs: Pacs, samples: Sequence[Sample], ledger: Ledger, entries: Sequence[Entry]) -> Verdict:
    """Hold one destination's record against the modality's files, the journal and the queue. Blocks.

    Args:
        pacs: the destination.
        samples: everything that was sent.
        ledger: of the router's journal.
        entries: the destination's, from the router's queue.
    """
    accepted = [each for each in samples if each.identity.sop_instance in ledger.accepted]
    told = {instance: event for (name, instance), event in ledger.delivered.items() if name == pacs.name}
    arrived = [(each, pacs.received[uid]) for each in accepted if (uid := each.identity.sop_instance) in pacs.received]
    inconvertible = {entry.identity.sop_instance for entry in entries if entry.cause is Cause.CANNOT_CONVERT}
    deliverable = [
        each
        for each in accepted
        if pacs.must_have(each.identity.transfer_syntax, plain_image=each.plain_image)
        or (pacs.can_have(each.identity.transfer_syntax) and each.identity.sop_instance not in inconvertible)
    ]
    missing = [each.name for each in deliverable if each.identity.sop_instance not in pacs.received]
    likeness = {each.name: compare(each, received) for each, received in arrived}
    changed = [name for name, found in likeness.items() if found is Likeness.CHANGED]
    return Verdict(
        name=pacs.name,
        character=pacs.character,
        owed=len(accepted),
        deliverable=len(deliverable),
        delivered=len(pacs.received),
        converted=sum(each.identity.transfer_syntax != received.identity.transfer_syntax for each, received in arrived),
        likeness=Counter(likeness.values()),
        strategies=Counter(event.strategy for event in told.values()),
        fallbacks={strategy: count for (name, strategy), count in ledger.fallbacks.items() if name == pacs.name},
        attempts=sum(entry.attempts for entry in entries),
        answers={f"{status:04X}H": count for status, count in pacs.answers.items()},
        troubles=ledger.troubles[pacs.name],
        seconds=pacs.seconds,
        bytes=sum(len(each.content) for each in pacs.received.values()),
        reasons=_reasons(pacs, entries),
        problems=[
            *_problem(missing, "objects that it can take have not arrived"),
            *_problem(_contradicted(accepted, pacs, told), "objects are not there as the router's journal says"),
            *_problem(changed, "objects arrived changed"),
        ],
    )


def _problem(names: Sequence[str], sentence: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - NAMES_SHOWN} others" if len(names) > NAMES_SHOWN else ""
    return [f"{len(names)} {sentence}: {', '.join(names[:NAMES_SHOWN])}{more}"]


def _contradicted(accepted: Iterable[Sample], pacs: Pacs, told: Mapping[str, StoreSucceeded]) -> list[str]:
    """Where the journal and the PACS's own record differ: whether it has the object, and in which transfer syntax."""
    contradicted = []
    for each in accepted:
        event, received = told.get(each.identity.sop_instance), pacs.received.get(each.identity.sop_instance)
        said = event and (event.sop_class, event.transfer_syntax)
        done = received and (received.identity.sop_class, received.identity.transfer_syntax)
        if said != done:
            contradicted.append(each.name)
    return contradicted


def _reasons(pacs: Pacs, entries: Sequence[Entry]) -> list[Reason]:
    """What is not delivered, by cause; as the queue has it."""

    def kind(entry: Entry) -> tuple[str, str, bool]:
        return entry.cause or "", entry.state, pacs.can_have(entry.identity.transfer_syntax)

    waiting = sorted((entry for entry in entries if entry.state is not State.DELIVERED), key=kind)
    return [_reason(list(alike), can_have=can_have) for (_, _, can_have), alike in groupby(waiting, kind)]


def _reason(alike: Sequence[Entry], *, can_have: bool) -> Reason:
    first = alike[0]
    names = Counter(transfer_syntax(entry.identity.transfer_syntax).name for entry in alike)
    return Reason(
        count=len(alike),
        cause=first.cause or "not tried yet",
        can_have=can_have,
        state=first.state,
        next_attempt_at=min((entry.next_attempt_at for entry in alike if entry.next_attempt_at), default=None),
        stored=dict(names.most_common()),
        errors=dict(Counter(entry.error for entry in alike if entry.error).most_common()),
    )
