"""From a checked document to the plain values that the rest of the house knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from router.model.delivery import Priority
from router.model.destination import BackOff, Destination, Retry, SendDeadlines, Strategy
from router.rules.acceptance import Allowed, Listener, ReceiveDeadlines
from router.rules.routing import Route, Routes, Target, everything_to
from router.rules.user_identity import Users
from router.settings import alerts, tls, users
from router.settings.conditions import Reader
from router.settings.configuration import (
    Configuration,
    HistorySettings,
    HttpSettings,
    LogSettings,
    SpoolSettings,
    Token,
)
from router.settings.document import (
    ANY_AE_TITLE,
    RECEIVED_AE_TITLE,
    DestinationSection,
    Document,
    HttpSection,
    ListenSection,
    UserIdentitySection,
)
from router.settings.oddities import oddities
from router.settings.routes import RouteSection, TargetSection
from router.settings.statuses import rules

SOCKET = "dicom-router.sock"


def configuration(
    document: Document, reader: Reader, folder: Path, environment: Mapping[str, str], tokens: Sequence[Token]
) -> Configuration:
    """What ``document`` says.

    Args:
        document: checked, value by value.
        reader: reads the conditions of routes; collects what is wrong with them.
        folder: of the configuration file: relative paths start there.
        environment: for ``RUNTIME_DIRECTORY``, which systemd sets.
        tokens: what the file of tokens says.
    """
    listeners = tuple(_listener(section, folder) for section in document.listen)
    destinations = tuple(destination(section, folder) for section in document.destinations)
    routes = Routes(_route(section, position, reader) for position, section in enumerate(document.routes))
    if not routes and len(destinations) == 1:
        routes = everything_to(destinations[0].name)
    spool = folder / document.spool.directory
    return Configuration(
        listeners=listeners,
        spool=SpoolSettings(spool, document.spool.reserve, document.spool.keep_delivered),
        history=HistorySettings(document.history.keep, document.history.size),
        routes=routes,
        unrouted=document.unrouted,
        destinations=destinations,
        log=LogSettings(document.log.level, document.log.format, document.log.uids),
        http=_http(document.http, tokens),
        socket=folder / document.socket if document.socket is not None else _runtime(environment, spool) / SOCKET,
        drain=document.drain,
        alerts=tuple(map(alerts.rule, document.alerts)),
        silences=tuple(map(alerts.silence, document.silence)),
        warnings=tuple(oddities(listeners, routes, destinations)),
    )


def _http(section: HttpSection | None, tokens: Sequence[Token]) -> HttpSettings:
    written = section or HttpSection()
    return HttpSettings(
        host=written.host,
        port=written.port,
        enabled=section is not None and section.enabled,
        allowed_hosts=tuple(written.allowed_hosts),
        tokens=tuple(tokens),
        show_patient=written.show_patient,
    )


def _runtime(environment: Mapping[str, str], spool: Path) -> Path:
    # systemd.exec(5): several directories are joined with colons.
    first = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(first) if first else spool


def _listener(section: ListenSection, folder: Path) -> Listener:
    titles = section.ae_titles if section.ae_titles is not None else [section.ae_title or "ROUTER"]
    deadlines = section.deadlines
    return Listener(
        name=section.name or f"{section.host}:{section.port}",
        ae_titles=None if ANY_AE_TITLE in titles else tuple(titles),
        host=section.host,
        port=section.port,
        allow_any=section.allow_any,
        allow=tuple(Allowed(each.ae_title, tuple(each.hosts), each.certificate) for each in section.allow),
        max_associations=section.max_associations,
        max_associations_per_host=section.max_associations_per_host,
        prefer=section.prefer,
        unknown_sop_classes=section.unknown_sop_classes,
        truncated=section.truncated,
        deadlines=ReceiveDeadlines(deadlines.request, deadlines.pdu, deadlines.between_pdus, deadlines.idle),
        tls=None if section.tls is None else tls.server(section.tls, folder),
        users=None if section.user_identity is None else _users(section.user_identity, folder),
    )


def _users(section: UserIdentitySection, folder: Path) -> Users:
    return Users(tuple(users.read(folder / section.users_file)), section.required)


def _route(section: RouteSection, position: int, reader: Reader) -> Route:
    when = reader.all_of(section.when, ("routes", position, "when"))
    return Route(
        name=section.name or f"route {position + 1}",
        when=when,
        to=tuple(map(target, section.to)),
        stop=section.stop,
        priority=Priority[section.priority.upper()],
    )


def target(section: TargetSection) -> Target:
    """What one entry of `to` says."""
    return Target(tuple(section.first_of), section.failover_after)


def destination(section: DestinationSection, folder: Path) -> Destination:
    """What one section of a destination says; relative files are meant from ``folder``."""
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
        max_instances_per_association=section.max_instances_per_association,
        max_bytes_per_second=section.bandwidth,
        only=tuple(section.only),
        association_per=section.association_per,
        wait_for_quiet=section.wait_for_quiet or None,  # nothing to wait for is no waiting
        propose_stored=section.propose_stored,
        transfer_syntaxes=tuple(section.transfer_syntaxes),
        prefer=section.prefer,
        decompress_lossy=section.decompress_lossy,
        never_convert=section.never_convert,
        duplicate_is_delivered=section.duplicate_is_delivered,
        duplicates=section.duplicates,
        duplicate_window=section.duplicate_window,
        quota=section.quota,
        best_effort=section.best_effort,
        status_rules=rules(section.statuses),
        allow_return=section.allow_return,
        renamed_from=section.renamed_from,
        back_off=BackOff(back_off.initial, back_off.maximum),
        retry=Retry(retry.initial, retry.maximum, retry.give_up_after),
        deadlines=SendDeadlines(deadlines.connect, deadlines.association, deadlines.response, deadlines.linger),
        tls=None if section.tls is None else tls.client(section.tls, folder),
    )
