"""What must be equal in the end: who was promised what, and who has what."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Protocol

from tests.daemon.objects import Object

Ledger = Mapping[str, str]
"""SOP Instance UID → digest of the data set."""


class Sink(Protocol):
    """Somewhere where objects arrive."""

    name: str

    def received(self) -> Iterable[Object]:
        """What is there."""


def digest(sent: Object) -> str:
    """Of the data set alone: whatever writes a file writes a head of its own."""
    return sha256(sent.dataset).hexdigest()


def ledger(objects: Iterable[Object]) -> Ledger:
    """The entry of each object; one that comes twice has to be the same both times."""
    entries: dict[str, str] = {}
    for each in objects:
        assert entries.setdefault(each.uid, digest(each)) == digest(each), f"{each.uid} came with two data sets"
    return entries


def lacking(promised: Ledger, sink: Sink) -> set[str]:
    """The promised objects that are not there as they were sent; what was refused may be there all the same."""
    there = ledger(sink.received())
    return {uid for uid, sent in promised.items() if there.get(uid) != sent}


def same(promised: Ledger, sink: Sink) -> None:
    """Every promised object is there, its data set identical byte for byte; and nothing else is."""
    there = ledger(sink.received())
    assert not promised.keys() - there.keys(), f"{sink.name} lacks them"
    assert there == promised, f"{sink.name} has something else"
