"""Who may connect to a listener, and for how long without an association.

Whoever does not behave takes places from itself alone: each host has a limit, the fullest host makes room for another,
strangers before hosts that are known, and who breaks the protocol again and again is shut out for a while.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from typing import Protocol

from router.dicom.refusals import Refusals
from router.rules.acceptance import Listener, Rejection, admit_association, is_named, may_connect
from router.rules.offences import Offences

UNASSOCIATED = 64
"""Connections beyond the limit of associations that may be open at once: those that have not said who they are, and
those that are leaving."""

UNASSOCIATED_OF_A_HOST = 8
"""Of one host, beyond its limit of associations: it may ask for all of them at once."""

STRANGER = 8
"""As many places of a known host weigh as much as one of a stranger. However many strangers come, they contend for
places with each other; yet a few known hosts that break cannot keep all strangers out, a new modality among them."""

MOST_KNOWN = 4096
"""Hosts that are known at one time: who came longest ago is a stranger again."""


class Visitor(Protocol):
    """A connection."""

    host: str

    def evict(self, error: str) -> None:
        """End it at once."""


class Door:
    """The door of one listener."""

    def __init__(self, refusals: Refusals, clock: Callable[[], float]) -> None:
        """A door at which nobody stands.

        Args:
            refusals: to tell of connections that were refused.
            clock: seconds that only go forward.
        """
        self._associations: Counter[str] = Counter()
        """Open ones by host."""
        self._refusals = refusals
        self._clock = clock
        self._offences = Offences()
        self._standing: dict[str, dict[Visitor, bool]] = {}
        """By host, who came first stands first; whether it is leaving."""
        self._count = 0
        self._known: OrderedDict[str, None] = OrderedDict()
        """Hosts that the configuration names, or that had an association; who came last stands last."""

    def judge(self, host: str, listener: Listener) -> str | None:
        """Why ``host`` may not come in; None: there is a place for it, made if need be."""
        if not may_connect(host, listener):
            return "no row of `allow` admits this address"
        if self._offences.shut_out(host, self._clock()) and not self._associations[host]:
            return "shut out for some seconds: it broke the protocol, or asked for no association, again and again"
        if is_named(host, listener):
            self._know(host)
        own = self._standing.get(host, {})
        if len(own) >= listener.max_associations_per_host + UNASSOCIATED_OF_A_HOST:
            leaving = next((visitor for visitor, leaves in own.items() if leaves), None)
            if leaving is None:
                return "too many connections without an association are open from this host"
            self._evict(leaving)
        elif self._count >= UNASSOCIATED:
            crowd = max(self._standing, key=self._weight)
            if self._weight(crowd) < self._weight(host, more=1):
                return "too many connections without an association are open"
            self._evict(next(iter(self._standing[crowd])))
        return None

    def _weight(self, host: str, *, more: int = 0) -> int:
        """Of the places that a host has, and ``more``; the heaviest makes room."""
        return (len(self._standing.get(host, ())) + more) * (1 if host in self._known else STRANGER)

    def _know(self, host: str) -> None:
        self._known[host] = None
        self._known.move_to_end(host)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _evict(self, visitor: Visitor) -> None:
        self.left(visitor)
        visitor.evict("too many connections without an association are open: another one has its place")

    def entered(self, visitor: Visitor, *, leaving: bool = False) -> None:
        """It has no association, not yet or (``leaving``) not any more."""
        self._standing.setdefault(visitor.host, {})[visitor] = leaving
        self._count += 1

    def left(self, visitor: Visitor) -> None:
        """It is gone, or it has an association; who left already may leave again."""
        standing = self._standing.get(visitor.host, {})
        if visitor in standing:
            del standing[visitor]
            self._count -= 1
            if not standing:
                del self._standing[visitor.host]

    def announced(
        self, host: str, listener: Listener, *, calling: str, called: str, certificate_names: Collection[str]
    ) -> Rejection | None:
        """``host`` asks for an association; None: it may have it, which counts from here on, until it is ``over``.

        Between this verdict and the answer to the peer others are judged.
        """
        verdict = admit_association(
            calling=calling,
            called=called,
            host=host,
            listener=listener,
            associations=self._associations.total(),
            associations_of_host=self._associations[host],
            certificate_names=certificate_names,
        )
        if isinstance(verdict, Rejection):
            return verdict
        self._associations[host] += 1
        return None

    def over(self, visitor: Visitor, *, associated: bool) -> None:
        """What was ``announced`` has ended; until the connection is closed it takes a place again."""
        self._associations[visitor.host] -= 1
        if not self._associations[visitor.host]:
            del self._associations[visitor.host]
        if associated:
            self.entered(visitor, leaving=True)

    def associated(self, visitor: Visitor) -> None:
        """It has an association: its host is known, and whatever it did before is forgiven."""
        self.left(visitor)
        self._know(visitor.host)
        self._offences.forgive(visitor.host)

    def refused(self, host: str, error: str, *, offence: bool = False) -> None:
        """A connection ended without an association.

        Args:
            host: whose it was.
            error: why, in one sentence.
            offence: the host broke the protocol, or let its deadline pass.
        """
        self._refusals.publish(host, error)
        if offence and not self._associations[host]:
            self._offences.charge(host, self._clock())
