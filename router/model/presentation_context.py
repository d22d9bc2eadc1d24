"""Presentation contexts as they are proposed and answered (PS3.8 9.3.2.2 and 9.3.3.2)."""

from dataclasses import dataclass
from enum import IntEnum

VERIFICATION = "1.2.840.10008.1.1"
"""Verification SOP Class (PS3.4 annex A)."""

MAXIMUM_CONTEXTS = 128
"""Odd identifiers between 1 and 255 (PS3.8 9.3.2.2)."""


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """One abstract syntax with the transfer syntaxes proposed for it."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class ContextResult(IntEnum):
    """The answer to one presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """What the acceptor answered for one presentation context; a transfer syntax only with an acceptance."""

    id: int
    abstract_syntax: str
    result: ContextResult
    transfer_syntax: str | None = None

    def __post_init__(self) -> None:
        if (self.result is ContextResult.ACCEPTANCE) != (self.transfer_syntax is not None):
            raise ValueError("a presentation context has a transfer syntax exactly when it is accepted")
