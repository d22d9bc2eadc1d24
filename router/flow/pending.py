"""One instance within an attempt: what was tried for it so far, and what became of it."""

from dataclasses import dataclass, field

from router.dicom.content import Outgoing
from router.flow.conversions import Conversion
from router.model.destination import Strategy
from router.model.instance import Identity
from router.model.outcome import Outcome
from router.rules.negotiation import Pair


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one instance in one attempt."""

    instance: Outgoing
    outcome: Outcome
    blamed: bool
    """A failure of undecided fault was the instance's own: another one was stored after it."""
    strategy: Strategy
    strategies_tried: tuple[Strategy, ...]
    associations: int
    """Associations tried for it (the seed's ``attempts_made``)."""
    transfer_syntax: str = ""
    """In which it was sent last; empty: it was not."""
    uncertain: bool = False
    """An answer was lost: the peer may have it."""
    error_comment: str = ""
    """The peer's, for the operator alone."""


@dataclass(slots=True, eq=False)
class Pending:
    """An instance without a result yet."""

    instance: Outgoing
    calling_ae_title: str
    """What we call ourselves for it."""
    uncertain: bool
    """An answer was lost, in this attempt or before: the peer may have it."""
    outcome: Outcome | None = None
    """Of the last strategy, if another one may do better."""
    strategies: list[Strategy] = field(default_factory=list)
    """Those that were tried for it."""
    associations: set[int] = field(default_factory=set)
    """Those that were tried for it, by number."""
    blamed: bool = False
    failed: set[str] = field(default_factory=set)
    """Transfer syntaxes in which this very instance could not be sent."""
    refused: set[str] = field(default_factory=set)
    """Those of them in which the peer answered its C-STORE with a failure."""
    tested: set[Pair] = field(default_factory=set)
    """Pairs that did not work for it: refused as a context, or failed."""
    conversion: Conversion | None = None
    """Under way or ended, for its last strategy."""
    transfer_syntax: str = ""
    error_comment: str = ""

    @property
    def identity(self) -> Identity:
        """What it is."""
        return self.instance.identity

    @property
    def waits(self) -> bool:
        """Whether it is being converted."""
        return self.conversion is not None and self.conversion.result is None

    def drop_conversion(self) -> None:
        """Stop it, or remove its file."""
        conversion, self.conversion = self.conversion, None
        if conversion is not None:
            conversion.drop()

    def result(self) -> Result:
        """As it is now, with an outcome."""
        assert self.outcome is not None
        return Result(
            self.instance,
            self.outcome,
            self.blamed,
            self.strategies[-1],
            tuple(self.strategies),
            len(self.associations),
            self.transfer_syntax,
            self.uncertain,
            self.error_comment,
        )
