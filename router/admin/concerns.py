"""What is wrong right now, in sentences: from the journal, the queue, the disk and the certificates.

Names are those of the configuration, everything else is counts, instants and our own words: nothing of a patient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from anyio import to_thread

from router.admin.health import Health
from router.dicom.credentials import CredentialsError, Files, certificates
from router.durable.queue import CauseTally, Desk, QueueError
from router.flow.forwarders import Forwarders
from router.journal import DestinationTrouble, Event, InstanceAccepted
from router.model.alert import Concern, Silence
from router.model.delivery import State
from router.model.outcome import Cause
from router.rules.windows import opens_at
from router.settings import Configuration

ENDS_SOON = timedelta(days=30)
"""Of a certificate."""

EARLY = 2
"""The disk is told of when this many times the reserve is free: there is time to do something."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong."""

    concern: Concern
    subject: str
    """The destination, the AE title, the file; with the concern, what it is known by."""
    sentence: str
    since: datetime | None = None
    """None: nobody knows better than when it was first seen."""

    @property
    def key(self) -> tuple[Concern, str]:
        """What it is known by."""
        return self.concern, self.subject


class Concerns:
    """A subscriber of the journal, which looks at the rest when it is asked."""

    def __init__(self, *, desk: Desk, health: Health, forwarders: Forwarders, clock: Callable[[], datetime]) -> None:
        """What is looked at.

        Args:
            desk: knows dead letters and loops.
            health: knows disk and writer.
            forwarders: know which destinations do not work.
            clock: the time of day.
        """
        self._desk = desk
        self._health = health
        self._forwarders = forwarders
        self._clock = clock
        self._configuration: Configuration
        self._errors: dict[str, str] = {}
        """What was last wrong with each destination."""
        self._heard: dict[Silence, datetime] = {}
        """Since when each modality is silent, not counting when nobody expects it."""
        self._causes: Sequence[CauseTally] = ()

    def __call__(self, event: Event) -> None:
        """Remember what matters."""
        match event:
            case InstanceAccepted():
                for each in self._heard:
                    if fnmatchcase(event.calling_ae_title.strip(" "), each.ae_title.replace("[", "[[]")):
                        self._heard[each] = self._clock()
            case DestinationTrouble():
                self._errors[event.destination] = event.error
            case _:
                pass

    def configure(self, configuration: Configuration) -> None:
        """What there is from now on."""
        self._configuration = configuration
        self._heard = {each: self._heard.get(each, self._clock()) for each in configuration.silences}

    async def now(self) -> Sequence[Condition]:
        """Everything that is wrong, in no order."""
        with suppress(QueueError):  # then what stood there stands there still, and the disk is of concern
            self._causes = await self._desk.causes()
        return [
            *self._destinations(),
            *self._queue(),
            *await self._disk(),
            *await to_thread.run_sync(lambda: list(self._certificates())),
            *self._silences(),
        ]

    def _destinations(self) -> Iterator[Condition]:
        for name in self._forwarders:
            if (since := self._forwarders.troubled_since(name)) is not None:
                error = self._errors.get(name)
                because = "" if error is None else f": {error}"
                yield Condition(Concern.DESTINATION_DOWN, name, f"{name} does not work{because}", since)

    def _queue(self) -> Iterator[Condition]:
        for concern, names in ((Concern.DEAD_LETTERS, _is_dead), (Concern.LOOP, _is_loop)):
            counts: dict[str, int] = {}
            for each in filter(names, self._causes):
                counts[each.destination] = counts.get(each.destination, 0) + each.deliveries
            for destination, count in counts.items():
                yield Condition(concern, destination, _SENTENCES[concern].format(count=count, destination=destination))

    async def _disk(self) -> Sequence[Condition]:
        sentences = list(await self._health.troubles())
        free, _, reserve = await to_thread.run_sync(self._health.space)
        if not sentences and free < EARLY * reserve:
            sentences.append(f"{free >> 20} MiB are free; below {reserve >> 20} MiB nothing more is received")
        return [Condition(Concern.DISK, "spool", "; ".join(sentences))] if sentences else []

    def _certificates(self) -> Iterator[Condition]:
        """Blocking."""
        encrypted: list[Files | None] = [listener.tls for listener in self._configuration.listeners]
        encrypted += [destination.tls for destination in self._configuration.destinations]
        for tls in encrypted:
            if tls is None:
                continue
            try:
                found = certificates(tls)
            except CredentialsError as error:
                yield Condition(Concern.CERTIFICATE, str(error), str(error))
                continue
            for each in found:
                if each.not_after - self._clock() < ENDS_SOON:
                    sentence = f"{each.path} ends on {each.not_after:%Y-%m-%d %H:%M} UTC; then peers refuse it"
                    yield Condition(Concern.CERTIFICATE, str(each.path), sentence)

    def _silences(self) -> Iterator[Condition]:
        now = self._clock()
        for each, heard in self._heard.items():
            if opens_at(each.only, now.astimezone().replace(tzinfo=None)) is not None:
                self._heard[each] = now
            elif now - heard > each.after:
                sentence = f"nothing has come from {each.ae_title} for more than {each.after}"
                yield Condition(Concern.SILENT_MODALITY, each.ae_title, sentence, heard + each.after)


def _is_dead(tally: CauseTally) -> bool:
    return tally.state is State.DEAD


def _is_loop(tally: CauseTally) -> bool:
    return tally.state is State.HELD and tally.cause is Cause.LOOP


_SENTENCES = {
    Concern.DEAD_LETTERS: (
        "{count} deliveries to {destination} were given up; they are kept: `dicom-router queue list` shows why"
    ),
    Concern.LOOP: "{count} deliveries to {destination} are held: the same instances come again and again",
}
