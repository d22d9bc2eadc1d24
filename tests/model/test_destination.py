from datetime import timedelta

import pytest

from router.model.destination import Destination, Strategy

pytestmark = pytest.mark.unit


def test_four_values_make_a_destination() -> None:
    """Name, AE title, host and port are enough; patience and strategy have the documented defaults."""
    destination = Destination("MAIN_PACS", "PACS_SCP", "192.168.1.100", 11112)
    assert destination.transfer_syntax_strategy is Strategy.CONSERVATIVE
    assert (destination.max_association_retries, destination.max_associations) == (3, 2)
    assert (destination.back_off.initial, destination.back_off.maximum) == (timedelta(seconds=5), timedelta(minutes=1))
    assert (destination.retry.initial, destination.retry.maximum) == (timedelta(seconds=5), timedelta(minutes=30))
    assert destination.retry.give_up_after == timedelta(days=7)
    assert destination.deadlines.response == timedelta(minutes=2)


def test_strategies_have_the_names_of_the_configuration() -> None:
    """What an administrator writes is what the log shows."""
    assert [str(strategy) for strategy in Strategy] == [
        "universal",
        "conservative",
        "standard",
        "compression",
        "extended",
        "listed",
    ]
