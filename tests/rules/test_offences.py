"""Who is shut out, for how long, and that it is nobody else."""

import pytest

from router.rules.offences import FIRST, FORGOTTEN_AFTER, FREE, LONGEST, MOST_HOSTS, Offences

pytestmark = pytest.mark.unit


def offend(offences: Offences, host: str, now: float) -> float:
    """One offence; returns when the host may come in again."""
    offences.charge(host, now)
    waited = 0.0
    while offences.shut_out(host, now + waited):
        waited += FIRST / 4
    return now + waited


def test_some_are_free() -> None:
    """Somebody who has the wrong port is not shut out for it."""
    offences = Offences()
    assert not offences.shut_out("a", 0.0)
    assert [offend(offences, "a", float(number)) for number in range(FREE)] == [float(number) for number in range(FREE)]


def test_wait_doubles_up_to_a_longest_one() -> None:
    """From a second to half a minute, and no longer however long it goes on; nobody else waits."""
    offences, now, waits = Offences(), 0.0, []
    for _ in range(FREE + 40):
        after = offend(offences, "a", now)
        waits.append(after - now)
        now = after
        assert not offences.shut_out("b", now)
    assert waits[FREE:][:6] == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST]
    assert set(waits[FREE + 5 :]) == {LONGEST}


def test_offences_of_one_moment_count_once_it_is_shut_out() -> None:
    """Connections that were open before time out together: that is not a hundred offences."""
    offences = Offences()
    for _ in range(100):
        offences.charge("a", 0.0)
    assert offences.shut_out("a", FIRST - 0.1)
    assert not offences.shut_out("a", FIRST)


def test_forgiven_and_forgotten() -> None:
    """By an association, or by time."""
    offences = Offences()
    offences.forgive("a")
    for _ in range(FREE + 1):
        offences.charge("a", 0.0)
    offences.forgive("a")
    assert not offences.shut_out("a", 0.0)
    for _ in range(FREE):
        offences.charge("a", 0.0)
    assert offend(offences, "a", FORGOTTEN_AFTER + 1) == FORGOTTEN_AFTER + 1


def test_bounded() -> None:
    """However many hosts there are; who offended longest ago is forgotten."""
    offences = Offences()
    for _ in range(FREE + 1):
        offences.charge("first", 0.0)
        offences.charge("second", 0.0)
    for number in range(MOST_HOSTS - 1):
        offences.charge(str(number), 0.0)
    assert not offences.shut_out("first", 0.0)
    assert offences.shut_out("second", 0.0)
    assert len(offences._records) == MOST_HOSTS
