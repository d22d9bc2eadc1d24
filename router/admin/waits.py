"""Why a delivery waits and until when, and what will happen to it next: nothing sits in a queue silently."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, assert_never

from router.durable.queue import Entry
from router.model.delivery import Standing, State
from router.model.destination import Destination
from router.rules.advice import CAUSES
from router.rules.negotiation import Pair
from router.rules.pacing import Pace, Reason, Wait

ITS_TURN = "its turn"
ITS_NEXT_ATTEMPT = "its next attempt"
ITS_STUDY = "the rest of its study"
"""What one delivery waits for, beside what its whole destination waits for."""


class Steered(Protocol):
    """What operators ask of a forwarder, and order."""

    destination: Destination

    @property
    def associations(self) -> tuple[int, int]:
        """How many are open, and how many may be."""

    def pace(self) -> Pace:
        """Whether something may be sent now, or what is waited for, and until when."""

    def pause(self, *, paused: bool) -> None:
        """Keep what waits back, or go on."""

    async def retry_now(self) -> None:
        """A destination that does not work is tried at once."""

    async def learn(self, accepted: Mapping[Pair, bool]) -> None:
        """What a probe found out."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a delivery waits for."""

    reason: str
    error: str = ""
    """Why that is."""
    until: datetime | None = None


def waiting(
    entry: Entry, forwarders: Mapping[str, Steered], standings: Mapping[str, Standing], now: datetime
) -> Waiting | None:
    """What a queued delivery waits for; None: it is not queued."""
    if entry.state is not State.QUEUED:
        return None
    forwarder = forwarders.get(entry.destination)
    pace = None if forwarder is None else forwarder.pace()
    later = entry.next_attempt_at if entry.next_attempt_at and entry.next_attempt_at > now else None
    if isinstance(pace, Wait):
        troubled = pace.reason in {Reason.HELD, Reason.IN_TROUBLE}
        error = standings[entry.destination].error if troubled and entry.destination in standings else ""
        until = pace.until if pace.until is None or later is None else max(pace.until, later)
        return Waiting(pace.reason, error, until)
    if later is not None:
        return Waiting(ITS_NEXT_ATTEMPT if entry.attempts else ITS_STUDY, entry.error, later)
    return Waiting(ITS_TURN)


def what_next(entry: Entry, wait: Waiting | None) -> str:
    """What will happen to a delivery, in a sentence or two."""
    match entry.state:
        case State.QUEUED:
            assert wait is not None, "what is queued waits"
            because = f" ({wait.error})" if wait.error else ""
            until = "" if wait.until is None else f", until {wait.until:%Y-%m-%d %H:%M:%SZ}"
            return f"It is sent after what it waits for: {wait.reason}{because}{until}."
        case State.IN_FLIGHT:
            return "It is being sent now."
        case State.HELD | State.DEAD:
            if entry.cause is None:
                return "Nothing, until somebody retries or drops it."
            advice = CAUSES[entry.cause]
            return f"Nothing by itself. {advice.meaning} {advice.remedy}"
        case State.DELIVERED:
            return "Nothing: the destination has it. Its payload is removed when `keep_delivered` is over."
        case State.DROPPED:
            return "Nothing: it was given up for good."
        case _:
            assert_never(entry.state)
