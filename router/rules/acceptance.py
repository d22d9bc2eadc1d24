"""Whether an association is accepted, and with which presentation contexts.

Closed by default: who is not in ``allow`` is refused. Whoever is refused is told why with the codes of PS3.8 Table
9-21; the sentence is for our own log.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import assert_never

from router.model.presentation_context import VERIFICATION, AnsweredContext, ContextResult, PresentationContext
from router.model.tls import TlsServer
from router.model.transfer_syntax import Kind, TransferSyntax, transfer_syntax
from router.rules.network import Network, within
from router.rules.user_identity import Users

NARROW = 16
"""Addresses of a network that `allow` names, at most, for each of them to count as named. A wider one says where peers
are, not who they are: it has room for as many attackers as there are places."""

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_UID_LENGTH = 64


class Prefer(StrEnum):
    """Which of the transfer syntaxes proposed in one presentation context is answered."""

    REQUESTOR = "requestor"
    NATIVE = "native"
    COMPRESSED = "compressed"


class UnknownSOPClasses(StrEnum):
    """What an abstract syntax gets that no registry knows (private ones, and those younger than the registries)."""

    ACCEPT = "accept"
    REFUSE = "refuse"


class Truncated(StrEnum):
    """What a data set gets whose last element runs past its end."""

    REFUSE = "refuse"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class ReceiveDeadlines:
    """How long the SCP waits for its peer."""

    request: timedelta = timedelta(seconds=10)
    """For the whole A-ASSOCIATE-RQ, from the connection on."""
    pdu: timedelta = timedelta(seconds=60)
    """For any one PDU in total, however its bytes trickle."""
    between_pdus: timedelta = timedelta(seconds=60)
    """Between the PDUs of one message."""
    idle: timedelta = timedelta(minutes=10)
    """Between messages: carts send during the examination."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may send: an AE title, a set of networks, or an AE title from these networks only."""

    ae_title: str | None = None
    """Of the calling AE, with ``*`` and ``?`` as wildcards; None: any."""
    hosts: tuple[Network, ...] = ()
    """Empty: any."""
    certificate: str | None = None
    """A name that the peer's certificate has to carry: a DNS name among its subject alternative names, or its common
    name. None: whichever, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port, as configured, with the rules for whoever calls there."""

    name: str = "listener"
    ae_titles: tuple[str, ...] | None = ("ROUTER",)
    """The called AE titles that are ours; None: any."""
    host: str = "0.0.0.0"  # noqa: S104 - modalities call from elsewhere; `allow` is empty until somebody is let in
    port: int = 11112
    allow_any: bool = False
    allow: tuple[Allowed, ...] = ()
    max_associations: int = 64
    max_associations_per_host: int = 8
    prefer: Prefer = Prefer.REQUESTOR
    unknown_sop_classes: UnknownSOPClasses = UnknownSOPClasses.ACCEPT
    truncated: Truncated = Truncated.REFUSE
    deadlines: ReceiveDeadlines = field(default_factory=ReceiveDeadlines)
    tls: TlsServer | None = None
    """None: in the clear."""
    users: Users | None = None
    """Whom an association may name; None: that is not looked at."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The association may be accepted; its presentation contexts are answered next."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What the A-ASSOCIATE-RJ says (PS3.8 Table 9-21), and why in our own words."""

    result: int
    source: int
    reason: int
    sentence: str


def may_connect(host: str, listener: Listener) -> bool:
    """Whether anybody at the address ``host`` may associate at all, under whatever AE title."""
    return listener.allow_any or any(_includes(allowed, host) for allowed in listener.allow)


def is_named(host: str, listener: Listener) -> bool:
    """Whether a row of ``allow`` names ``host`` itself, or a network of a few addresses that it is in."""
    narrow = (network for allowed in listener.allow for network in allowed.hosts if network.num_addresses <= NARROW)
    return within(host, narrow)


def admit_association(
    *,
    calling: str,
    called: str,
    host: str,
    listener: Listener,
    associations: int,
    associations_of_host: int,
    certificate_names: Collection[str] = (),
) -> Admitted | Rejection:
    """Whether ``calling`` at the address ``host`` may associate with ``called``.

    Args:
        calling: the calling AE title of the A-ASSOCIATE-RQ.
        called: its called AE title.
        host: the peer's address.
        listener: whose port was called.
        associations: how many this listener has already, without this one.
        associations_of_host: how many of them are from the same address.
        certificate_names: what the peer's certificate, verified, calls it; empty without one.
    """
    # Leading and trailing spaces are not significant (PS3.8 Table 9-11).
    calling, called = calling.strip(" "), called.strip(" ")
    if listener.ae_titles is not None and called not in listener.ae_titles:
        return Rejection(1, 1, 7, f"called AE title {called!r} is not one of ours")
    if not listener.allow_any and (unknown := _unknown(calling, host, listener, certificate_names)):
        return Rejection(1, 1, 3, f"calling AE title {calling!r} {unknown}")
    if associations >= listener.max_associations:
        return Rejection(2, 3, 2, f"{associations} associations are open, the limit of this listener")
    if associations_of_host >= listener.max_associations_per_host:
        return Rejection(2, 3, 2, f"{associations_of_host} associations from {host} are open, the limit of one host")
    return Admitted()


def _unknown(calling: str, host: str, listener: Listener, certificate_names: Collection[str]) -> str:
    """Why no row of ``allow`` lets a sender in; empty: one does."""
    rows = [allowed for allowed in listener.allow if names(allowed, calling)]
    if not rows:
        return "is not in `allow`"
    rows = [allowed for allowed in rows if _includes(allowed, host)]
    if not rows:
        return f"is not allowed from {host}"
    if not any(_vouches(certificate_names, allowed) for allowed in rows):
        return f"is not allowed from {host} with {'this' if certificate_names else 'no'} certificate"
    return ""


def names(allowed: Allowed, calling: str) -> bool:
    """Whether an entry of ``allow`` is about this calling AE title."""
    # fnmatch knows character classes too; an AE title may hold a bracket.
    return allowed.ae_title is None or fnmatchcase(calling, allowed.ae_title.replace("[", "[[]"))


def _includes(allowed: Allowed, host: str) -> bool:
    return not allowed.hosts or within(host, allowed.hosts)


def _vouches(certificate_names: Collection[str], allowed: Allowed) -> bool:
    # DNS names have no case.
    known = {name.casefold() for name in certificate_names}
    return allowed.certificate is None or allowed.certificate.casefold() in known


def answer_contexts(
    proposed: Sequence[PresentationContext],
    *,
    storage: Callable[[str], bool],
    verification: str = VERIFICATION,
    prefer: Prefer = Prefer.REQUESTOR,
) -> tuple[AnsweredContext, ...]:
    """The answer to each proposed presentation context, in the order of the proposal (PS3.8 9.3.3.2).

    Args:
        proposed: as the requestor sent them.
        storage: whether an abstract syntax is one we store.
        verification: the abstract syntax of Verification.
        prefer: which of several acceptable transfer syntaxes is taken.
    """
    return tuple(_answer(context, storage, verification, prefer) for context in proposed)


def _answer(
    context: PresentationContext, storage: Callable[[str], bool], verification: str, prefer: Prefer
) -> AnsweredContext:
    if context.abstract_syntax == verification:
        prefer = Prefer.NATIVE  # C-ECHO has no data set: any syntax would do, and every peer knows the native ones
    elif not storage(context.abstract_syntax):
        return AnsweredContext(context.id, context.abstract_syntax, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    # A private transfer syntax is as good as a known one: it is passed on as stored. What is no UID is not.
    legal = [uid for uid in context.transfer_syntaxes if len(uid) <= _UID_LENGTH and _UID.fullmatch(uid)]
    if not legal:
        return AnsweredContext(context.id, context.abstract_syntax, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)
    # `min` takes the first of equals, so the requestor's order decides within one rank.
    chosen = min(legal, key=lambda uid: _rank(transfer_syntax(uid), prefer, stands_first=uid == legal[0]))
    return AnsweredContext(context.id, context.abstract_syntax, ContextResult.ACCEPTANCE, chosen)


def _rank(syntax: TransferSyntax, prefer: Prefer, *, stands_first: bool) -> tuple[bool, int]:
    """How much a transfer syntax is wanted; the smallest wins."""
    if syntax.deflated or not syntax.little_endian:
        reluctance = 2  # only if nothing else is acceptable
    elif syntax.kind is Kind.LOSSY and not stands_first:
        reluctance = 1  # behind a native one it would have the modality compress native images, with loss, for our sake
    else:
        reluctance = 0
    match prefer:
        case Prefer.REQUESTOR:
            return False, reluctance
        case Prefer.NATIVE:
            return syntax.kind is not Kind.NATIVE or reluctance > 0, reluctance
        case Prefer.COMPRESSED:
            return syntax.kind is not Kind.LOSSLESS, reluctance
        case _:
            assert_never(prefer)
