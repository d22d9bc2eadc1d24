"""Whether what waits for a destination leaves room for one more instance.

What counts is what keeps payloads in the spool for the destination: queued, in flight, held, and dead letters. Dead
letters count because a destination that refuses everything fills the disk with nothing else. For the same reason they
are the first that a ``best_effort`` destination gives up: they wait for an operator, no longer for the destination.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Bytes that a destination keeps in the spool."""

    yielding: int
    """What it could give up: queued, and dead letters."""
    bound: int
    """What it could not: in flight, and held by an operator or the configuration."""


@dataclass(frozen=True, slots=True)
class Fits:
    """There is room."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is room when at least so many bytes of what waits are given up, the oldest first."""

    size: int


@dataclass(frozen=True, slots=True)
class GiveUpItself:
    """All that could be given up would not make room: the new instance is given up instead."""


@dataclass(frozen=True, slots=True)
class Exceeds:
    """There is no room, and the destination gives nothing up."""


Verdict = Fits | GiveUp | GiveUpItself | Exceeds


def judge(load: Load, size: int, quota: int | None, *, best_effort: bool) -> Verdict:
    """Whether an instance may wait for a destination.

    Args:
        load: what waits for it already.
        size: bytes of the instance.
        quota: bytes that may wait; None: any number.
        best_effort: whether the destination gives up what waits longest.
    """
    if quota is None or load.yielding + load.bound + size <= quota:
        return Fits()
    if not best_effort:
        return Exceeds()
    if load.bound + size > quota:
        return GiveUpItself()
    return GiveUp(load.yielding + load.bound + size - quota)
