"""What is legal, but hardly meant: one sentence each."""

from collections.abc import Iterable, Iterator

from router.model.destination import AssociationPer, Destination, Duplicates
from router.rules.acceptance import Listener
from router.rules.routing import Route
from router.settings.statuses import unheard

_DUPLICATE_WINDOW = Destination("", "", "", 0).duplicate_window
"""What it is when nothing is written."""


def oddities(
    listeners: Iterable[Listener], routes: Iterable[Route], destinations: Iterable[Destination]
) -> Iterator[str]:
    """Warnings, which keep nothing from starting."""
    for listener in listeners:
        for sentence in _of_listener(listener):
            yield f"listener {listener.name}: {sentence}"
    used = {name for route in routes for target in route.to for name in target.first_of}
    for destination in destinations:
        if destination.name not in used:
            yield f"destination {destination.name}: no route leads there"
        for sentence in _of_destination(destination):
            yield f"destination {destination.name}: {sentence}"


def _of_listener(listener: Listener) -> Iterator[str]:
    if not listener.allow_any and not listener.allow:
        yield "nobody can send: `allow` is empty; name senders there, or write `allow_any: true`"
    if listener.allow_any and listener.allow:
        yield "`allow` means nothing beside `allow_any: true`"


def _of_destination(destination: Destination) -> Iterator[str]:
    if destination.best_effort and destination.quota is None:
        yield "`best_effort` means nothing without a `quota`: without one, nothing is given up"
    if destination.duplicates is Duplicates.ALWAYS and destination.duplicate_window != _DUPLICATE_WINDOW:
        yield "`duplicate_window` means nothing without `duplicates: once`"
    per = destination.association_per
    if per is not AssociationPer.ANY and destination.max_instances_per_association is not None:
        yield f"`max_instances_per_association` may end an association within a {per}, beside `association_per: {per}`"
    yield from unheard(destination.status_rules)
