"""From a checked document to the plain values that the rest of the house knows."""

from collections.abc import Mapping
from pathlib import Path

from router.model.destination import BackOff, Destination, Retry, SendDeadlines, Strategy
from router.rules.acceptance import Allowed, Listener, ReceiveDeadlines
from router.rules.routing import Route, Routes, everything_to
from router.settings.conditions import Reader
from router.settings.configuration import Configuration, HttpSettings, LogSettings, SpoolSettings
from router.settings.document import (
    ANY_AE_TITLE,
    RECEIVED_AE_TITLE,
    DestinationSection,
    Document,
    ListenSection,
    RouteSection,
)

SOCKET = "dicom-router.sock"


def configuration(document: Document, reader: Reader, folder: Path, environment: Mapping[str, str]) -> Configuration:
    """What ``document`` says.

    Args:
        document: checked, value by value.
        reader: reads the conditions of routes; collects what is wrong with them.
        folder: of the configuration file: relative paths start there.
        environment: for ``RUNTIME_DIRECTORY``, which systemd sets.
    """
    listeners = tuple(map(_listener, document.listen))
    destinations = tuple(map(destination, document.destinations))
    routes = Routes(_route(section, position, reader) for position, section in enumerate(document.routes))
    if not routes and len(destinations) == 1:
        routes = everything_to(destinations[0].name)
    spool = folder / document.spool.directory
    return Configuration(
        listeners=listeners,
        spool=SpoolSettings(spool, document.spool.reserve, document.spool.keep_delivered),
        routes=routes,
        unrouted=document.unrouted,
        destinations=destinations,
        log=LogSettings(document.log.level, document.log.format, document.log.uids),
        http=HttpSettings(document.http.host, document.http.port, document.http.enabled),
        socket=folder / document.socket if document.socket is not None else _runtime(environment, spool) / SOCKET,
        drain=document.drain,
        warnings=(*_unheard(listeners), *_unused(routes, destinations)),
    )


def _runtime(environment: Mapping[str, str], spool: Path) -> Path:
    # systemd.exec(5): several directories are joined with colons.
    first = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(first) if first else spool


def _listener(section: ListenSection) -> Listener:
    titles = section.ae_titles if section.ae_titles is not None else [section.ae_title or "ROUTER"]
    deadlines = section.deadlines
    return Listener(
        name=section.name or f"{section.host}:{section.port}",
        ae_titles=None if ANY_AE_TITLE in titles else tuple(titles),
        host=section.host,
        port=section.port,
        allow_any=section.allow_any,
        allow=tuple(Allowed(each.ae_title, tuple(each.hosts)) for each in section.allow),
        max_associations=section.max_associations,
        max_associations_per_host=section.max_associations_per_host,
        prefer=section.prefer,
        unknown_sop_classes=section.unknown_sop_classes,
        truncated=section.truncated,
        deadlines=ReceiveDeadlines(deadlines.request, deadlines.pdu, deadlines.between_pdus, deadlines.idle),
    )


def _route(section: RouteSection, position: int, reader: Reader) -> Route:
    when = reader.all_of(section.when, ("routes", position, "when"))
    return Route(section.name or f"route {position + 1}", when, tuple(section.to), section.stop)


def destination(section: DestinationSection) -> Destination:
    """What one section of a destination says."""
    back_off, retry, deadlines = section.back_off, section.retry, section.deadlines
    return Destination(
        name=section.name,
        remote_ae_title=section.remote_ae_title,
        remote_host=section.remote_host,
        remote_port=section.remote_port,
        local_ae_title=None if section.local_ae_title == RECEIVED_AE_TITLE else section.local_ae_title,
        transfer_syntax_strategy=Strategy.LISTED if section.transfer_syntaxes else section.transfer_syntax_strategy,
        max_association_retries=section.max_association_retries,
        max_associations=section.max_associations,
        propose_stored=section.propose_stored,
        transfer_syntaxes=tuple(section.transfer_syntaxes),
        prefer=section.prefer,
        decompress_lossy=section.decompress_lossy,
        never_convert=section.never_convert,
        duplicate_is_delivered=section.duplicate_is_delivered,
        allow_return=section.allow_return,
        renamed_from=section.renamed_from,
        back_off=BackOff(back_off.initial, back_off.maximum),
        retry=Retry(retry.initial, retry.maximum, retry.give_up_after),
        deadlines=SendDeadlines(deadlines.connect, deadlines.association, deadlines.response, deadlines.linger),
    )


def _unheard(listeners: tuple[Listener, ...]) -> list[str]:
    warnings = []
    for listener in listeners:
        if not listener.allow_any and not listener.allow:
            sentence = "nobody can send: `allow` is empty; name senders there, or write `allow_any: true`"
            warnings.append(f"listener {listener.name}: {sentence}")
        if listener.allow_any and listener.allow:
            warnings.append(f"listener {listener.name}: `allow` means nothing beside `allow_any: true`")
    return warnings


def _unused(routes: Routes, destinations: tuple[Destination, ...]) -> list[str]:
    used = {name for route in routes for name in route.to}
    return [f"destination {each.name}: no route leads there" for each in destinations if each.name not in used]
