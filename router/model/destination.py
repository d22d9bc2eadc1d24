"""A destination: where instances are forwarded to, and how patient we are with it."""

from dataclasses import dataclass, field
from datetime import time, timedelta
from enum import StrEnum

from router.model.tls import TlsClient


class Strategy(StrEnum):
    """What may be proposed to a destination; the table of transfer syntaxes is in ``rules.negotiation``."""

    UNIVERSAL = "universal"
    CONSERVATIVE = "conservative"
    STANDARD = "standard"
    COMPRESSION = "compression"
    EXTENDED = "extended"
    LISTED = "listed"
    """The destination's own ``transfer_syntaxes``, in place of the others."""


class ProposeStored(StrEnum):
    """Whether an instance is proposed in its stored syntax beside the strategy's."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Prefer(StrEnum):
    """Which of several accepted transfer syntaxes an instance is sent in."""

    STORED = "stored"
    SMALLEST = "smallest"
    """A lossless compression where there is one."""


class AssociationPer(StrEnum):
    """What one association may carry: for receivers that take its end for the end of a study or series."""

    ANY = "any"
    STUDY = "study"
    SERIES = "series"


class Duplicates(StrEnum):
    """What becomes of an instance that was accepted for the destination before, with the same bytes."""

    ALWAYS = "always"
    """It is sent again."""
    ONCE = "once"
    """It is dropped, within ``duplicate_window``."""


class Ruling(StrEnum):
    """What a status means, where a destination's configuration knows better than the table of ``rules.retry``."""

    STORED = "stored"
    DEFER = "defer"
    REFUSE = "refuse"
    """Spaced tries, then a dead letter."""
    NEXT_STRATEGY = "next strategy"
    BURY = "bury"
    """A dead letter at once."""


@dataclass(frozen=True, slots=True)
class StatusRule:
    """A range of C-STORE statuses, both ends included, and what they mean here."""

    first: int
    last: int
    then: Ruling


@dataclass(frozen=True, slots=True)
class Window:
    """When a destination may be sent to, in local time; it belongs to the days on which it begins."""

    days: frozenset[int]
    """0 is Monday."""
    begin: time
    end: time
    """Not after ``begin``: on the next day."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """A destination's own waiting, while it is in trouble: ``initial``, doubling to ``maximum``, with full jitter."""

    initial: timedelta = timedelta(seconds=5)
    maximum: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Retry:
    """One instance's waiting after failures that were its own; counts only while the destination works."""

    initial: timedelta = timedelta(seconds=5)
    maximum: timedelta = timedelta(minutes=30)
    give_up_after: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SendDeadlines:
    """How long the SCU waits for its peer, each from the moment before."""

    connect: timedelta = timedelta(seconds=10)
    association: timedelta = timedelta(seconds=30)
    response: timedelta = timedelta(seconds=120)
    """From the last byte of the object to the C-STORE-RSP; also the longest time without progress while sending."""
    linger: timedelta = timedelta(seconds=2)
    """How long an idle association is kept for the next instance."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One PACS, as configured."""

    name: str
    remote_ae_title: str
    remote_host: str
    remote_port: int
    local_ae_title: str | None = "ROUTER"
    """None: the AE title that the modality called itself by (``received`` in the configuration)."""
    transfer_syntax_strategy: Strategy = Strategy.CONSERVATIVE
    max_association_retries: int = 3
    max_associations: int = 2
    max_instances_per_association: int | None = None
    max_bytes_per_second: int | None = None
    only: tuple[Window, ...] = ()
    """When it may be sent to; empty: always."""
    association_per: AssociationPer = AssociationPer.ANY
    wait_for_quiet: timedelta | None = None
    """A study is sent when nothing more of it has arrived for so long."""
    propose_stored: ProposeStored = ProposeStored.AUTO
    transfer_syntaxes: tuple[str, ...] = ()
    """What may be proposed, with the strategy ``listed``."""
    prefer: Prefer = Prefer.STORED
    decompress_lossy: bool = True
    """Whether an instance that is stored lossy may be sent native where its stored syntax is refused."""
    never_convert: bool = False
    duplicate_is_delivered: bool = False
    duplicates: Duplicates = Duplicates.ALWAYS
    duplicate_window: timedelta = timedelta(hours=24)
    quota: int | None = None
    """Bytes of the spool that may wait for it."""
    best_effort: bool = False
    """Over its quota it gives up what waits longest."""
    status_rules: tuple[StatusRule, ...] = ()
    """Looked up before the table of ``rules.retry``; the first that fits counts."""
    allow_return: bool = False
    renamed_from: str | None = None
    back_off: BackOff = field(default_factory=BackOff)
    retry: Retry = field(default_factory=Retry)
    deadlines: SendDeadlines = field(default_factory=SendDeadlines)
    tls: TlsClient | None = None
    """None: in the clear."""
