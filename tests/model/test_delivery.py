import pytest

from router.model.delivery import KEPT, OPEN, SETTLED, TRANSITIONS, Order, State

pytestmark = pytest.mark.unit


def test_every_state_is_somebodys() -> None:
    """A delivery is a forwarder's business, an operator's, or nobody's: never two of these, never none."""
    assert frozenset(State) == OPEN | KEPT | SETTLED
    assert len(OPEN) + len(KEPT) + len(SETTLED) == len(State)


def test_the_table_knows_every_state() -> None:
    """Each state has a row, and each row leads to other states only."""
    assert set(TRANSITIONS) == set(State)
    assert all(state not in onward for state, onward in TRANSITIONS.items())


def test_only_what_was_in_flight_is_delivered() -> None:
    """P3: no delivery is called delivered without an attempt."""
    assert {state for state, onward in TRANSITIONS.items() if State.DELIVERED in onward} == {State.IN_FLIGHT}


def test_what_is_in_flight_is_not_dropped_under_its_forwarder() -> None:
    """A drop waits until the claim is settled."""
    assert State.DROPPED not in TRANSITIONS[State.IN_FLIGHT]


@pytest.mark.parametrize("kept", sorted(KEPT))
def test_an_operator_can_replay_or_drop_what_is_kept(kept: State) -> None:
    """P2: what is kept is replayable, and only an operator ends it."""
    assert TRANSITIONS[kept] == {State.QUEUED, State.DROPPED}


def test_every_state_is_reached_from_the_queue() -> None:
    """No state of the table is dead weight."""
    reached, frontier = {State.QUEUED}, [State.QUEUED]
    while frontier:
        fresh = TRANSITIONS[frontier.pop()] - reached
        reached |= fresh
        frontier += fresh
    assert reached == set(State)


def test_an_order_is_queued_unless_it_says_otherwise() -> None:
    """An accepted instance is owed to its destination at once."""
    order = Order("MAIN_PACS")
    assert (order.state, order.cause, order.error) == (State.QUEUED, None, "")
