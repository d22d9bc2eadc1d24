"""What every answer is made of, and the answers that are about the daemon itself."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Of a request or an answer, as JSON. Names of fields are those of the log lines."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Reloaded(Body):
    """Answer to ``POST /api/reload`` when the new configuration is in force."""

    reloaded: bool = True


class Alive(Body):
    """Answer to ``GET /livez``."""

    alive: bool = True


class Readiness(Body):
    """Answer to ``GET /readyz``."""

    ready: bool
    reasons: Sequence[str]
    """Why nothing can be received now, one sentence each."""


class Trouble(Body):
    """Answer to whatever cannot be answered."""

    error: str
    """A sentence."""
    problems: Sequence[str] | None = None
    """Of a configuration that was refused, each with its place."""
