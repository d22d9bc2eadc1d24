"""What an answer means, whose fault a failure was, and how a delivery goes on (design: outcomes)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from router.model.delivery import Delivery, Settlement, Standing, State
from router.model.destination import BackOff, Destination, Ruling, StatusRule
from router.model.outcome import Answered, Cause, Deferred, Failed, Outcome, Refused, Scope, Stored

Chance = Callable[[], float]
"""A number in [0, 1): the jitter is an argument, so that a decision can be repeated."""

TRIES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
"""When a refused instance is tried again before it becomes a dead letter."""

PROBE_HELD_EVERY = timedelta(minutes=5)

STANDARD_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
"""Warnings outside of Bxxx (PS3.7 Annex C)."""

DUPLICATE_SOP_INSTANCE = 0x0111


@dataclass(frozen=True, slots=True)
class _Row:
    """What a range of status codes means."""

    first: int
    last: int
    outcome: Callable[[int], Outcome]


def _stored(status: int) -> Outcome:
    return Stored(status)


def _another_syntax(cause: Cause, sentence: str) -> Callable[[int], Outcome]:
    return lambda status: Refused(cause, f"{sentence} ({status:04X}H)", status, tries=len(TRIES), next_strategy=True)


def _final(cause: Cause, sentence: str) -> Callable[[int], Outcome]:
    return lambda status: Refused(cause, f"{sentence} ({status:04X}H)", status)


def _busy(sentence: str) -> Callable[[int], Outcome]:
    return lambda status: Deferred(Scope.UNDECIDED, Cause.OUT_OF_RESOURCES, f"{sentence} ({status:04X}H)", status)


def _not_authorised(status: int) -> Outcome:
    return Deferred(
        Scope.UNDECIDED, Cause.NOT_AUTHORISED, f"The peer does not authorise us to store ({status:04X}H)", status
    )


STATUS_TABLE = (
    _Row(0x0000, 0x0000, _stored),
    _Row(0xB000, 0xBFFF, _stored),
    _Row(0xA700, 0xA7FF, _busy("The peer is out of resources")),
    _Row(0xA800, 0xA8FF, _final(Cause.SOP_CLASS_NOT_SUPPORTED, "The peer does not support the SOP class")),
    _Row(0xA900, 0xA9FF, _another_syntax(Cause.CANNOT_UNDERSTAND, "The peer says that data set and SOP class differ")),
    _Row(0xC000, 0xCFFF, _another_syntax(Cause.CANNOT_UNDERSTAND, "The peer cannot understand the object")),
    _Row(0x0110, 0x0110, _busy("The peer failed to process the object")),
    _Row(0x0117, 0x0117, _final(Cause.REFUSED, "The peer calls the SOP instance invalid")),
    _Row(0x0122, 0x0122, _final(Cause.SOP_CLASS_NOT_SUPPORTED, "The peer does not support the SOP class")),
    _Row(0x0124, 0x0124, _not_authorised),
    _Row(0x0211, 0x0212, _final(Cause.REFUSED, "The peer does not take the operation")),
    _Row(0x0213, 0x0213, _busy("The peer has reached a limit of its resources")),
)
"""C-STORE status → outcome (PS3.4 Table B.2-1, PS3.7 Annex C, and what is seen in the field)."""


def outcome_of_answer(
    answer: Answered, *, uncertain: bool, duplicate_is_delivered: bool, rules: Sequence[StatusRule] = ()
) -> Outcome:
    """What a C-STORE-RSP means for the instance.

    Args:
        answer: the peer's.
        uncertain: an earlier attempt ended without an answer, so the peer may have the instance.
        duplicate_is_delivered: the destination's configuration for status 0111H.
        rules: what the destination's configuration says of statuses.
    """
    usual = _usual_outcome(answer.status, uncertain=uncertain, duplicate_is_delivered=duplicate_is_delivered)
    for rule in rules:
        if rule.first <= answer.status <= rule.last:
            return _ruled(rule.then, answer.status, usual)
    return usual


def _ruled(ruling: Ruling, status: int, usual: Outcome) -> Outcome:
    """What a configuration makes of a status; cause and sentence stay those of the table."""
    cause, error = (
        (Cause.REFUSED, f"The peer answered {status:04X}H, which `statuses` calls a failure")
        if isinstance(usual, Stored)
        else (usual.cause, usual.error)
    )
    match ruling:
        case Ruling.STORED:
            return Stored(status)
        case Ruling.DEFER:
            return Deferred(Scope.UNDECIDED, cause, error, status)
        case Ruling.REFUSE:
            return Refused(cause, error, status, tries=len(TRIES))
        case Ruling.NEXT_STRATEGY:
            return Refused(cause, error, status, tries=len(TRIES), next_strategy=True)
        case Ruling.BURY:
            return Refused(cause, error, status)
        case _:
            assert_never(ruling)


def _usual_outcome(status: int, *, uncertain: bool, duplicate_is_delivered: bool) -> Outcome:
    if status in STANDARD_WARNINGS:
        return Stored(status)
    if status == DUPLICATE_SOP_INSTANCE:
        if uncertain or duplicate_is_delivered:
            return Stored(status, already_there=True)
        return Refused(Cause.REFUSED, "The peer has this SOP instance already (0111H)", status)
    for row in STATUS_TABLE:
        if row.first <= status <= row.last:
            return row.outcome(status)
    return Refused(
        Cause.UNKNOWN_STATUS, f"The peer answered an unknown status ({status:04X}H)", status, tries=len(TRIES)
    )


REFUSALS: Mapping[Cause, tuple[int, bool]] = {
    Cause.NO_CONTEXT: (len(TRIES), True),
    # Answered for a context, not for the instance: an administrator may enable the class meanwhile.
    Cause.SOP_CLASS_NOT_SUPPORTED: (len(TRIES), False),
    Cause.CANNOT_CONVERT: (0, True),
    # The worker died of it, as far as can be told: the machine may have been short of memory or of time.
    Cause.CONVERSION_DIED: (len(TRIES), True),
    Cause.PAYLOAD_DAMAGED: (0, False),
    Cause.PAYLOAD_MISSING: (0, False),
}
"""Failures that are the instance's own: how often it is tried again, and whether another strategy may help."""

DURING_STORE = frozenset({Cause.STORE_ABORTED, Cause.CONNECTION_LOST, Cause.RESPONSE_TIMEOUT, Cause.PROTOCOL_ERROR})
"""Whose fault it was, the next instance shows."""

SCOPES: Mapping[Cause, Scope] = {
    **dict.fromkeys(DURING_STORE, Scope.UNDECIDED),
    # Neither the peer nor the instance did anything wrong: it waits for this machine.
    Cause.LOCAL_TROUBLE: Scope.INSTANCE,
}
"""How far other failures reach, if not to the whole destination."""

SHOWN_BY_C_STORE = DURING_STORE | {
    Cause.OUT_OF_RESOURCES,
    Cause.NOT_AUTHORISED,
    Cause.CANNOT_UNDERSTAND,
    Cause.SOP_CLASS_NOT_SUPPORTED,
    Cause.REFUSED,
    Cause.UNKNOWN_STATUS,
    Cause.ASSOCIATION_ABORTED,
}
"""Troubles of a destination that only another C-STORE shows to be over: a C-ECHO succeeds meanwhile."""


HELD = frozenset({Cause.AE_TITLE_UNKNOWN, Cause.TLS_VERIFICATION})
"""Troubles of a destination that end when somebody changes a configuration, or a certificate."""


def outcome_of_failure(failure: Failed) -> Outcome:
    """What it means when there was no answer."""
    if failure.cause in REFUSALS:
        tries, next_strategy = REFUSALS[failure.cause]
        return Refused(failure.cause, failure.error, tries=tries, next_strategy=next_strategy)
    scope = SCOPES.get(failure.cause, Scope.DESTINATION)
    return Deferred(scope, failure.cause, failure.error, hold=failure.cause in HELD)


OUR_OWN = frozenset(
    {
        Cause.CANNOT_CONVERT,
        Cause.CONVERSION_DIED,
        Cause.PAYLOAD_DAMAGED,
        Cause.PAYLOAD_MISSING,
        Cause.LOCAL_TROUBLE,
    }
)
"""Failures that say nothing of the peer."""


def shows_it_works(outcome: Outcome) -> bool:
    """Whether a destination that was in trouble answers again, even if it does not take the instance."""
    match outcome:
        case Stored():
            return True
        case Refused(cause=cause):
            return cause not in OUR_OWN
        case Deferred(scope=scope, cause=cause):
            return scope is Scope.INSTANCE and cause not in OUR_OWN
        case _:
            assert_never(outcome)


def waiting_time(initial: timedelta, maximum: timedelta, failures: int, chance: Chance) -> timedelta:
    """``initial`` doubled for each failure after the first, at most ``maximum``, with full jitter.

    Full jitter spreads what failed together; a tenth of the time is always kept, so that nothing spins.
    """
    doubled = initial.total_seconds() * 2.0 ** min(max(failures - 1, 0), 32)
    ceiling = min(doubled, maximum.total_seconds())
    return timedelta(seconds=ceiling * (0.1 + 0.9 * chance()))


def settle(
    delivery: Delivery, outcome: Outcome, destination: Destination, *, blamed: bool, now: datetime, chance: Chance
) -> Settlement:
    """How a delivery goes on after an attempt that was its own.

    Args:
        delivery: as claimed.
        outcome: of the attempt.
        destination: for its times.
        blamed: a failure of undecided fault was this instance's, because another one was stored after it.
        now: the instant of the decision.
        chance: jitter.
    """
    match outcome:
        case Stored(status=status):
            return Settlement(delivery.id, State.DELIVERED, charged=True, status=status)
        case Refused(cause=cause, error=error, status=status, tries=tries):
            return _try_again(delivery, cause, error, status, tries, now)
        case Deferred(cause=cause, error=error, status=status):
            # A peer that answered "not now" is taken at its word, even if it stored another one after that.
            if blamed and cause in DURING_STORE:
                return _try_again(delivery, cause, error, status, len(TRIES), now)
            return _wait(delivery, cause, error, status, destination, now, chance)
        case _:
            assert_never(outcome)


def _try_again(  # noqa: PLR0917 -- private, called twice
    delivery: Delivery, cause: Cause, error: str, status: int | None, tries: int, now: datetime
) -> Settlement:
    if delivery.tries >= tries:
        return Settlement(delivery.id, State.DEAD, charged=True, tried=True, cause=cause, error=error, status=status)
    return Settlement(
        delivery.id,
        State.QUEUED,
        next_attempt_at=now + TRIES[delivery.tries],
        charged=True,
        tried=True,
        uncertain=cause in DURING_STORE,
        cause=cause,
        error=error,
        status=status,
    )


def _wait(  # noqa: PLR0917 -- private, called once
    delivery: Delivery,
    cause: Cause,
    error: str,
    status: int | None,
    destination: Destination,
    now: datetime,
    chance: Chance,
) -> Settlement:
    retry = destination.retry
    if delivery.worked >= retry.give_up_after:
        sentence = f"Not delivered within {retry.give_up_after}; last: {error}"
        return Settlement(
            delivery.id, State.DEAD, charged=True, cause=Cause.LIFETIME_ENDED, error=sentence, status=status
        )
    return Settlement(
        delivery.id,
        State.QUEUED,
        next_attempt_at=now + waiting_time(retry.initial, retry.maximum, delivery.attempts + 1, chance),
        charged=True,
        uncertain=cause in DURING_STORE,
        cause=cause,
        error=error,
        status=status,
    )


def trouble(standing: Standing, outcome: Deferred, back_off: BackOff, *, now: datetime, chance: Chance) -> Standing:
    """How a destination stands after a failure that was its own."""
    failures = standing.failures + 1
    wait = PROBE_HELD_EVERY if outcome.hold else waiting_time(back_off.initial, back_off.maximum, failures, chance)
    return Standing(
        failures=failures,
        retry_at=now + wait,
        held=outcome.hold,
        cause=outcome.cause,
        error=outcome.error,
        since=standing.since or now,
    )
