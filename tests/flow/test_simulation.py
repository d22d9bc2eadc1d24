"""Ten days of two PACS that fail in every way, in seconds: the flow on trio's mock clock, no thread and no socket.

The seed is in the name of the test that fails.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from random import Random

import anyio
import pytest
from trio._core import _run

from router.dicom.content import Outgoing
from router.dicom.scu import AssociationFailedError
from router.journal import DeadLetter
from router.model.delivery import State
from router.model.destination import Destination
from router.model.outcome import Answered, Cause
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from tests.faults.matrix import ALL
from tests.flow.pacs import (
    ABORTED,
    NO_ANSWER,
    Asked,
    Pacs,
    Response,
    aborted,
    connection_refused,
    rejected,
)
from tests.flow.world import HOUR, MINUTE, PACS, SECOND, Flow

pytestmark = [pytest.mark.delivery, pytest.mark.timeout(120)]

FAULTS_END = 150 * HOUR
"""Then everything works, and the tries of what was charged by then run out within two hours."""
THE_END = 210 * HOUR
PATIENCE = 2
"""How often chance alone, outside of a fault that concerns every instance, may hit the same instance."""


class Fault(StrEnum):
    """A way for a PACS to fail, for a while."""

    NONE = "none"
    DOWN = "down"
    CONGESTED = "congested"
    UNKNOWN = "AE title unknown"
    UNWILLING = "aborts association requests"
    FULL = "full"
    ABORTING = "aborting"
    DEAF = "deaf"
    SLOW = "slow"


class FaultyPacs(Pacs):
    """Fails by chance until ``FAULTS_END``."""

    def __init__(self, chance: Random, passed: Callable[[], timedelta], destination: Destination) -> None:
        super().__init__()
        self.destination = destination
        self.refusal = self._refuse
        self.respond = self._respond
        self.has: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        """Instances that it has stored without our getting to know."""
        self.faults: Counter[Fault] = Counter()
        self._chance = chance
        self._passed = passed
        self._hit: Counter[str] = Counter()
        self._plan = [(timedelta(), Fault.NONE)]
        while self._plan[-1][0] < FAULTS_END:
            begins = self._plan[-1][0] + chance.uniform(1, 5) * HOUR
            ends = begins + chance.choice([10 * SECOND, MINUTE, 10 * MINUTE, HOUR, 2 * HOUR])
            self._plan += [(begins, chance.choice(list(Fault))), (ends, Fault.NONE)]

    @property
    def fault(self) -> Fault:
        """The one at this moment."""
        now = self._passed()
        if now >= FAULTS_END:
            return Fault.NONE
        return next(fault for begins, fault in reversed(self._plan) if begins <= now)

    def _refuse(self, asked: Asked) -> AssociationFailedError | None:
        assert self.open < self.destination.max_associations, "one association too many"
        assert asked.calling_ae_title == self.destination.local_ae_title
        fault = self.fault
        self.faults[fault] += 1
        match fault:
            case Fault.DOWN:
                return connection_refused()
            case Fault.CONGESTED:
                return rejected(2, 3, 1)
            case Fault.UNKNOWN:
                return rejected(1, 1, 7)
            case Fault.UNWILLING:
                return aborted()
            case _:
                return None

    async def _respond(self, instance: Outgoing) -> Response:
        name = instance.identity.sop_instance
        response = self._failure(name)
        if response is None and self.has[name] and self._chance.random() < 0.5:
            return Answered(0x0111)
        if response is None or response is NO_ANSWER:
            assert self.has[name] <= self.lost[name], f"{name} is sent again though its answer was not lost"
            self.has[name] += 1
            self.lost[name] += 1  # until the answer is taken
            await anyio.sleep(self._seconds())
        if response is None:
            self.lost[name] -= 1
            return Answered(0xB000 if self._chance.random() < 0.1 else 0)
        return response

    def _failure(self, name: str) -> Response | None:
        fault = self.fault
        if fault is Fault.FULL:
            return Answered(0xA700)
        if "aborts" in name:
            return ABORTED
        if "nonsense" in name:
            return Answered(0xC000)
        if fault in {Fault.ABORTING, Fault.DEAF} and self._chance.random() < 0.4 and self._hit[name] < PATIENCE:
            self._hit[name] += 1
            return ABORTED if fault is Fault.ABORTING else NO_ANSWER
        return None

    def _seconds(self) -> float:
        match self.fault:
            case Fault.DEAF:
                return 120
            case Fault.SLOW:
                return self._chance.uniform(20, 100)
            case _:
                return self._chance.uniform(0.01, 2)


@pytest.mark.row("D1", "210 virtual hours with 150 hours of faults, two destinations, restarts at any moment")
@pytest.mark.parametrize("seed", [2, *(range(1000, 1010) if ALL else ())])
async def test_everything_that_can_be_delivered_is(flow: Flow, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What P2, P3 and P4 promise, over 210 hours with 150 hours of faults and with restarts at any moment."""
    # The order in which trio runs what is ready is chance too; this is how Hypothesis makes it repeatable.
    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    _run._r.seed(seed)
    chance = Random(seed)
    flow.chance = chance.random
    archive = replace(PACS, name="ARCHIVE", max_associations=3)
    research = replace(PACS, name="RESEARCH", max_associations=1)
    pacs = {each.name: FaultyPacs(chance, lambda: flow.passed, each) for each in (archive, research)}
    pacs["RESEARCH"].accepts = frozenset({IMPLICIT_VR_LITTLE_ENDIAN})
    owed: list[str] = []

    async def modality() -> None:
        """Studies of some instances; a few of them no PACS can take."""
        while flow.passed < FAULTS_END + 20 * HOUR:
            kind = chance.choices(["good", "aborts", "nonsense"], [90, 5, 5])[0]
            for number in range(chance.randint(1, 12)):
                name = f"{len(owed)} {kind if number == 0 else 'good'}"
                owed.append(name)
                await flow.owe(name, to=("ARCHIVE", "RESEARCH"))
                await anyio.sleep(chance.uniform(0, 3))
            await anyio.sleep(chance.uniform(0, 3 * 3600))

    async def daemon(destination: Destination) -> None:
        """Runs, and is stopped or cancelled now and then."""
        while flow.passed < THE_END:
            async with anyio.create_task_group() as running:
                forwarder = flow.forwarder(destination, pacs[destination.name])
                running.start_soon(forwarder.run)
                await anyio.sleep(min(chance.uniform(0, 20 * 3600), (THE_END - flow.passed).total_seconds() + 1))
                if chance.random() < 0.5:
                    forwarder.stop()
                else:
                    running.cancel_scope.cancel()
            assert pacs[destination.name].open == 0
            in_flight = [
                each for each in await flow.world.entries(destination=destination.name) if each.state is State.IN_FLIGHT
            ]
            assert not in_flight

    async with flow.open(archive, research), anyio.create_task_group() as group:
        group.start_soon(modality)
        group.start_soon(daemon, archive)
        group.start_soon(daemon, research)
        await anyio.sleep(THE_END.total_seconds())
        group.cancel_scope.cancel()

    async with flow.open(archive, research):
        for name, each in pacs.items():
            entries = await flow.entries(name)
            assert entries.keys() == set(owed)
            for instance, entry in entries.items():
                if "good" in instance:
                    assert entry.state is State.DELIVERED, f"{instance} at {name}: {entry}"
                    assert each.has[instance]
                elif entry.state is not State.QUEUED:
                    assert entry.state is State.DEAD
                    expected = {"aborts": {Cause.STORE_ABORTED}, "nonsense": {Cause.CANNOT_UNDERSTAND}}
                    assert entry.cause in expected[instance.split()[1]]
            dead = [entry for entry in entries.values() if entry.state is State.DEAD]
            assert dead, "no dead letter at all"
            assert len(each.faults) > 3
            assert each.most_open == each.destination.max_associations
    assert flow.happened(DeadLetter)
