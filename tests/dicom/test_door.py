"""Who comes in: nobody is locked out by somebody else."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from router.dicom.door import MOST_KNOWN, STRANGER, UNASSOCIATED, UNASSOCIATED_OF_A_HOST, Door
from router.dicom.refusals import Refusals
from router.journal import Journal
from router.rules.acceptance import Allowed, Listener, Rejection
from router.rules.offences import FREE
from tests.dicom.peers import Diary

pytestmark = pytest.mark.unit

LISTENER = Listener(allow_any=True, max_associations_per_host=8)
OF_A_HOST = 8 + UNASSOCIATED_OF_A_HOST


class Somebody:
    """A connection that notes why it was ended."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.evicted = ""

    def evict(self, error: str) -> None:
        """Note it."""
        self.evicted = error


class Doorway:
    """A door, its clock, and its diary."""

    def __init__(self) -> None:
        self.now = 0.0
        self.diary = Diary()
        self.door = Door(Refusals(Journal(self.diary)), lambda: self.now)

    def comes(self, host: str, listener: Listener = LISTENER) -> Somebody | str:
        """Somebody who is let in, or why not."""
        if (error := self.door.judge(host, listener)) is not None:
            return error
        self.door.entered(visitor := Somebody(host))
        return visitor

    def announces(self, somebody: Somebody, listener: Listener = LISTENER) -> Rejection | None:
        """Why somebody may not have an association; None: it has one."""
        return self.door.announced(somebody.host, listener, calling="CT1", called="ROUTER", certificate_names=())

    def fill(self, host: str, count: int) -> list[Somebody]:
        """So many who are let in."""
        return [each for each in (self.comes(host) for _ in range(count)) if isinstance(each, Somebody)]


def test_network_is_judged_first() -> None:
    """Whom no row of `allow` admits, whatever it may call itself, does not come in; rows without hosts admit all."""
    way = Doorway()
    rules = Listener(allow=(Allowed("CT1", (ip_network("10.1.0.0/16"),)),))
    assert "allow" in str(way.comes("10.2.0.1", rules))
    assert isinstance(way.comes("10.1.0.1", rules), Somebody)
    assert isinstance(way.comes("10.2.0.1", Listener(allow=(*rules.allow, Allowed("MR1")))), Somebody)
    assert "allow" in str(way.comes("10.2.0.1", Listener()))


def test_host_has_a_limit_of_its_own() -> None:
    """Who has all its places is told so; others come in. One that leaves makes room."""
    way = Doorway()
    inside = way.fill("a", OF_A_HOST)
    assert len(inside) == OF_A_HOST
    assert "from this host" in str(way.comes("a"))
    assert isinstance(way.comes("b"), Somebody)
    way.door.left(inside[0])
    way.door.left(inside[0])
    assert isinstance(way.comes("a"), Somebody)
    assert "from this host" in str(way.comes("a"))
    way.door.associated(inside[1])
    assert isinstance(way.comes("a"), Somebody)
    assert not any(each.evicted for each in inside)


def test_fullest_host_makes_room_for_another() -> None:
    """Its oldest connection goes; a host with as many as the fullest gets no more."""
    way = Doorway()
    hosts = [way.fill(f"host {number}", UNASSOCIATED // 5) for number in range(4)]
    greedy = way.fill("greedy", UNASSOCIATED - sum(map(len, hosts)))
    assert len(greedy) > len(hosts[0])
    assert isinstance(way.comes("modality"), Somebody)
    assert [bool(each.evicted) for each in greedy] == [True] + [False] * (len(greedy) - 1)
    assert not any(each.evicted for host in hosts for each in host)
    while len(greedy) > UNASSOCIATED // 5 + 1:
        way.door.left(greedy.pop())
        assert isinstance(way.comes("modality"), Somebody)
    assert way.door._count == UNASSOCIATED


def test_who_has_most_already_gets_no_more() -> None:
    """When all places are taken, and nobody has more than it has itself."""
    way = Doorway()
    for number in range(UNASSOCIATED // OF_A_HOST):
        way.fill(f"host {number}", OF_A_HOST)
    patient = Listener(allow_any=True, max_associations_per_host=100)
    assert way.comes("host 0", patient) == "too many connections without an association are open"
    assert isinstance(way.comes("other"), Somebody)


def in_mid_handshake(way: Doorway, host: str, listener: Listener = LISTENER) -> Somebody:
    """Somebody who has not said yet who it is."""
    visitor = way.comes(host, listener)
    assert isinstance(visitor, Somebody)
    return visitor


def siege(way: Doorway, hosts: int = 10 * UNASSOCIATED, listener: Listener = LISTENER) -> None:
    """By many hosts, none of which ever had an association; each comes once."""
    for number in range(hosts):
        assert isinstance(way.comes(f"attacker {number}", listener), Somebody)


def test_more_attackers_than_places_do_not_evict_whom_the_configuration_names() -> None:
    """A modality in its handshake stays, and another one comes in; strangers make room for each other."""
    way = Doorway()
    rules = Listener(allow=(Allowed("CT1", (ip_network("10.0.0.1/32"), ip_network("10.0.0.2/32"))), Allowed("MR1")))
    modality = in_mid_handshake(way, "10.0.0.1", rules)
    siege(way, listener=rules)
    other = in_mid_handshake(way, "10.0.0.2", rules)
    siege(way, listener=rules)
    assert not modality.evicted
    assert not other.evicted
    assert way.door._count == UNASSOCIATED


def test_more_attackers_than_places_do_not_evict_who_had_an_association() -> None:
    """Also if anybody may connect; a stranger's handshake can be cut short, and it may come again."""
    way = Doorway()
    way.door.associated(in_mid_handshake(way, "modality"))
    again, stranger = in_mid_handshake(way, "modality"), in_mid_handshake(way, "stranger")
    siege(way)
    assert not again.evicted
    assert stranger.evicted
    assert isinstance(way.comes("stranger"), Somebody)


def test_known_hosts_keep_no_stranger_out() -> None:
    """One that has many places without an association makes room for a stranger; one that has few does not."""
    way = Doorway()
    hosts = UNASSOCIATED // (STRANGER - 1)
    known = [f"known {number}" for number in range(hosts)]
    for host in known:
        way.door.associated(in_mid_handshake(way, host))
    for host in known:
        way.fill(host, STRANGER - 1)
    greedy = way.fill(known[0], UNASSOCIATED - way.door._count)
    assert isinstance(way.comes("stranger"), Somebody)
    assert isinstance(way.comes("another stranger"), Somebody), "the first stranger makes room"
    assert len(greedy) == 1
    way.door.associated(in_mid_handshake(way, "one more known"))
    way.fill("one more known", UNASSOCIATED - way.door._count)
    assert way.comes("stranger") == "too many connections without an association are open"


def test_hosts_that_are_known_are_bounded() -> None:
    """Who came longest ago is a stranger again; who comes often is not."""
    way = Doorway()
    for number in range(MOST_KNOWN):
        way.door.associated(Somebody(f"host {number}"))
    way.door.associated(Somebody("host 0"))
    way.door.associated(Somebody("one more"))
    assert len(way.door._known) == MOST_KNOWN
    first, second = in_mid_handshake(way, "host 0"), in_mid_handshake(way, "host 1")
    siege(way)
    assert not first.evicted
    assert second.evicted


def test_who_has_released_gives_its_place_to_its_own_host() -> None:
    """Connections that linger after their release do not keep their host from associating again."""
    way = Doorway()
    leaving = []
    for _ in range(OF_A_HOST):
        visitor = Somebody("a")
        way.door.entered(visitor, leaving=True)
        leaving.append(visitor)
    assert isinstance(way.comes("a"), Somebody)
    assert [bool(each.evicted) for each in leaving] == [True] + [False] * (OF_A_HOST - 1)


def offend(way: Doorway, host: str, times: int = FREE + 1) -> None:
    """Break the protocol."""
    for _ in range(times):
        way.door.refused(host, "it broke the protocol", offence=True)


def test_offender_is_shut_out_for_a_while() -> None:
    """Nobody else is; afterwards it may try again."""
    way = Doorway()
    offend(way, "a", FREE)
    assert isinstance(way.comes("a"), Somebody)
    offend(way, "a", 1)
    assert "shut out" in str(way.comes("a"))
    assert isinstance(way.comes("b"), Somebody)
    way.now += 1.0
    assert isinstance(way.comes("a"), Somebody)


def test_refusals_alone_are_no_offence() -> None:
    """A port scan that closes at once, or too many connections, shut nobody out."""
    way = Doorway()
    for _ in range(100):
        way.door.refused("a", "why")
    assert isinstance(way.comes("a"), Somebody)


def test_association_counts_from_the_verdict_on() -> None:
    """Before its answer has left, others are judged: neither all places nor those of a host are given twice."""
    way = Doorway()
    rules = replace(LISTENER, max_associations=2, max_associations_per_host=1)
    first, second, third = Somebody("a"), Somebody("b"), Somebody("c")
    assert way.announces(first, rules) is None
    assert "the limit of one host" in str(way.announces(Somebody("a"), rules))
    assert way.announces(second, rules) is None
    assert "the limit of this listener" in str(way.announces(third, rules))
    way.door.over(first, associated=False)
    assert way.announces(third, rules) is None
    assert not way.door._standing, "who never had an association takes no second place"
    way.door.over(second, associated=True)
    assert way.door._standing == {"b": {second: True}}


def test_host_with_an_association_is_not_shut_out() -> None:
    """Neither by what it did before, nor by what it does meanwhile."""
    way = Doorway()
    offend(way, "a")
    other = Somebody("a")
    assert way.announces(other) is None
    assert isinstance(way.comes("a"), Somebody)
    offend(way, "b")
    way.door.over(other, associated=False)
    assert "shut out" in str(way.comes("a"))
    visitor = Somebody("a")
    way.door.associated(visitor)
    assert isinstance(way.comes("a"), Somebody)
    assert way.announces(visitor) is None
    offend(way, "a", 50)
    way.door.over(visitor, associated=True)
    assert isinstance(way.comes("a"), Somebody)
