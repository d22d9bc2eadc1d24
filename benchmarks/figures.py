"""What comes out: samples of turns, a figure for each contender, goals, tables."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender's turn."""

    objects: int
    seconds: float
    size: int = 0
    """Bytes of one object."""
    cpu: float | None = None
    sender_cpu: float | None = None
    sink_cpu: float | None = None
    """CPU seconds of what is measured, and of what stood at its two ends; None: not there, or not measured."""
    rss: int | None = None
    anonymous: int | None = None
    """The highest of its resident memory, in bytes."""
    responses: Sequence[float] = ()
    """Of each C-STORE, in seconds."""


Turn = Callable[[], Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """All turns of one contender; times in milliseconds, memory in bytes, the rest as in ``Sample``."""

    what: str
    who: str
    rate: float
    """Objects per second."""
    lowest: float
    highest: float
    rounds: int
    size: int = 0
    cpu: float | None = None
    sender_cpu: float | None = None
    sink_cpu: float | None = None
    """Per object."""
    rss: int | None = None
    anonymous: int | None = None
    p50: float | None = None
    p99: float | None = None

    @property
    def bandwidth(self) -> float:
        """Megabytes per second."""
        return self.rate * self.size / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure beside what it is held against."""

    subject: str
    what: str
    figure: str
    peer: str = ""
    """Whose figure it is compared with, and that."""
    ratio: float | None = None
    goal: str
    met: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that are not rates of contenders."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Measured:
    """Of one part of the benchmark."""

    figures: list[Figure] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Sentences: which peer was missing."""


def compete(what: str, turns: Mapping[str, Turn], rounds: int) -> dict[str, Figure]:
    """Let every contender have a turn, ``rounds`` times; a first round warms up and is not counted.

    Every other round runs backwards: nobody always profits from the one before.
    """
    samples: dict[str, list[Sample]] = {who: [] for who in turns}
    for number in range(rounds + 1):
        for who in [*turns][:: 1 if number % 2 else -1]:
            sample = turns[who]()
            if number:
                samples[who].append(sample)
    figures = {who: _figure(what, who, each) for who, each in samples.items()}
    said = ", ".join(f"{who} {rounded(each.rate)}/s" for who, each in figures.items())
    say(f"{what}: {said}")
    return figures


def _figure(what: str, who: str, samples: Sequence[Sample]) -> Figure:
    rates = [sample.objects / sample.seconds for sample in samples]
    responses = sorted(seconds * 1000 for sample in samples for seconds in sample.responses)
    return Figure(
        what=what,
        who=who,
        rate=statistics.median(rates),
        lowest=min(rates),
        highest=max(rates),
        rounds=len(samples),
        size=samples[0].size,
        cpu=_per_object(samples, [sample.cpu for sample in samples]),
        sender_cpu=_per_object(samples, [sample.sender_cpu for sample in samples]),
        sink_cpu=_per_object(samples, [sample.sink_cpu for sample in samples]),
        rss=max((sample.rss for sample in samples if sample.rss is not None), default=None),
        anonymous=max((sample.anonymous for sample in samples if sample.anonymous is not None), default=None),
        p50=responses[len(responses) // 2] if responses else None,
        p99=responses[len(responses) * 99 // 100] if responses else None,
    )


def _per_object(samples: Sequence[Sample], used: Sequence[float | None]) -> float | None:
    known = [cpu * 1000 / sample.objects for cpu, sample in zip(used, samples, strict=True) if cpu is not None]
    return statistics.median(known) if known else None


def at_least(subject: str, ours: Figure, peer: str, rate: float, times: float) -> Goal:
    """A goal for objects per second: so many times those of a peer."""
    ratio = ours.rate / rate
    return Goal(
        subject=subject,
        what=ours.what,
        figure=f"{rounded(ours.rate)}/s",
        peer=f"{peer}: {rounded(rate)}/s",
        ratio=ratio,
        goal=f"≥ {times:g} ×",
        met=ratio >= times,
    )


def cpu_at_most(subject: str, ours: Figure, theirs: Figure, times: float) -> Goal:
    """A goal for CPU per object: so many times that of a peer."""
    assert ours.cpu is not None
    assert theirs.cpu is not None
    ratio = ours.cpu / theirs.cpu
    return Goal(
        subject=subject,
        what=f"{ours.what}, CPU",
        figure=f"{ours.cpu:.2f} ms",
        peer=f"{theirs.who}: {theirs.cpu:.2f} ms",
        ratio=ratio,
        goal=f"≤ {times:g} ×",
        met=ratio <= times,
    )


def below(subject: str, what: str, value: float, limit: float, unit: str) -> Goal:
    """A goal that is a limit."""
    figure = f"{value:.2g} {unit}" if abs(value) < 10 else f"{value:.0f} {unit}"
    return Goal(subject=subject, what=what, figure=figure, goal=f"< {limit:g} {unit}", met=value < limit)


def rounded(rate: float) -> str:
    """As people read it."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def say(sentence: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)
