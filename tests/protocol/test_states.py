"""Every cell of PS3.8 Table 9-10, against pynetdicom's transcription of it."""

import itertools

import pytest
from pynetdicom.fsm import TRANSITION_TABLE

from router.protocol import LocalProtocolError
from router.protocol.states import Action, Role, State, Stimulus, look_up

pytestmark = pytest.mark.unit

NEXT_STATES = {
    "AE-1": 4, "AE-2": 5, "AE-3": 6, "AE-4": 1, "AE-5": 2, "AE-6": 3, "AE-7": 6, "AE-8": 13,
    "DT-1": 6, "DT-2": 6,
    "AR-1": 7, "AR-2": 8, "AR-3": 1, "AR-4": 13, "AR-5": 1, "AR-6": 7, "AR-7": 8, "AR-9": 11, "AR-10": 12,
    "AA-1": 13, "AA-2": 1, "AA-3": 1, "AA-4": 1, "AA-5": 1, "AA-6": 13, "AA-7": 13, "AA-8": 13,
}  # fmt: skip
"""PS3.8 Tables 9-6 to 9-9, where the role does not decide."""

CELLS = list(itertools.product(Role, State, Stimulus))


@pytest.mark.parametrize(
    ("role", "state", "stimulus"), CELLS, ids=[f"{role}-Sta{state}-Evt{event}" for role, state, event in CELLS]
)
def test_cell(role: Role, state: State, stimulus: Stimulus) -> None:
    """A cell has the action and the next state of the Standard; an empty one is an error of ours."""
    expected = TRANSITION_TABLE.get((f"Evt{stimulus}", f"Sta{state}"))
    if expected is None:
        with pytest.raises(LocalProtocolError, match=rf"{stimulus.name} is not possible in Sta{state} "):
            look_up(role, state, stimulus)
        return
    action, next_state = look_up(role, state, stimulus)
    assert action == expected
    if action is Action.AR8:
        assert next_state is {Role.REQUESTOR: State.STA9, Role.ACCEPTOR: State.STA10}[role]
    else:
        assert next_state == NEXT_STATES[action]


def test_every_action_is_in_the_table() -> None:
    """No action is only a name."""
    used = {TRANSITION_TABLE[cell] for cell in TRANSITION_TABLE}
    assert used == {action.value for action in Action}
