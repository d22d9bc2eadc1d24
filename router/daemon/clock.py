"""The one clock of the daemon."""

from datetime import UTC, datetime


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)
