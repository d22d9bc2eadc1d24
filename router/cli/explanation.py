"""What a configuration does, in words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import time, timedelta
from typing import assert_never

from router.model.delivery import Priority
from router.model.destination import AssociationPer, Destination, Duplicates, Strategy, Window
from router.model.transfer_syntax import transfer_syntax
from router.rules.acceptance import Listener
from router.rules.conditions import AllOf, AnyOf, Condition, Matches, Not, PeerWithin
from router.rules.negotiation import chain
from router.rules.network import Network
from router.rules.routing import Route, Target, Unrouted
from router.settings import Configuration

_UNROUTED = {
    Unrouted.HOLD: "is accepted and held for an operator",
    Unrouted.DISCARD: "is accepted, dropped, and logged",
    Unrouted.REFUSE: "is refused with status 0124H",
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_SIZES = (
    *((1 << 40, "TiB"), (10**12, "TB"), (1 << 30, "GiB"), (10**9, "GB"), (1 << 20, "MiB")),
    *((10**6, "MB"), (1 << 10, "KiB"), (10**3, "KB"), (1, "bytes")),
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one part of a configuration does."""

    of: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((self.of, *(f"  {sentence}" for sentence in self.sentences)))


def explanations(configuration: Configuration) -> Iterator[Explanation]:
    """Of each listener, route and destination, and of what no route takes."""
    for listener in configuration.listeners:
        yield Explanation(f"listener {listener.name}", tuple(_of_listener(listener)))
    for route in configuration.routes:
        yield Explanation(f"route {route.name!r}", tuple(_of_route(route)))
    otherwise = f"an instance that no route takes {_UNROUTED[configuration.unrouted]}"
    yield Explanation("unrouted", (otherwise,))
    for destination in configuration.destinations:
        yield Explanation(f"destination {destination.name}", tuple(_of_destination(destination)))


def _of_listener(listener: Listener) -> Iterator[str]:
    titles = "any AE title" if listener.ae_titles is None else _or(listener.ae_titles)
    yield f"answers to {titles} on {listener.host}:{listener.port}{'' if listener.tls is None else ', over TLS only'}"
    if listener.allow_any:
        yield "takes instances from anybody"
        return
    if not listener.allow:
        yield "takes instances from nobody"
    for each in listener.allow:
        where = f"at {_or(map(_network, each.hosts))}" if each.hosts else "at any address"
        shown = "" if each.certificate is None else f" with a certificate for {each.certificate}"
        yield f"takes instances from {each.ae_title or 'any AE title'} {where}{shown}"


def _of_route(route: Route) -> Iterator[str]:
    priority = "" if route.priority is Priority.NORMAL else f" with priority {route.priority.name.lower()}"
    yield f"{_which(route.when)} goes to {', and to '.join(map(_target, route.to))}{priority}"
    if route.stop:
        yield "after it no further route is asked"


def _which(condition: Condition) -> str:
    return "every instance" if condition == AllOf(()) else f"an instance with {_condition(condition)}"


def _condition(condition: Condition) -> str:
    match condition:
        case Matches(subject, tests):
            return f"{subject} {_or(map(str, tests))}"
        case PeerWithin(networks):
            return f"its peer in {_or(map(_network, networks))}"
        case AllOf(conditions):
            return " and ".join(map(_condition, conditions)) or "anything"
        case AnyOf(conditions):
            return f"({' or '.join(map(_condition, conditions))})"
        case Not(inner):
            return f"not ({_condition(inner)})"
        case _:
            assert_never(condition)


def _target(target: Target) -> str:
    if len(target.first_of) == 1:
        return target.first_of[0]
    first = f"the first of {', '.join(target.first_of)} that works"
    if target.failover_after is None:
        return first
    return f"{first}, and moves on after {duration(target.failover_after)} of trouble"


def _of_destination(destination: Destination) -> Iterator[str]:
    caller = destination.local_ae_title or "the modality's own AE title"
    yield (
        f"{destination.remote_ae_title} at {destination.remote_host}:{destination.remote_port}, called as {caller} "
        f"over at most {_count(destination.max_associations, 'association')}"
        f"{'' if destination.tls is None else ', over TLS'}"
    )
    yield _syntaxes(destination)
    yield from _pace(destination)
    back_off, retry = destination.back_off, destination.retry
    longest = duration(back_off.maximum)
    yield f"in trouble, is tried again after {duration(back_off.initial)}, then at least every {longest}"
    yield (
        f"an instance that fails is tried again after {duration(retry.initial)}, then at least every "
        f"{duration(retry.maximum)}; after {duration(retry.give_up_after)} with a working destination it is given up"
    )
    if destination.duplicates is Duplicates.ONCE:
        yield f"an instance that comes again within {duration(destination.duplicate_window)} is not sent again"
    if destination.quota is not None:
        beyond = "what waits longest is given up" if destination.best_effort else "a warning is logged"
        yield f"when more than {size(destination.quota)} wait for it, {beyond}"
    for rule in destination.status_rules:
        codes = f"{rule.first:04X}H" if rule.first == rule.last else f"{rule.first:04X}H to {rule.last:04X}H"
        yield f"status {codes} means {rule.then}"


def _syntaxes(destination: Destination) -> str:
    if destination.transfer_syntax_strategy is Strategy.LISTED:
        return f"proposes {_or(transfer_syntax(uid).name for uid in destination.transfer_syntaxes)}, nothing else"
    strategies = chain(destination.transfer_syntax_strategy, destination.max_association_retries)
    return f"proposes with the strategy {', then '.join(strategies)}"


def _pace(destination: Destination) -> Iterator[str]:
    if destination.only:
        yield f"is sent to only {_or(map(window, destination.only))}, local time"
    if destination.max_bytes_per_second is not None:
        yield f"gets at most {size(destination.max_bytes_per_second)} a second"
    if destination.max_instances_per_association is not None:
        yield f"gets at most {_count(destination.max_instances_per_association, 'instance')} over one association"
    if destination.association_per is not AssociationPer.ANY:
        yield f"gets each {destination.association_per} over an association of its own"
    if destination.wait_for_quiet is not None:
        yield f"gets a study when nothing more of it has come for {duration(destination.wait_for_quiet)}"


def window(window: Window) -> str:
    """``Mon, Tue 19:00 to 06:00 on the next day``."""
    days = "daily" if len(window.days) == len(_DAYS) else ", ".join(_DAYS[day] for day in sorted(window.days))
    if window.end > window.begin:
        return f"{days} {window.begin:%H:%M} to {window.end:%H:%M}"
    if window.end != time():
        return f"{days} {window.begin:%H:%M} to {window.end:%H:%M} on the next day"
    return f"{days} all day" if window.begin == time() else f"{days} {window.begin:%H:%M} to midnight"


def duration(span: timedelta) -> str:
    """In the largest unit that leaves no rest: ``90 minutes``."""
    seconds = span.total_seconds()
    for unit, length in _UNITS:
        if seconds and seconds % length == 0:
            return _count(int(seconds // length), unit)
    return f"{seconds:g} seconds"


def size(amount: int) -> str:
    """In the largest unit that leaves no rest, as it was written: ``50 GiB``, ``10 MB``."""
    return next(f"{amount // length} {unit}" for length, unit in _SIZES if amount % length == 0)


def _network(network: Network) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def _or(words: Iterable[str]) -> str:
    return " or ".join(words)
