"""What an answer means, whose fault a failure was, and how a delivery goes on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.delivery import Delivery, Priority, Settlement, Standing, State
from router.model.destination import BackOff, Destination, Retry, Ruling, StatusRule
from router.model.instance import Envelope, Identity
from router.model.outcome import Answered, Cause, Deferred, Failed, Outcome, Refused, Scope, Stored
from router.rules.retry import (
    PROBE_HELD_EVERY,
    TRIES,
    outcome_of_answer,
    outcome_of_failure,
    settle,
    shows_it_works,
    trouble,
    waiting_time,
)

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PACS = Destination("PACS", "PACS", "127.0.0.1", 104, retry=Retry(timedelta(seconds=8), timedelta(minutes=4)))
DELIVERY = Delivery(
    7,
    "01K",
    "PACS",
    "objects/a.dcm",
    Envelope("CT1", "ROUTER", "10.0.0.1", 1, "A", NOW),
    Identity("1.2", "1.2.3", "1.2.840.10008.1.2"),
    size=1,
    header_size=0,
    digest="",
    study="",
    series="",
    priority=Priority.NORMAL,
    strategy=None,
    attempts=0,
    tries=0,
    uncertain=False,
    worked=timedelta(0),
)


def answered(status: int, *, uncertain: bool = False, duplicate: bool = False) -> Outcome:
    """What a status means."""
    return outcome_of_answer(Answered(status), uncertain=uncertain, duplicate_is_delivered=duplicate)


def _expected(  # noqa: PLR0911 -- one for each row
    status: int,
) -> tuple[type[Outcome], Cause | None, int, bool]:
    """The table of the design: outcome, cause, tries, next strategy."""
    if status in {0x0000, 0x0001, 0x0107, 0x0116} or status >> 12 == 0xB:
        return Stored, None, 0, False
    if status >> 8 == 0xA7 or status in {0x0110, 0x0213}:
        return Deferred, Cause.OUT_OF_RESOURCES, 0, False
    if status == 0x0124:
        return Deferred, Cause.NOT_AUTHORISED, 0, False
    if status >> 8 == 0xA9 or status >> 12 == 0xC:
        return Refused, Cause.CANNOT_UNDERSTAND, 3, True
    if status >> 8 == 0xA8 or status == 0x0122:
        return Refused, Cause.SOP_CLASS_NOT_SUPPORTED, 0, False
    if status in {0x0111, 0x0117, 0x0211, 0x0212}:
        return Refused, Cause.REFUSED, 0, False
    return Refused, Cause.UNKNOWN_STATUS, 3, False


def test_every_status_there_is() -> None:
    """0000H to FFFFH, one by one."""
    for status in range(0x10000):
        outcome = answered(status)
        kind, cause, tries, next_strategy = _expected(status)
        assert isinstance(outcome, kind), f"{status:04X}"
        assert outcome.status == status
        match outcome:
            case Stored():
                assert not outcome.already_there
            case Refused():
                assert (outcome.cause, outcome.tries, outcome.next_strategy) == (cause, tries, next_strategy)
                assert f"({status:04X}H)" in outcome.error
            case Deferred():
                assert (outcome.cause, outcome.scope, outcome.hold) == (cause, Scope.UNDECIDED, False)
                assert f"({status:04X}H)" in outcome.error


@pytest.mark.parametrize(("uncertain", "duplicate"), [(True, False), (False, True), (True, True)])
def test_duplicate_that_may_be_ours(*, uncertain: bool, duplicate: bool) -> None:
    """After an attempt of unknown outcome, or by configuration: stored, and recorded as already there."""
    assert answered(0x0111, uncertain=uncertain, duplicate=duplicate) == Stored(0x0111, already_there=True)


def test_error_comment_goes_nowhere() -> None:
    """It may carry patient data."""
    comment = "DOE^JOHN"
    for status in (0xA700, 0xC000, 0x0117, 0x0124, 0x0111, 0x1234):
        outcome = outcome_of_answer(Answered(status, comment), uncertain=False, duplicate_is_delivered=False)
        assert comment not in repr(outcome)


@pytest.mark.parametrize("cause", Cause)
def test_every_failure(cause: Cause) -> None:
    """During a C-STORE the next instance shows whose fault it is; before it, it is the destination's."""
    outcome = outcome_of_failure(Failed(cause, "why"))
    assert isinstance(outcome, Refused | Deferred)
    assert (outcome.cause, outcome.error, outcome.status) == (cause, "why", None)
    match cause:
        case Cause.NO_CONTEXT:
            assert outcome == Refused(cause, "why", tries=3, next_strategy=True)
        case Cause.SOP_CLASS_NOT_SUPPORTED:
            assert outcome == Refused(cause, "why", tries=3)
        case Cause.CANNOT_CONVERT:
            assert outcome == Refused(cause, "why", next_strategy=True)
        case Cause.CONVERSION_DIED:
            assert outcome == Refused(cause, "why", tries=3, next_strategy=True)
        case Cause.PAYLOAD_DAMAGED | Cause.PAYLOAD_MISSING:
            assert outcome == Refused(cause, "why")
        case Cause.LOCAL_TROUBLE:
            assert outcome == Deferred(Scope.INSTANCE, cause, "why")
        case Cause.STORE_ABORTED | Cause.CONNECTION_LOST | Cause.RESPONSE_TIMEOUT | Cause.PROTOCOL_ERROR:
            assert outcome == Deferred(Scope.UNDECIDED, cause, "why")
        case Cause.AE_TITLE_UNKNOWN | Cause.TLS_VERIFICATION:
            assert outcome == Deferred(Scope.DESTINATION, cause, "why", hold=True)
        case _:
            assert outcome == Deferred(Scope.DESTINATION, cause, "why")


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (Stored(0), True),
        (Refused(Cause.CANNOT_UNDERSTAND, "why", 0xC000), True),
        (Refused(Cause.NO_CONTEXT, "why"), True),
        (Refused(Cause.PAYLOAD_DAMAGED, "why"), False),
        (Deferred(Scope.INSTANCE, Cause.AE_TITLE_UNKNOWN, "why"), True),
        (Deferred(Scope.INSTANCE, Cause.LOCAL_TROUBLE, "why"), False),
        (Deferred(Scope.UNDECIDED, Cause.OUT_OF_RESOURCES, "why", 0xA700), False),
        (Deferred(Scope.DESTINATION, Cause.CONNECT_FAILED, "why"), False),
    ],
)
def test_what_shows_that_a_destination_works(outcome: Outcome, shown: bool) -> None:  # noqa: FBT001 -- a parameter
    """Whatever it answers to one instance; not what went wrong here, nor what is its own trouble."""
    assert shows_it_works(outcome) is shown


# Waiting


@given(
    initial=st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=400)),
    maximum=st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=400)),
    failures=st.integers(0, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_waiting_time_is_bounded(initial: timedelta, maximum: timedelta, failures: int, chance: float) -> None:
    """Never more than the maximum, never nothing, and jittered between a tenth and the whole."""
    waited = waiting_time(initial, maximum, failures, lambda: chance)
    assert timedelta(0) < waited <= maximum
    least = waiting_time(initial, maximum, failures, lambda: 0.0)
    assert least <= waited


def test_waiting_time_doubles() -> None:
    """From the initial to the maximum."""
    steps = [waiting_time(timedelta(seconds=5), timedelta(seconds=60), failures, lambda: 1.0) for failures in range(8)]
    assert [step.total_seconds() for step in steps] == [5, 5, 10, 20, 40, 60, 60, 60]
    assert waiting_time(timedelta(seconds=5), timedelta(seconds=60), 3, lambda: 0.5) == timedelta(seconds=11)


# Settlements


def settled(outcome: Outcome, *, blamed: bool = False, **changes: object) -> Settlement:
    """How the delivery goes on, without luck."""
    delivery = replace(DELIVERY, **changes)  # type: ignore[arg-type]  # changes are of the right kinds
    return settle(delivery, outcome, PACS, blamed=blamed, now=NOW, chance=lambda: 1.0)


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0x0111])
def test_stored_is_delivered(status: int) -> None:
    """And its status is kept."""
    assert settled(Stored(status)) == Settlement(7, State.DELIVERED, charged=True, status=status)


@pytest.mark.parametrize("tries", range(5))
def test_refused_is_tried_again_spaced(tries: int) -> None:
    """After 1 min, 10 min, 1 h; then it is a dead letter."""
    settlement = settled(Refused(Cause.CANNOT_UNDERSTAND, "why", 0xC000, tries=3), tries=tries)
    expected = Settlement(
        7, State.DEAD, charged=True, tried=True, cause=Cause.CANNOT_UNDERSTAND, error="why", status=0xC000
    )
    if tries < 3:
        expected = replace(expected, state=State.QUEUED, next_attempt_at=NOW + TRIES[tries])
    assert settlement == expected
    assert (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)) == TRIES


def test_refused_for_good_is_a_dead_letter_at_once() -> None:
    """Without tries."""
    settlement = settled(Refused(Cause.REFUSED, "why", 0x0117))
    assert (settlement.state, settlement.cause, settlement.next_attempt_at) == (State.DEAD, Cause.REFUSED, None)


@pytest.mark.parametrize("cause", Cause)
def test_only_a_lost_answer_is_uncertain(cause: Cause) -> None:
    """A peer may have what was sent to it without an answer, and nothing else: else a foreign duplicate would count."""
    during = {Cause.STORE_ABORTED, Cause.CONNECTION_LOST, Cause.RESPONSE_TIMEOUT, Cause.PROTOCOL_ERROR}
    for blamed in (False, True):
        assert settled(Deferred(Scope.UNDECIDED, cause, "why"), blamed=blamed).uncertain is (cause in during)
    assert not settled(Refused(Cause.NO_CONTEXT, "why", tries=3)).uncertain
    assert not settled(Deferred(Scope.UNDECIDED, Cause.OUT_OF_RESOURCES, "why", 0xA700)).uncertain


def test_deferred_waits_longer_each_time() -> None:
    """Its own back-off; not a try."""
    for attempts, seconds in enumerate((8, 16, 32, 64, 128, 240, 240)):
        settlement = settled(Deferred(Scope.UNDECIDED, Cause.OUT_OF_RESOURCES, "why", 0xA700), attempts=attempts)
        assert settlement == Settlement(
            7,
            State.QUEUED,
            next_attempt_at=NOW + timedelta(seconds=seconds),
            charged=True,
            cause=Cause.OUT_OF_RESOURCES,
            error="why",
            status=0xA700,
        )


@pytest.mark.parametrize("tries", range(4))
def test_blamed_uses_up_tries(tries: int) -> None:
    """A poison object becomes a dead letter."""
    settlement = settled(Deferred(Scope.UNDECIDED, Cause.STORE_ABORTED, "why"), blamed=True, tries=tries)
    assert settlement.tried
    assert settlement.state is (State.DEAD if tries == 3 else State.QUEUED)


def test_lifetime_ends_only_while_the_destination_works() -> None:
    """Counted in ``worked``, up to ``give_up_after``."""
    outcome = Deferred(Scope.UNDECIDED, Cause.STORE_ABORTED, "why")
    lifetime = PACS.retry.give_up_after
    assert settled(outcome, worked=lifetime - timedelta(seconds=1)).state is State.QUEUED
    dead = settled(outcome, worked=lifetime)
    assert (dead.state, dead.cause, dead.next_attempt_at, dead.tried) == (State.DEAD, Cause.LIFETIME_ENDED, None, False)
    assert "7 days" in dead.error
    assert "why" in dead.error


# Destinations


def test_trouble_backs_off() -> None:
    """Doubling, with the beginning of the trouble kept."""
    outcome = Deferred(Scope.DESTINATION, Cause.CONNECT_FAILED, "why")
    standing = Standing()
    for number, seconds in enumerate((5, 10, 20, 40, 60, 60)):
        now = NOW + timedelta(hours=number)
        standing = trouble(standing, outcome, BackOff(), now=now, chance=lambda: 1.0)
        assert standing == Standing(
            number + 1, now + timedelta(seconds=seconds), False, Cause.CONNECT_FAILED, "why", NOW
        )


def test_held_is_probed_slowly() -> None:
    """Every five minutes, however long."""
    outcome = Deferred(Scope.DESTINATION, Cause.AE_TITLE_UNKNOWN, "why", hold=True)
    standing = trouble(Standing(failures=9, since=NOW), outcome, BackOff(), now=NOW, chance=lambda: 0.0)
    assert standing == Standing(10, NOW + PROBE_HELD_EVERY, True, Cause.AE_TITLE_UNKNOWN, "why", NOW)
    assert timedelta(minutes=5) == PROBE_HELD_EVERY


@pytest.mark.parametrize(
    ("status", "then", "expected"),
    [
        (0xC123, Ruling.STORED, Stored(0xC123)),
        (
            0xC123,
            Ruling.DEFER,
            Deferred(Scope.UNDECIDED, Cause.CANNOT_UNDERSTAND, "The peer cannot understand the object (C123H)", 0xC123),
        ),
        (
            0xA700,
            Ruling.REFUSE,
            Refused(Cause.OUT_OF_RESOURCES, "The peer is out of resources (A700H)", 0xA700, tries=3),
        ),
        (
            0xA700,
            Ruling.NEXT_STRATEGY,
            Refused(
                Cause.OUT_OF_RESOURCES, "The peer is out of resources (A700H)", 0xA700, tries=3, next_strategy=True
            ),
        ),
        (0xA700, Ruling.BURY, Refused(Cause.OUT_OF_RESOURCES, "The peer is out of resources (A700H)", 0xA700)),
        (
            0xB000,
            Ruling.BURY,
            Refused(Cause.REFUSED, "The peer answered B000H, which `statuses` calls a failure", 0xB000),
        ),
    ],
)
def test_a_configuration_knows_its_pacs(status: int, then: Ruling, expected: Outcome) -> None:
    """What `statuses` says of a status stands before the table; cause and sentence stay those of the table."""
    rules = [StatusRule(0x0001, 0x0002, Ruling.STORED), StatusRule(status - 1, status + 1, then)]
    assert outcome_of_answer(Answered(status), uncertain=False, duplicate_is_delivered=False, rules=rules) == expected
    other = outcome_of_answer(Answered(0x0117), uncertain=False, duplicate_is_delivered=False, rules=rules)
    assert isinstance(other, Refused)
