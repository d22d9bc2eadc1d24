"""What is wrong between values that are each right."""

import socket
from collections.abc import Iterable, Iterator

from router.model.destination import Destination
from router.rules.acceptance import Listener
from router.rules.network import address, is_loopback, same_host
from router.rules.routing import Target
from router.settings import credentials
from router.settings.configuration import Configuration
from router.settings.problems import Problem, did_you_mean
from router.settings.source import Keys, Places

SOCKET_PATH_LENGTH = 107
"""sockaddr_un.sun_path has 108 bytes, the last one is NUL (unix(7))."""


def problems(configuration: Configuration, places: Places) -> list[Problem]:
    """Everything that is wrong between the values of a configuration."""
    return [
        *_listeners(configuration, places),
        *_routes(configuration, places),
        *_destinations(configuration, places),
        *_http(configuration, places),
        *_socket(configuration, places),
        *credentials.problems(configuration, places),
    ]


def _listeners(configuration: Configuration, places: Places) -> Iterator[Problem]:
    seen: dict[tuple[str, int], int] = {}
    for position, listener in enumerate(configuration.listeners):
        first = seen.setdefault((listener.host, listener.port), position)
        if first != position:
            sentence = f"listen[{first}] has the same host and port"
            yield places.problem(("listen", position, "port"), sentence)


def _routes(configuration: Configuration, places: Places) -> Iterator[Problem]:
    names = {destination.name for destination in configuration.destinations}
    if not names:
        sentence = "there is no destination; with none, everything received would only be held"
        hint = "add one below `destinations:`, or a file to the folder `destinations` beside this one"
        yield places.problem(("destinations",), sentence, hint)
        return
    if not configuration.routes:
        sentence = "`routes` is missing; with several destinations it must say which of them may have what"
        hint = (
            "a forgotten section must not broadcast patient data: write `routes: [{to: […]}]`, with all names if meant"
        )
        yield places.problem(("routes",), sentence, hint)
    seen: dict[str, int] = {}
    for position, route in enumerate(configuration.routes):
        first = seen.setdefault(route.name, position)
        if first != position:
            yield places.problem(("routes", position, "name"), f"routes[{first}] has the same name")
        yield from _targets(route.to, ("routes", position, "to"), names, places)


def _targets(targets: Iterable[Target], keys: Keys, names: set[str], places: Places) -> Iterator[Problem]:
    met: set[str] = set()
    for which, target in enumerate(targets):
        for position, name in enumerate(target.first_of):
            place = (*keys, which) if len(target.first_of) == 1 else (*keys, which, "first_of", position)
            if name not in names:
                yield places.problem(place, f"there is no destination {name!r}", did_you_mean(name, names))
            if name in met:
                yield places.problem(place, f"{name} stands here twice; an instance is owed to a destination once")
            met.add(name)


def _destinations(configuration: Configuration, places: Places) -> Iterator[Problem]:
    names = [destination.name for destination in configuration.destinations]
    for position, destination in enumerate(configuration.destinations):
        keys = ("destinations", position)
        first = names.index(destination.name)
        if first != position:
            where = places.of(("destinations", first, "name"))
            yield places.problem((*keys, "name"), f"{destination.name} is defined already, at {where}")
        if destination.renamed_from in names:
            sentence = f"a destination {destination.renamed_from} still exists"
            yield places.problem(
                (*keys, "renamed_from"), sentence, "remove the old one; what waits for it is taken over"
            )
        for listener in configuration.listeners:
            if _is(destination, listener):
                sentence = f"this is our own listener {listener.name}: every instance would come back"
                yield places.problem((*keys, "remote_host"), sentence)
        for pair in ("back_off", "retry"):
            waits = getattr(destination, pair)
            if waits.initial > waits.maximum:
                yield places.problem((*keys, pair, "initial"), "is longer than maximum")


def _is(destination: Destination, listener: Listener) -> bool:
    ours = listener.ae_titles is None or destination.remote_ae_title in listener.ae_titles
    return ours and destination.remote_port == listener.port and _reaches(destination.remote_host, listener.host)


def _reaches(host: str, listening: str) -> bool:
    """Whether who connects to ``host`` meets a socket of this machine on ``listening``; names are not looked up."""
    if host.casefold() in ("localhost", socket.gethostname().casefold()):
        host = "127.0.0.1"
    if same_host(host, listening):
        return True
    there, here = address(host), address(listening)
    if there is None or here is None or not here.is_unspecified:
        return False
    return there.is_loopback or there.is_unspecified or _is_of_this_machine(str(there))


def _is_of_this_machine(host: str) -> bool:
    """A datagram socket binds to this machine's own addresses only, and says nothing on the network."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _http(configuration: Configuration, places: Places) -> Iterator[Problem]:
    http = configuration.http
    if not http.enabled:
        return
    for position, listener in enumerate(configuration.listeners):
        if http.port == listener.port and _overlap(http.host, listener.host):
            yield places.problem(("http", "port"), f"listen[{position}] has the same host and port")
    if not is_loopback(http.host) and not http.tokens:
        sentence = f"{http.host} is called from elsewhere: that needs `tokens_file`, so that not everybody may read"
        hint = "write `host: 127.0.0.1` for this machine alone, or name a file with a line `name role token`"
        yield places.problem(("http", "host"), sentence, hint)


def _overlap(one: str, other: str) -> bool:
    """Whether two sockets on the same port cannot both be had; names are not looked up."""
    if same_host(one, other):
        return True
    return any(parsed is not None and parsed.is_unspecified for parsed in (address(one), address(other)))


def _socket(configuration: Configuration, places: Places) -> Iterator[Problem]:
    length = len(bytes(configuration.socket))
    if length > SOCKET_PATH_LENGTH:
        sentence = f"{configuration.socket} has {length} bytes; a Unix socket's path has at most {SOCKET_PATH_LENGTH}"
        yield places.problem(("socket",), sentence, "write `socket:` with a shorter path, such as one below /run")
