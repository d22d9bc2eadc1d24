"""A destination: where instances are forwarded to, and how patient we are with it."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


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
    propose_stored: ProposeStored = ProposeStored.AUTO
    transfer_syntaxes: tuple[str, ...] = ()
    """What may be proposed, with the strategy ``listed``."""
    prefer: Prefer = Prefer.STORED
    decompress_lossy: bool = True
    """Whether an instance that is stored lossy may be sent native where its stored syntax is refused."""
    never_convert: bool = False
    duplicate_is_delivered: bool = False
    allow_return: bool = False
    renamed_from: str | None = None
    back_off: BackOff = field(default_factory=BackOff)
    retry: Retry = field(default_factory=Retry)
    deadlines: SendDeadlines = field(default_factory=SendDeadlines)
