from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.ulid import ALPHABET, LENGTH, is_ulid, ulid

pytestmark = pytest.mark.unit

instants = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 – hypothesis adds the zone
chances = st.integers(0, 2**80 - 1)


@given(instants, chances)
def test_a_ulid_is_a_name_of_ours(now: datetime, chance: int) -> None:
    """26 characters of Crockford's alphabet: nothing that a file system or a shell could take for anything else."""
    name = ulid(now, lambda _: chance)
    assert is_ulid(name)
    assert len(name) == LENGTH
    assert set(name) <= set(ALPHABET)


@given(instants, chances, chances)
def test_names_sort_by_time(now: datetime, one: int, other: int) -> None:
    """Whatever chance adds, a later name sorts later."""
    assert ulid(now, lambda _: one) < ulid(now + timedelta(milliseconds=1), lambda _: other)


@given(instants, chances, chances)
def test_chance_tells_names_of_one_instant_apart(now: datetime, one: int, other: int) -> None:
    """All 80 bits of chance are in the name."""
    assert (ulid(now, lambda _: one) == ulid(now, lambda _: other)) == (one == other)


def test_the_specification_agrees() -> None:
    """The time part of the specification's example, 1469918176385 ms, is 01ARYZ6S41."""
    now = datetime.fromtimestamp(1469918176, UTC) + timedelta(milliseconds=385)
    assert ulid(now, lambda _: 0) == "01ARYZ6S41" + "0" * 16
    assert ulid(now, lambda bits: 2**bits - 1) == "01ARYZ6S41" + "Z" * 16


def test_chance_is_real_unless_it_is_given() -> None:
    """Two names of the same instant differ."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert ulid(now) != ulid(now)


@pytest.mark.parametrize(
    "name",
    ["", "01ARYZ6S41", "01ARYZ6S41TSV4RRFFQ69G5FA", "01ARYZ6S41TSV4RRFFQ69G5FAVV", "01aryz6s41tsv4rrffq69g5fav"]
    + [f"01ARYZ6S41TSV4RRFFQ69G5FA{foreign}" for foreign in "ILOU/.é\0"],
)
def test_other_names_are_not_ours(name: str) -> None:
    """Another length, a letter that Crockford left out, a path separator: not a name that we made."""
    assert not is_ulid(name)
