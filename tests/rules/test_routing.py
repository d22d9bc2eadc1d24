"""Which destinations an instance must reach, why, and what the queue is told."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.delivery import Order, Priority, State, Terms
from router.model.destination import Destination, Duplicates
from router.model.instance import Envelope, Identity
from router.model.outcome import Cause
from router.rules.conditions import AllOf, AnyOf, Between, Condition, Like, Matches, Not, PeerWithin, Subject
from router.rules.routing import (
    LOOP_LIMIT,
    NOT_AUTHORISED,
    Decision,
    Refusal,
    Route,
    Routes,
    Target,
    Unrouted,
    everything_to,
    orders,
    route,
)

pytestmark = pytest.mark.unit

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENVELOPE = Envelope("CT1", "ROUTER", "10.1.2.3", 50000, "A1", datetime(2026, 1, 31, tzinfo=UTC))
IDENTITY = Identity(CT_IMAGE, "2.25.1", "1.2.840.10008.1.2.1")
ATTRIBUTES = {
    "Modality": ("CT",),
    "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
    "InstanceNumber": ("7",),
    "SliceThickness": ("1.250",),
    "StudyDate": ("20260131",),
    "PatientID": ("SECRET-4711",),
    "StationName": ("[ROOM] 1",),
}
SUBJECT = Subject(ENVELOPE, IDENTITY, ATTRIBUTES)
ALWAYS = AllOf(())


def to(*names: str) -> tuple[Target, ...]:
    """Targets of one destination each."""
    return tuple(Target((name,)) for name in names)


def holds(condition: Condition, subject: Subject = SUBJECT) -> bool:
    """Whether a route with this condition alone matches."""
    return bool(route(subject, [Route("only", condition, to("PACS"))]).targets)


def like(subject: str, *patterns: str) -> Matches:
    """A condition on text."""
    return Matches(subject, tuple(map(Like, patterns)))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (like("Modality", "CT"), True),
        (like("Modality", "ct"), False),
        (like("Modality", "MR", "CT"), True),
        (like("Modality", "MR", "US"), False),
        (like("Modality", "C?"), True),
        (like("Modality", "?"), False),
        (like("PatientID", "SECRET*"), True),
        (like("PatientID", "*"), True),
        (like("PatientID", "*-47*"), True),
        (like("StationName", "[ROOM] ?"), True),
        (like("StationName", "[RO]*"), False),
        (like("ImageType", "PRIMARY"), True),
        (like("ImageType", "SECONDARY"), False),
        (like("calling_ae_title", "CT*"), True),
        (like("called_ae_title", "CT*"), False),
        (like("called_ae_title", "ROUTER"), True),
        (like("SOPClassUID", CT_IMAGE), True),
        (like("SOPInstanceUID", "2.25.*"), True),
        (like("TransferSyntaxUID", "1.2.840.10008.1.2"), False),
        (like("BodyPartExamined", "*"), False),
        (Matches("Modality", ()), False),
        (Not(like("BodyPartExamined", "HEAD")), True),
        (Not(like("Modality", "CT")), False),
        (Not(like("ImageType", "AXIAL")), False),
        (AllOf((like("Modality", "CT"), like("ImageType", "AXIAL"))), True),
        (AllOf((like("Modality", "CT"), like("ImageType", "LOCALIZER"))), False),
        (AnyOf((like("Modality", "MR"), like("ImageType", "AXIAL"))), True),
        (AnyOf((like("Modality", "MR"), like("ImageType", "LOCALIZER"))), False),
        (AnyOf(()), False),
        (ALWAYS, True),
        (PeerWithin((ip_network("10.1.0.0/16"),)), True),
        (PeerWithin((ip_network("10.2.0.0/16"), ip_network("::/0"))), False),
        (PeerWithin((ip_network("10.1.2.3"),)), True),
    ],
)
def test_condition(condition: Condition, expected: bool) -> None:  # noqa: FBT001
    """Equality, lists, wildcards, `not`, `any`, `all` and networks, on the association and on attributes."""
    assert holds(condition) is expected


@pytest.mark.parametrize(
    ("keyword", "low", "high", "expected"),
    [
        ("InstanceNumber", 1, 7, True),
        ("InstanceNumber", 7, None, True),
        ("InstanceNumber", 8, None, False),
        ("InstanceNumber", None, 6.9, False),
        ("SliceThickness", 1.25, 1.25, True),
        ("StudyDate", 20260101, 20261231, True),
        ("StudyDate", 20260201, None, False),
        ("Modality", 0, 9, False),
        ("Rows", 0, 9, False),
    ],
)
def test_range(keyword: str, low: float | None, high: float | None, expected: bool) -> None:  # noqa: FBT001
    """Numbers compare as numbers and dates as dates, both ends included; either end may be missing."""
    assert holds(Matches(keyword, (Between(low, high),))) is expected


@pytest.mark.parametrize("value", ["nan", "inf", "1_0", "", " ", "1e", "٣", "1" * 33, "0x1", "1 2"])
def test_what_is_no_number_is_in_no_range(value: str) -> None:
    """A value that is no DS, IS or DA matches no range, however Python would read it."""
    subject = Subject(ENVELOPE, IDENTITY, {"Rows": (value,)})
    assert not holds(Matches("Rows", (Between(None, 1e300),)), subject)
    assert not holds(Matches("Rows", (Between(-1e300, None),)), subject)


@given(st.text(max_size=200), st.text(alphabet="*?[]!-ab\\", max_size=12))
def test_a_literal_matches_only_itself(value: str, pattern: str) -> None:
    """Without wildcards a pattern is what it says; `*` and `?` are the only wildcards; nothing from a peer fails."""
    subject = Subject(ENVELOPE, IDENTITY, {"Modality": (value,)})
    matched = holds(like("Modality", pattern), subject)
    if not set(pattern) & {"*", "?"}:
        assert matched is (value == pattern)
    assert holds(like("Modality", pattern.replace("?", "x").replace("*", "x")), subject) is (
        value == pattern.replace("?", "x").replace("*", "x")
    )


def test_peer_mapped_into_ipv6_is_its_ipv4_address() -> None:
    """A listener on :: sees IPv4 peers as ::ffff:…; a network in IPv4 still means them."""
    envelope = Envelope("CT1", "ROUTER", "::ffff:10.1.2.3", 1, "A1", ENVELOPE.received_at)
    assert holds(PeerWithin((ip_network("10.1.0.0/16"),)), Subject(envelope, IDENTITY, {}))


def test_peer_that_is_no_address_is_in_no_network() -> None:
    """A peer on a transport without addresses is in no network."""
    envelope = Envelope("CT1", "ROUTER", "memory", 1, "A1", ENVELOPE.received_at)
    assert not holds(PeerWithin((ip_network("0.0.0.0/0"), ip_network("::/0"))), Subject(envelope, IDENTITY, {}))


def test_matching_routes_add_their_destinations_in_order_once() -> None:
    """Every route that matches adds its destinations; none is named twice."""
    routes = Routes(
        (
            Route("ct", like("Modality", "CT"), to("B", "A")),
            Route("mr", like("Modality", "MR"), to("C")),
            Route("all", ALWAYS, to("A", "D")),
        )
    )
    assert route(SUBJECT, routes).targets == dict.fromkeys(to("B", "A", "D"), Priority.NORMAL)


def test_stop_ends_the_search_only_when_it_matches() -> None:
    """`stop` of a route that matches ends the search, and the routes behind say so."""
    routes = [
        Route("mr", like("Modality", "MR"), to("A"), stop=True),
        Route("ct", like("Modality", "CT"), to("B"), stop=True),
        Route("all", ALWAYS, to("C")),
    ]
    decision = route(SUBJECT, routes)
    assert decision.targets == dict.fromkeys(to("B"), Priority.NORMAL)
    assert [finding.matched for finding in decision.findings] == [False, True, False]
    assert decision.findings[2].words == "not asked: route 'ct' ended the search"


@pytest.mark.parametrize(
    ("condition", "words", "detail"),
    [
        (ALWAYS, "no condition", "no condition"),
        (like("Modality", "CT"), "Modality matches", "Modality: wanted CT, found CT"),
        (like("Modality", "MR", "US"), "Modality does not match", "Modality: wanted MR or US, found CT"),
        (like("BodyPartExamined", "*"), "BodyPartExamined is absent", "BodyPartExamined: wanted *, absent"),
        (
            AllOf((like("Modality", "MR"), like("PatientID", "X"), like("ImageType", "AXIAL"))),
            "Modality does not match and PatientID does not match",
            "Modality: wanted MR, found CT and PatientID: wanted X, found SECRET-4711",
        ),
        (
            AnyOf((like("Modality", "MR"), like("ImageType", "AXIAL"))),
            "ImageType matches",
            "ImageType: wanted AXIAL, found ORIGINAL \\ PRIMARY \\ AXIAL",
        ),
        (Not(like("Modality", "CT")), "under not: Modality matches", "under not: Modality: wanted CT, found CT"),
        (
            Matches("InstanceNumber", (Between(8, None), Between(None, 2.5), Between(20260101, 20261231))),
            "InstanceNumber does not match",
            "InstanceNumber: wanted from 8 or to 2.5 or from 20260101 to 20261231, found 7",
        ),
        (
            PeerWithin((ip_network("10.2.0.0/16"), ip_network("192.0.2.1"))),
            "peer does not match",
            "peer: wanted 10.2.0.0/16 or 192.0.2.1/32, found 10.1.2.3",
        ),
    ],
)
def test_finding_says_which_condition_decided(condition: Condition, words: str, detail: str) -> None:
    """The words name the conditions that decided; the detail also shows what was wanted and found."""
    (finding,) = route(SUBJECT, [Route("r", condition, to("A"))]).findings
    assert (finding.route, finding.words, finding.detail) == ("r", words, detail)


def test_words_hold_no_values() -> None:
    """What may be logged names attributes, never what they hold, whether it matched or not."""
    conditions: list[Condition] = [
        like("PatientID", "SECRET*"),
        Not(like("PatientID", "SECRET*")),
        AnyOf((like("PatientID", "X"),)),
    ]
    for condition in conditions:
        (finding,) = route(SUBJECT, [Route("r", condition, to("A"))]).findings
        assert "SECRET" not in finding.words
        assert "SECRET-4711" in finding.detail


def test_finding_shows_a_few_of_many_values() -> None:
    """A peer may send thousands of values; an explanation stays short."""
    subject = Subject(ENVELOPE, IDENTITY, {"ImageType": ("X",) * 64_000})
    (finding,) = route(subject, [Route("r", like("ImageType", "Y"), to("A"))]).findings
    assert len(finding.detail) < 100
    assert finding.detail.endswith("…")


def test_keywords_are_what_has_to_be_read() -> None:
    """The receiver reads what the routes ask about, less what the association and the C-STORE-RQ say anyway."""
    routes = Routes(
        (
            Route(
                "a", AllOf((like("Modality", "CT"), like("calling_ae_title", "X"), like("SOPClassUID", "1"))), to("A")
            ),
            Route("b", Not(AnyOf((like("StudyDate", "1"), PeerWithin(()), like("called_ae_title", "X")))), to("A")),
        )
    )
    assert routes.keywords == {"Modality", "StudyDate"}
    assert Routes().keywords == frozenset()


def test_everything_goes_to_the_only_destination() -> None:
    """A configuration without routes and with one destination sends everything there."""
    assert route(SUBJECT, everything_to("PACS")).targets == dict.fromkeys(to("PACS"), Priority.NORMAL)


PACS = Destination("PACS", "PACS_SCP", "192.0.2.10", 104)
MIRROR = Destination("MIRROR", "CT1", "10.1.2.3", 104)


def ordered(
    *names: str,
    destinations: tuple[Destination, ...] = (PACS, MIRROR),
    unrouted: Unrouted = Unrouted.HOLD,
    envelope: Envelope = ENVELOPE,
    repeats: int = 0,
    addresses: dict[str, frozenset[str]] | None = None,
) -> tuple[Order, ...] | Refusal:
    """The orders for a decision that names these destinations."""
    return orders(
        Decision(dict.fromkeys(to(*names), Priority.NORMAL)),
        destinations={destination.name: destination for destination in destinations},
        unrouted=unrouted,
        envelope=envelope,
        repeats=repeats,
        addresses=addresses,
    )


def kinds(found: tuple[Order, ...] | Refusal) -> list[tuple[str, State, Cause | None]]:
    """The orders without their sentences."""
    assert not isinstance(found, Refusal)
    return [(order.destination, order.state, order.cause) for order in found]


def test_each_destination_is_owed_the_instance() -> None:
    """One order per destination, in the decision's order."""
    other = Destination("OTHER", "OTHER", "192.0.2.11", 104)
    assert ordered("OTHER", "PACS", destinations=(PACS, other)) == (Order("OTHER"), Order("PACS"))


def test_routes_agree_on_the_most_urgent_priority() -> None:
    """A destination that several routes name is owed the instance once, as urgently as the most urgent of them says."""
    routes = [
        Route("research", ALWAYS, to("A", "B"), priority=Priority.BULK),
        Route("stroke", ALWAYS, to("B"), priority=Priority.URGENT),
        Route("rest", ALWAYS, to("B", "A")),
    ]
    decision = route(SUBJECT, routes)
    assert decision.targets == dict(zip(to("A", "B"), (Priority.NORMAL, Priority.URGENT), strict=True))


BACKUP = Destination("BACKUP", "BACKUP", "192.0.2.12", 104)
EITHER = Target(("PACS", "BACKUP"), timedelta(minutes=10))


def owed_to(
    *targets: Target, in_trouble: frozenset[str] = frozenset(), chosen: dict[tuple[str, ...], str] | None = None
) -> list[Order]:
    """The orders for targets, all urgent but the first."""
    priorities = [Priority.NORMAL, *[Priority.URGENT] * len(targets)]
    found = orders(
        Decision(dict(zip(targets, priorities, strict=False))),
        destinations={each.name: each for each in (PACS, BACKUP)},
        unrouted=Unrouted.HOLD,
        envelope=ENVELOPE,
        chosen=chosen or {},
        in_trouble=in_trouble,
    )
    assert not isinstance(found, Refusal)
    return list(found)


@pytest.mark.parametrize(
    ("in_trouble", "chosen", "expected"),
    [
        ([], None, "PACS"),
        (["PACS"], None, "BACKUP"),
        (["PACS", "BACKUP"], None, "PACS"),
        ([], "BACKUP", "BACKUP"),
        (["BACKUP"], "BACKUP", "BACKUP"),
    ],
)
def test_first_that_works(in_trouble: list[str], chosen: str | None, expected: str) -> None:
    """Of several destinations the first that works is owed the instance, but a study stays together."""
    before = {} if chosen is None else {EITHER.first_of: chosen}
    (order,) = owed_to(EITHER, in_trouble=frozenset(in_trouble), chosen=before)
    assert order == Order(expected, terms=Terms(first_of=EITHER.first_of, failover_after=timedelta(minutes=10)))


def test_a_destination_is_owed_an_instance_once() -> None:
    """A target of several that chooses what another target names anyway adds nothing but its urgency."""
    assert [(order.destination, order.terms.priority) for order in owed_to(EITHER, *to("PACS"))] == [
        ("PACS", Priority.URGENT)
    ]
    (order,) = owed_to(*to("PACS"), Target(("PACS",), timedelta(minutes=1)))
    assert order.terms.priority is Priority.URGENT


def test_a_less_urgent_second_target_changes_nothing() -> None:
    """The most urgent of the targets that choose a destination counts, whichever comes first."""
    (order,) = owed_to(Target(("BACKUP", "OTHER")), EITHER, *to("BACKUP"), in_trouble=frozenset({"PACS"}))
    assert (order.destination, order.terms.priority) == ("BACKUP", Priority.URGENT)
    assert order.terms.first_of == EITHER.first_of


def test_the_sender_is_passed_over_where_there_is_another() -> None:
    """Of several destinations the very peer that sent it is not the first that works; alone it would be a loop."""
    found = orders(
        Decision({Target(("MIRROR", "PACS")): Priority.NORMAL}),
        destinations={each.name: each for each in (PACS, MIRROR)},
        unrouted=Unrouted.HOLD,
        envelope=ENVELOPE,
    )
    assert kinds(found) == [("PACS", State.QUEUED, None)]
    assert kinds(ordered("MIRROR")) == [("MIRROR", State.DROPPED, Cause.LOOP)]


def test_terms_are_those_of_route_and_destination() -> None:
    """What a destination asks for stands in every order for it, with the route's priority."""
    picky = Destination(
        "PACS",
        "PACS_SCP",
        "192.0.2.10",
        104,
        wait_for_quiet=timedelta(seconds=60),
        duplicates=Duplicates.ONCE,
        duplicate_window=timedelta(hours=2),
        quota=1000,
        best_effort=True,
    )
    found = orders(
        Decision({Target(("PACS",)): Priority.BULK}),
        destinations={"PACS": picky},
        unrouted=Unrouted.HOLD,
        envelope=ENVELOPE,
    )
    assert not isinstance(found, Refusal)
    (order,) = found
    assert order.terms == Terms(Priority.BULK, timedelta(seconds=60), timedelta(hours=2), quota=1000, best_effort=True)


def test_unrouted() -> None:
    """What no route takes is held, dropped and recorded, or refused with 0124H."""
    assert kinds(ordered()) == [("", State.HELD, Cause.NO_ROUTE)]
    assert kinds(ordered(unrouted=Unrouted.DISCARD)) == [("", State.DROPPED, Cause.NO_ROUTE)]
    refused = ordered(unrouted=Unrouted.REFUSE)
    assert isinstance(refused, Refusal)
    assert refused.status == NOT_AUTHORISED == 0x0124


def test_destination_that_is_not_configured_is_held() -> None:
    """A destination that vanished between the decision and now keeps its instance until the name returns."""
    assert kinds(ordered("GONE")) == [("GONE", State.HELD, Cause.NOT_CONFIGURED)]


def test_nothing_goes_back_to_where_it_came_from() -> None:
    """The very peer that sent an instance is skipped, with a record; the others are not."""
    assert kinds(ordered("MIRROR", "PACS")) == [
        ("MIRROR", State.DROPPED, Cause.LOOP),
        ("PACS", State.QUEUED, None),
    ]


@pytest.mark.parametrize(
    ("host", "addresses", "back"),
    [
        ("10.1.2.3", None, True),
        ("::ffff:10.1.2.3", None, True),
        ("10.1.2.4", None, False),
        ("ct1.example.org", None, False),
        ("ct1.example.org", {"ct1.example.org": frozenset({"10.9.9.9", "10.1.2.3"})}, True),
        ("ct1.example.org", {"ct1.example.org": frozenset({"10.9.9.9"})}, False),
    ],
)
def test_where_it_came_from_is_compared_by_address(
    host: str,
    addresses: dict[str, frozenset[str]] | None,
    back: bool,  # noqa: FBT001
) -> None:
    """Hosts are the same when their addresses are, resolved as far as the caller knows them."""
    destination = Destination("CT", "CT1", host, 104)
    ((_, _, cause),) = kinds(ordered("CT", destinations=(destination,), addresses=addresses))
    assert (cause is Cause.LOOP) is back


def test_hosts_without_addresses_are_compared_as_text() -> None:
    """Two names are the same host when they are the same name."""
    envelope = Envelope("CT1", "ROUTER", "ct1.Example.org", 1, "A1", ENVELOPE.received_at)
    destination = Destination("CT", "CT1", "CT1.example.org", 104)
    assert kinds(ordered("CT", destinations=(destination,), envelope=envelope)) == [("CT", State.DROPPED, Cause.LOOP)]


def test_another_application_on_the_same_host_is_another_peer() -> None:
    """A PACS may share its machine with the sender: the AE title counts too."""
    assert kinds(ordered("PACS", destinations=(Destination("PACS", "PACS_SCP", "10.1.2.3", 104),))) == [
        ("PACS", State.QUEUED, None)
    ]


def test_return_may_be_allowed() -> None:
    """`allow_return: true` sends an instance back to its sender."""
    destination = Destination("MIRROR", "CT1", "10.1.2.3", 104, allow_return=True)
    assert ordered("MIRROR", destinations=(destination,)) == (Order("MIRROR"),)


def test_the_same_instance_over_and_over_is_held() -> None:
    """Five times within an hour pass; the sixth is held for every destination, so that an operator can let it go on."""
    assert ordered("PACS", repeats=LOOP_LIMIT - 1) == (Order("PACS"),)
    assert kinds(ordered("PACS", repeats=LOOP_LIMIT)) == [("PACS", State.HELD, Cause.LOOP)]
