"""The live part: bars on a terminal, and a line for whatever an operator would like to know; all on standard error."""

from collections import Counter
from collections.abc import Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from router.demo.pacs import Pacs
from router.flow.pending import Result
from router.journal import DestinationRecovered, DestinationTrouble, Event, Fallback, StoreSucceeded, StrategiesFailed
from router.model.outcome import Stored


class Live:
    """A subscriber of the router's journal, and the place where the demonstration talks."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._began = monotonic()
        self._bars = Progress(
            TextColumn("  {task.description:<24}"),
            BarColumn(32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[standing]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar: dict[str, TaskID] = {}
        self._refused: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._fallen_back: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        self._began = monotonic()
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def finish(self) -> None:
        """No bar moves any more."""
        self._bars.stop()

    def introduce(self, sent: int, pacs: Sequence[Pacs], page: str) -> None:
        """Who takes part, where to watch, and a bar for each."""
        self._print(
            f"A modality sends {sent} objects. The router calls one stored when it is safe on disk, and then brings"
        )
        self._print(f"it to {len(pacs)} PACS, to each in a form that it takes, whatever happens there:")
        for each in pacs:
            self._print(f"  {each.name:<9} {each.character}")
        self._print(f"Its page shows it as it happens: {page}")
        self._print("")
        self._bar[""] = self._bars.add_task("modality → router", total=sent, standing="")
        for each in pacs:
            self._bar[each.name] = self._bars.add_task(f"router → {each.name}", total=sent, standing="")

    def sent(self, result: Result) -> None:
        """The modality has its answer for one more object."""
        if isinstance(result.outcome, Stored):
            self._bars.advance(self._bar[""])
        else:
            self._refused[""] += 1
            self._stand("", f"{self._refused['']} refused")

    def accepted(self, accepted: int, sent: int, seconds: float) -> None:
        """The modality has all its answers."""
        self.say("MODALITY", f"has {accepted} of {sent} accepted, in {seconds:.1f} s")
        for name, bar in self._bar.items():
            self._bars.update(bar, total=accepted if name else sent)

    def say(self, who: str, what: str) -> None:
        """One line, with the time since the beginning."""
        self._print(f"{monotonic() - self._began:6.1f} s  {who:<9} {what}")

    def fallbacks(self, counts: Mapping[tuple[str, str], int]) -> None:
        """What was said once, and happened more often."""
        for (name, strategy), count in counts.items():
            if count > 1:
                self.say(name, f"Using {strategy} fallback: {count} times in all")

    def __call__(self, event: Event) -> None:
        """Show what happened."""
        match event:
            case StoreSucceeded(destination=name):
                self._bars.advance(self._bar[name])
            case StrategiesFailed(destination=name):
                self._refused[name] += 1
                self._stand(name, f"{self._refused[name]} cannot be delivered")
            case DestinationTrouble(destination=name):
                if event.attempt == 1:
                    self.say(name, event.error)
                self._stand(name, f"left alone for a moment, {event.attempt} failures")
                self._failures[name] = event.attempt
            case DestinationRecovered(destination=name):
                failures = self._failures[name]
                self.say(name, f"works again, after {event.duration_ms / 1000:.1f} s and {failures} failures in a row")
                self._stand(name, "")
            case Fallback(destination=name) if (name, event.strategy) not in self._fallen_back:
                self._fallen_back.add((name, event.strategy))
                self.say(name, f"{event.event}, because: {event.error.partition('. ')[0]}")
            case _:
                pass

    def _stand(self, name: str, standing: str) -> None:
        self._bars.update(self._bar[name], standing=standing)

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)
