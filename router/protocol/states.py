"""The states of an association and what moves it from one to another: PS3.8 Table 9-10, as one table.

A cell names the action and the next state. Actions are names here; what they do is in `connection`. An empty cell
cannot happen, or must not be asked for. The role is a column where it decides: in a release collision (AR-8).
AE-6 always leads to Sta3: a request that is not acceptable is rejected from there (AE-8), with the same PDU.
"""

from enum import IntEnum, StrEnum
from typing import TypeAlias

from router.protocol.errors import LocalProtocolError


class Role(StrEnum):
    """Who asked for the association."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


class State(IntEnum):
    """The states of PS3.8 Tables 9-1 to 9-5."""

    STA1 = 1
    """Idle."""
    STA2 = 2
    """Transport connection open, awaiting A-ASSOCIATE-RQ."""
    STA3 = 3
    """Awaiting our own answer to the A-ASSOCIATE-RQ."""
    STA4 = 4
    """Awaiting the transport connection."""
    STA5 = 5
    """Awaiting A-ASSOCIATE-AC or A-ASSOCIATE-RJ."""
    STA6 = 6
    """Association established, ready for data transfer."""
    STA7 = 7
    """Awaiting A-RELEASE-RP."""
    STA8 = 8
    """Awaiting our own answer to the A-RELEASE-RQ."""
    STA9 = 9
    """Release collision, requestor: awaiting our own answer."""
    STA10 = 10
    """Release collision, acceptor: awaiting A-RELEASE-RP."""
    STA11 = 11
    """Release collision, requestor: awaiting A-RELEASE-RP."""
    STA12 = 12
    """Release collision, acceptor: awaiting our own answer."""
    STA13 = 13
    """Awaiting the close of the transport connection."""


class Stimulus(IntEnum):
    """What can happen to an association: the events Evt1 to Evt19 of PS3.8 Table 9-10."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMED = 2
    ASSOCIATE_AC_PDU = 3
    ASSOCIATE_RJ_PDU = 4
    TRANSPORT_INDICATED = 5
    ASSOCIATE_RQ_PDU = 6
    ASSOCIATE_ACCEPT = 7
    ASSOCIATE_REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_TF_PDU = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_PDU = 12
    RELEASE_RP_PDU = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_PDU = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Action(StrEnum):
    """The actions of PS3.8 Tables 9-6 to 9-9."""

    AE1 = "AE-1"
    AE2 = "AE-2"
    AE3 = "AE-3"
    AE4 = "AE-4"
    AE5 = "AE-5"
    AE6 = "AE-6"
    AE7 = "AE-7"
    AE8 = "AE-8"
    DT1 = "DT-1"
    DT2 = "DT-2"
    AR1 = "AR-1"
    AR2 = "AR-2"
    AR3 = "AR-3"
    AR4 = "AR-4"
    AR5 = "AR-5"
    AR6 = "AR-6"
    AR7 = "AR-7"
    AR8 = "AR-8"
    AR9 = "AR-9"
    AR10 = "AR-10"
    AA1 = "AA-1"
    AA2 = "AA-2"
    AA3 = "AA-3"
    AA4 = "AA-4"
    AA5 = "AA-5"
    AA6 = "AA-6"
    AA7 = "AA-7"
    AA8 = "AA-8"


Cell: TypeAlias = tuple[Action, State]

_TABLE_9_10 = """
Evt role      Sta1   Sta2    Sta3    Sta4   Sta5    Sta6    Sta7     Sta8    Sta9    Sta10    Sta11   Sta12   Sta13
1   both      AE-1/4 -       -       -      -       -       -        -       -       -        -       -       -
2   both      -      -       -       AE-2/5 -       -       -        -       -       -        -       -       -
3   both      -      AA-1/13 AA-8/13 -      AE-3/6  AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-6/13
4   both      -      AA-1/13 AA-8/13 -      AE-4/1  AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-6/13
5   both      AE-5/2 -       -       -      -       -       -        -       -       -        -       -       -
6   both      -      AE-6/3  AA-8/13 -      AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-7/13
7   both      -      -       AE-7/6  -      -       -       -        -       -       -        -       -       -
8   both      -      -       AE-8/13 -      -       -       -        -       -       -        -       -       -
9   both      -      -       -       -      -       DT-1/6  -        AR-7/8  -       -        -       -       -
10  both      -      AA-1/13 AA-8/13 -      AA-8/13 DT-2/6  AR-6/7   AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-6/13
11  both      -      -       -       -      -       AR-1/7  -        -       -       -        -       -       -
12  requestor -      AA-1/13 AA-8/13 -      AA-8/13 AR-2/8  AR-8/9   AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-6/13
12  acceptor  -      AA-1/13 AA-8/13 -      AA-8/13 AR-2/8  AR-8/10  AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-6/13
13  both      -      AA-1/13 AA-8/13 -      AA-8/13 AA-8/13 AR-3/1   AA-8/13 AA-8/13 AR-10/12 AR-3/1  AA-8/13 AA-6/13
14  both      -      -       -       -      -       -       -        AR-4/13 AR-9/11 -        -       AR-4/13 -
15  both      -      -       AA-1/13 AA-2/1 AA-1/13 AA-1/13 AA-1/13  AA-1/13 AA-1/13 AA-1/13  AA-1/13 AA-1/13 -
16  both      -      AA-2/1  AA-3/1  -      AA-3/1  AA-3/1  AA-3/1   AA-3/1  AA-3/1  AA-3/1   AA-3/1  AA-3/1  AA-2/1
17  both      -      AA-5/1  AA-4/1  AA-4/1 AA-4/1  AA-4/1  AA-4/1   AA-4/1  AA-4/1  AA-4/1   AA-4/1  AA-4/1  AR-5/1
18  both      -      AA-2/1  -       -      -       -       -        -       -       -        -       -       AA-2/1
19  both      -      AA-1/13 AA-8/13 -      AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-8/13  AA-8/13 AA-8/13 AA-7/13
"""


def _cell(text: str) -> Cell | None:
    if text == "-":
        return None
    action, _, state = text.partition("/")
    return Action(action), State(int(state))


def _row_for(role: Role, stimulus: Stimulus) -> tuple[Cell | None, ...]:
    rows = (line.split() for line in _TABLE_9_10.strip().splitlines()[1:])
    (row,) = (row for row in rows if int(row[0]) == stimulus and row[1] in ("both", role))
    return tuple(_cell(text) for text in row[2:])


# By role, then by the numbers of stimulus and state: a look-up for every PDU has to be cheap.
_CELLS = {role: tuple(_row_for(role, stimulus) for stimulus in Stimulus) for role in Role}


def look_up(role: Role, state: State, stimulus: Stimulus) -> Cell:
    """Return the action and the next state.

    Raises:
        LocalProtocolError: the cell is empty.
    """
    cell = _CELLS[role][stimulus - 1][state - 1]
    if cell is None:
        raise LocalProtocolError(f"{stimulus.name} is not possible in Sta{state} (PS3.8 Table 9-10)")
    return cell
