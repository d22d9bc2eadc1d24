"""A peer that says anything at any time, against a model of what PS3.8 Table 9-10 lets either end answer.

The model knows sound PDUs and what we ask for ourselves, in words of its own; of a damaged PDU it knows that an error,
an event or nothing is all that may come of it. Whatever happened: after our A-ABORT, and after the end, there is
nothing more.
"""

from enum import Enum, auto
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.protocol import (
    Aborted,
    Acceptor,
    AssociationAccepted,
    AssociationAnnounced,
    AssociationRejected,
    Closed,
    Connection,
    EchoRequested,
    Event,
    Fragment,
    LocalProtocolError,
    ProtocolError,
    ReleaseConfirmed,
    ReleaseRequested,
    Requestor,
    State,
    StoreAnswered,
    StoreRequested,
    UnsupportedCommand,
)
from tests.faults.matrix import rounds
from tests.fuzz.conversations import (
    ABORT,
    ACCEPTANCE,
    ECHO,
    FIND,
    REJECTED,
    RELEASE,
    RELEASED,
    REQUEST,
    STORE,
    STORED,
)
from tests.fuzz.mutation import mutated
from tests.protocol.pair import ANSWERS, CLASS_UID, VERSION, associate, feed, p_data, pdu, pdv, take

pytestmark = [pytest.mark.trust, pytest.mark.timeout(180)]


class Is(Enum):
    """Where an association stands, as the model sees it."""

    AWAITED = auto()
    """An acceptor's: the A-ASSOCIATE-RQ is to come."""
    TO_ANSWER = auto()
    """An acceptor's: the A-ASSOCIATE-RQ is ours to answer."""
    ASKED = auto()
    """A requestor's: the answer is to come."""
    OPEN = auto()
    RELEASING = auto()
    """We asked for the release."""
    RELEASED = auto()
    """The peer asked for the release."""
    BOTH = auto()
    """Both did, and the requestor of the association has to answer first."""
    BOTH_AWAITED = auto()
    """Both did, and this end awaits the peer's answer."""
    BOTH_TO_ANSWER = auto()
    """Both did, and the acceptor of the association was answered."""
    LEAVING = auto()
    """Our last word is said; the close is awaited."""
    OVER = auto()
    """Nothing more is heard."""


TALKING = {Is.OPEN, Is.RELEASING}
"""Where P-DATA-TF is taken."""
BEFORE = {Is.AWAITED, Is.LEAVING, Is.OVER}
"""Where there is nothing to abort: no association yet, or none any more."""

PDUS = {
    "A-ASSOCIATE-RQ": REQUEST,
    "A-ASSOCIATE-AC": ACCEPTANCE,
    "A-ASSOCIATE-RJ": REJECTED,
    "A-RELEASE-RQ": RELEASE,
    "A-RELEASE-RP": RELEASED,
    "A-ABORT": ABORT,
    "C-STORE-RQ": p_data(pdv(1, 3, STORE)),
    "half a C-STORE-RQ": p_data(pdv(1, 1, STORE[:40])),
    "the other half": p_data(pdv(1, 3, STORE[40:])),
    "fragment": p_data(pdv(1, 0, b"abcd")),
    "last fragment": p_data(pdv(1, 2, b"ef")),
    "C-ECHO-RQ": p_data(pdv(3, 3, ECHO)),
    "C-FIND-RQ": p_data(pdv(1, 3, FIND)),
    "C-STORE-RSP": p_data(pdv(1, 3, STORED)),
    "unaccepted context": p_data(pdv(5, 3, STORE)),
}
UNKNOWN = pdu(9, b"abcd")

WAYS = [
    (),
    ("associate",),
    ("associate", "half a C-STORE-RQ"),
    ("associate", "C-STORE-RQ", "fragment"),
    ("associate", "C-STORE-RQ", "last fragment"),
    ("associate", "C-FIND-RQ"),
    ("associate", "A-RELEASE-RQ"),
    ("associate", "A-RELEASE-RQ", "confirm"),
    ("associate", "release"),
    ("associate", "release", "C-STORE-RQ"),
    ("associate", "release", "A-RELEASE-RQ"),
    ("associate", "release", "A-RELEASE-RQ", "confirm"),
    ("associate", "release", "A-RELEASE-RQ", "confirm", "A-RELEASE-RP"),
]
"""Into an association: what the peer says, and what we do."""


class Within(Enum):
    """Where the peer stands within its message."""

    NOTHING = auto()
    COMMAND = auto()
    WANTED = auto()
    """A data set that is let through."""
    SKIPPED = auto()
    SPOILED = auto()
    """A command set that cannot become a sound one any more."""


class Peer(RuleBasedStateMachine):
    """Everything that a peer and we may do to one end."""

    connection: Connection

    def __init__(self) -> None:
        super().__init__()
        self.stands = Is.OVER
        self.within = Within.NOTHING
        self.wild = False
        """A damaged PDU arrived: from here on the model only knows what always holds."""
        self.request: StoreRequested | None = None

    @initialize(acceptor=st.booleans(), way=st.sampled_from(WAYS))
    def begin(self, *, acceptor: bool, way: tuple[str, ...]) -> None:
        """One of the roles, some way into its association: by chance alone few come far."""
        if acceptor:
            self.connection, self.stands = Acceptor(maximum_length=4096), Is.AWAITED
        else:
            requestor = Requestor(maximum_length=4096)
            associate(requestor)
            self.connection, self.stands = requestor, Is.ASKED
        for step in way:
            match step:
                case "associate":
                    self.sound("A-ASSOCIATE-RQ" if acceptor else "A-ASSOCIATE-AC")
                    self.accept()
                case "release":
                    self.release()
                case "confirm":
                    self.confirm()
                case _:
                    self.sound(step)

    @property
    def acceptor(self) -> bool:
        """The role."""
        return isinstance(self.connection, Acceptor)

    # The peer

    @precondition(lambda self: not self.wild)
    @rule(name=st.sampled_from(sorted(PDUS)))
    def sound(self, name: str) -> None:
        """A sound PDU, in season or out of it."""
        before = self.stands
        expected = self._expected(name)
        if expected is None:
            with pytest.raises(ProtocolError) as refused:
                feed(self.connection, PDUS[name])
            self._abort_for(refused.value)
            return
        events = feed(self.connection, PDUS[name])
        assert [type(event) for event in events] == expected, f"{name} in {before}"
        for event in events:
            if isinstance(event, StoreRequested):
                self.request = event

    def _expected(self, name: str) -> list[type[Event]] | None:  # noqa: PLR0911 -- a table, in words
        """The events that have to come, and where the association stands then; None: it is aborted."""
        if self.stands is Is.OVER:
            return []
        if name == "A-ABORT":
            self.stands = Is.OVER
            return [Aborted]
        if self.stands is Is.LEAVING:
            # The rest of what was on its way is passed over (AA-6); who asks for an association is not (AA-7).
            return None if name == "A-ASSOCIATE-RQ" else []
        if name.startswith("A-RELEASE"):
            return self._release(name) if self.within is Within.NOTHING else None
        if not name.startswith("A-"):
            return self._message(name) if self.stands in TALKING else None
        match self.stands, name:
            case Is.AWAITED, "A-ASSOCIATE-RQ":
                self.stands = Is.TO_ANSWER
                return [AssociationAnnounced]
            case Is.ASKED, "A-ASSOCIATE-AC":
                self.stands = Is.OPEN
                return [AssociationAccepted]
            case Is.ASKED, "A-ASSOCIATE-RJ":
                self.stands = Is.OVER
                return [AssociationRejected]
        return None

    def _release(self, name: str) -> list[type[Event]] | None:
        match self.stands, name:
            case Is.OPEN, "A-RELEASE-RQ":
                self.stands = Is.RELEASED
                return [ReleaseRequested]
            case Is.RELEASING, "A-RELEASE-RQ":
                self.stands = Is.BOTH_AWAITED if self.acceptor else Is.BOTH
                return [] if self.acceptor else [ReleaseRequested]
            case Is.RELEASING, "A-RELEASE-RP":
                self.stands = Is.OVER
                return [ReleaseConfirmed]
            case Is.BOTH_AWAITED, "A-RELEASE-RP":
                self.stands = Is.BOTH_TO_ANSWER if self.acceptor else Is.OVER
                return [ReleaseRequested] if self.acceptor else [ReleaseConfirmed]
        return None

    def _message(self, name: str) -> list[type[Event]] | None:  # noqa: PLR0911 -- likewise
        store: list[type[Event]] = [StoreRequested if self.acceptor else UnsupportedCommand]
        data_set = Within.WANTED if self.acceptor else Within.SKIPPED
        match self.within, name:
            case Within.NOTHING, "C-STORE-RQ":
                self.within = data_set
                return store
            case Within.NOTHING, "half a C-STORE-RQ":
                self.within = Within.COMMAND
                return []
            case Within.COMMAND, "the other half":
                self.within = data_set
                return store
            case ((Within.COMMAND | Within.SPOILED), "half a C-STORE-RQ"):
                self.within = Within.SPOILED
                return []
            case Within.NOTHING, "C-FIND-RQ":
                self.within = Within.SKIPPED
                return [UnsupportedCommand]
            case Within.NOTHING, "C-ECHO-RQ":
                return [EchoRequested if self.acceptor else UnsupportedCommand]
            case Within.NOTHING, "C-STORE-RSP" if not self.acceptor:
                return [StoreAnswered]
            case (Within.WANTED | Within.SKIPPED) as within, ("fragment" | "last fragment") as fragment:
                if fragment == "last fragment":
                    self.within = Within.NOTHING
                return [Fragment] if within is Within.WANTED else []
        return None

    @rule(close=st.booleans())
    def ends(self, *, close: bool) -> None:
        """The peer goes, or says what nobody understands."""
        if close:
            self.closed()
        else:
            self.unknown()

    def unknown(self) -> None:
        """A PDU of a type that there is not."""
        try:
            assert feed(self.connection, UNKNOWN) == []
        except ProtocolError as error:
            assert self.stands is not Is.OVER
            self._abort_for(error)
        else:
            assert self.wild or self.stands is Is.OVER

    @rule(seed=st.integers(0, 2**32 - 1), framed=st.booleans())
    def damaged(self, seed: int, *, framed: bool) -> None:
        """A damaged PDU; with or without a header that fits it."""
        chance = Random(seed)
        content = mutated(chance, list(PDUS.values()))
        if framed:
            content = pdu(content[0] if content else 0, content[6:])
        self.wild = True
        try:
            feed(self.connection, content)
        except ProtocolError as error:
            assert self.stands is not Is.OVER
            self._abort_for(error)
        else:
            self._adopt()

    def closed(self) -> None:
        """The connection ends."""
        self.connection.buffer()
        self.connection.received(0)
        assert take(self.connection)[-1:] == [Closed()]
        self.stands = Is.OVER

    # We

    @rule(what=st.sampled_from(("accept", "reject", "release", "confirm", "answer", "abort")))
    def ours(self, what: str) -> None:
        """What we may want at any time; few rules, so that each has its turn often enough."""
        match what:
            case "accept":
                self.accept()
            case "reject":
                self.reject()
            case "release":
                self.release()
            case "confirm":
                self.confirm()
            case "answer":
                self.answer()
            case _:
                self.abort()

    def accept(self) -> None:
        """Where it was asked for, and nowhere else."""
        connection = self.connection
        if not isinstance(connection, Acceptor):
            return
        try:
            request = connection.request()
            answers = ANSWERS[: len(request.contexts)]
            connection.accept(request, answers, implementation_class_uid=CLASS_UID, implementation_version_name=VERSION)
        except LocalProtocolError:
            assert self.wild or self.stands is not Is.TO_ANSWER
        except ProtocolError as error:
            assert self.wild
            self._abort_for(error)
        else:
            assert self.wild or self.stands is Is.TO_ANSWER
            self.stands = Is.OPEN

    def reject(self) -> None:
        """Likewise."""
        if isinstance(connection := self.connection, Acceptor):
            self._ask(lambda: connection.reject(1, 1, 1), {Is.TO_ANSWER: Is.LEAVING})

    def release(self) -> None:
        """Of an open association."""
        self._ask(self.connection.release, {Is.OPEN: Is.RELEASING})

    def confirm(self) -> None:
        """Where the peer asked for the release."""
        leaving = {Is.RELEASED: Is.LEAVING, Is.BOTH: Is.BOTH_AWAITED, Is.BOTH_TO_ANSWER: Is.LEAVING}
        self._ask(self.connection.confirm_release, leaving)

    def answer(self) -> None:
        """Of a request: also after the peer asked for the release (AR-7)."""
        if (request := self.request) is not None:
            stay = {Is.OPEN: Is.OPEN, Is.RELEASED: Is.RELEASED}
            self._ask(lambda: self.connection.store_answer(request, 0), stay)

    def abort(self) -> None:
        """Whatever it was, unless there is nothing to abort."""
        if self.stands not in BEFORE:
            assert self.connection.abort() == ABORT
            self.stands = Is.OVER

    def _ask(self, say: object, moves: dict[Is, Is]) -> None:
        assert callable(say)
        before = self.connection.state
        try:
            assert say()
        except LocalProtocolError:
            assert self.wild or self.stands not in moves
            assert self.connection.state is before
        else:
            assert self.wild or self.stands in moves, f"that went out in {self.stands}"
            self.stands = moves.get(self.stands, self.stands)
            if self.wild:
                self._adopt()

    def _abort_for(self, error: ProtocolError) -> None:
        assert self.connection.state is State.STA13
        assert len(self.connection.abort_for(error)) == len(ABORT)
        self.stands = Is.OVER

    def _adopt(self) -> None:
        """What the model does not know it is told."""
        if self.stands is not Is.OVER:
            self.stands = {State.STA1: Is.OVER, State.STA13: Is.LEAVING}.get(self.connection.state, Is.OPEN)

    @invariant()
    def quiet(self) -> None:
        """Nothing is left to tell; and where it is over, nothing goes out."""
        if not hasattr(self, "connection"):
            return
        assert take(self.connection) == []
        if self.stands is Is.OVER:
            for say in (self.connection.release, self.connection.confirm_release):
                with pytest.raises(LocalProtocolError):
                    say()
            assert self.connection.state in {State.STA1, State.STA13}


Peer.TestCase.settings = settings(
    max_examples=rounds(250, 6000),
    stateful_step_count=20,
    derandomize=rounds(1, 0) == 1,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("acceptor", [True, False], ids=["acceptor", "requestor"])
@pytest.mark.parametrize("way", WAYS, ids=", ".join)
def test_every_pdu_wherever_an_association_stands(way: tuple[str, ...], *, acceptor: bool) -> None:
    """Each is answered as the table says, and so is the next one: all of it, without chance."""
    for name in PDUS:
        for following in PDUS:
            peer = Peer()
            peer.begin(acceptor=acceptor, way=way)
            for each in (name, following):
                peer.sound(each)
                peer.quiet()


@pytest.mark.row("C2", "PDUs, sound and damaged, in any state of either end, against a model of Table 9-10")
class TestPeer(Peer.TestCase):  # type: ignore[misc,valid-type]  # made by hypothesis
    """Runs it."""
