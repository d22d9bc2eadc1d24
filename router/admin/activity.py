"""What happens lately, kept in memory for whoever looks: follows the journal, bounded by names that are configured."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from router.journal import (
    AssociationAccepted,
    AssociationLost,
    AssociationReleased,
    DeadLetter,
    DeliveryDeferred,
    DestinationTrouble,
    Event,
    InstanceAccepted,
    StoreSucceeded,
)

MINUTES = 60
"""So much of the past is kept."""

MOST_ASSOCIATIONS = 4096
"""More than any sane limit of associations: should an end ever be missed, memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An association that a modality has opened."""

    association: str
    calling_ae_title: str
    called_ae_title: str
    peer: str
    since: datetime
    instances: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Sending:
    """What was sent to one destination lately."""

    last_success_at: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    minutes: deque[tuple[datetime, int, int]] = field(default_factory=lambda: deque(maxlen=MINUTES))
    """(its begin, instances, bytes), the latest last; minutes without any are left out."""

    def count(self, minute: datetime, size: int) -> None:
        """One instance more."""
        if self.minutes and self.minutes[-1][0] == minute:
            _, instances, total = self.minutes.pop()
            self.minutes.append((minute, instances + 1, total + size))
        else:
            self.minutes.append((minute, 1, size))


class Activity:
    """Of one daemon."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Nothing has happened yet; subscribe it to the journal."""
        self._clock = clock
        self._incoming: dict[str, Incoming] = {}
        self._sending: dict[str, Sending] = {}

    def configure(self, destinations: Iterable[str]) -> None:
        """The names of the destinations that exist from now on."""
        self._sending = {name: self._sending.get(name, Sending()) for name in destinations}

    def __call__(self, event: Event) -> None:
        """Note what happened."""
        match event:
            case AssociationAccepted():
                if len(self._incoming) < MOST_ASSOCIATIONS:
                    self._incoming[event.association] = Incoming(
                        event.association, event.calling_ae_title, event.called_ae_title, event.peer, self._clock()
                    )
            case AssociationReleased() | AssociationLost():
                self._incoming.pop(event.association, None)
            case InstanceAccepted():
                if (open_one := self._incoming.get(event.association)) is not None:
                    self._incoming[event.association] = replace(
                        open_one, instances=open_one.instances + 1, bytes=open_one.bytes + event.bytes
                    )
            case StoreSucceeded():
                if (sending := self._sending.get(event.destination)) is not None:
                    now = self._clock()
                    sending.last_success_at = now
                    sending.count(now.replace(second=0, microsecond=0), event.bytes)
            case DeliveryDeferred() | DeadLetter() | DestinationTrouble():
                if (sending := self._sending.get(event.destination)) is not None:
                    sending.last_error, sending.last_error_at = event.error, self._clock()
            case _:
                pass

    @property
    def incoming(self) -> Sequence[Incoming]:
        """The associations that are open, the oldest first."""
        return list(self._incoming.values())

    @property
    def sending(self) -> Mapping[str, Sending]:
        """By destination."""
        return self._sending

    def rate(self, destination: str) -> float:
        """Instances per minute, over the last five whole minutes and the one that runs."""
        since = self._clock().replace(second=0, microsecond=0) - timedelta(minutes=5)
        minutes = self._sending[destination].minutes if destination in self._sending else ()
        return sum(instances for begin, instances, _ in minutes if begin >= since) / 6

    def sparkline(self, destination: str) -> Sequence[int]:
        """Instances in each of the last ``MINUTES`` minutes, the oldest first."""
        now = self._clock().replace(second=0, microsecond=0)
        counts = {begin: instances for begin, instances, _ in self._sending[destination].minutes}
        return [counts.get(now - timedelta(minutes=back), 0) for back in reversed(range(MINUTES))]
