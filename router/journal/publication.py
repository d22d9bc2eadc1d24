"""Where events are published, and who is told."""

from collections.abc import Callable

from router.journal.events import Event

Subscriber = Callable[[Event], None]


class Journal:
    """Where events are published. A subscriber must be quick, and must not raise."""

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = list(subscribers)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Also tell ``subscriber`` from now on."""
        self._subscribers.append(subscriber)

    def publish(self, event: Event) -> None:
        """Tell every subscriber."""
        for subscriber in self._subscribers:
            subscriber(event)
