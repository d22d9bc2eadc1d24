"""Which of several destinations a study is owed to, so that it stays together."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from router.durable.queue import Desk
from router.rules.routing import Target

MOST_REMEMBERED = 4096
"""Studies: many more than arrive at the same time."""

NONE: Mapping[tuple[str, ...], str] = MappingProxyType({})


class Choices:
    """What was chosen for the latest instance of each study; the queue knows it after a restart."""

    def __init__(self, desk: Desk, in_trouble: Callable[[], frozenset[str]]) -> None:
        """Choices.

        Args:
            desk: for studies that are not remembered.
            in_trouble: the destinations that instances go past now.
        """
        self._desk = desk
        self.in_trouble = in_trouble
        self._remembered: OrderedDict[tuple[str, tuple[str, ...]], str] = OrderedDict()

    async def of(self, study: str, targets: Iterable[Target]) -> Mapping[tuple[str, ...], str]:
        """For each target of several destinations the one that the study is owed to, if it is owed to one yet."""
        several = [target.first_of for target in targets if len(target.first_of) > 1]
        if not several or not study:
            return NONE
        found = {first_of: await self._of(study, first_of) for first_of in several}
        return {first_of: name for first_of, name in found.items() if name in first_of}

    def note(self, study: str, first_of: tuple[str, ...], chosen: str) -> None:
        """An instance of the study is owed to ``chosen``."""
        if first_of and study:
            self._remembered[study, first_of] = chosen
            self._remembered.move_to_end((study, first_of))
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    def forget(self) -> None:
        """Something moved to another destination: the queue knows where to."""
        self._remembered.clear()

    async def _of(self, study: str, first_of: tuple[str, ...]) -> str:
        remembered = self._remembered.get((study, first_of))
        return remembered or await self._desk.chosen(study, first_of) or ""
