"""User identity negotiation (PS3.7 D.3.3.7), with peers that are not ours."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from pynetdicom import AE, build_context
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from router.journal import AssociationRefused
from router.model.presentation_context import VERIFICATION
from router.rules.user_identity import User, Users
from tests.dicom.peers import listener, serving
from tests.samples import samples

pytestmark = pytest.mark.unit

SECRET = "correct-horse"
KNOWN = Users((User("jane", sha256(SECRET.encode()).digest()), User("gateway")))

Identity = tuple[str, str] | None


async def ask(users: Users | None, identity: Identity, *, response: bool = False) -> tuple[bool, bool, str]:
    """Whether pynetdicom was let in, whether it had a positive response, and what was logged."""

    def associate(port: int) -> tuple[bool, bool]:
        named = UserIdentityNegotiation()
        if identity is not None:
            name, passcode = identity
            named.user_identity_type = 2 if passcode else 1
            named.primary_field = name.encode()
            if passcode:
                named.secondary_field = passcode.encode()
            named.positive_response_requested = response
        association = AE("CT1").associate(
            "127.0.0.1",
            port,
            [build_context(VERIFICATION)],
            ae_title="ROUTER",
            ext_neg=[named] if identity is not None else [],
        )
        let_in = association.is_established
        answered = association.acceptor.user_identity is not None
        if let_in:
            association.release()
        return let_in, answered

    async with serving(listener(users=users)) as server:
        let_in, answered = await anyio.to_thread.run_sync(associate, server.port)
    assert len(server.diary.of(AssociationRefused)) == (not let_in)
    return let_in, answered, str(server.diary.events)


@pytest.mark.parametrize("response", [False, True])
@pytest.mark.parametrize("identity", [("jane", SECRET), ("gateway", "")])
async def test_recognised(identity: tuple[str, str], *, response: bool) -> None:
    """It is let in; a positive response comes to who asked for one."""
    let_in, answered, log = await ask(KNOWN, identity, response=response)
    assert (let_in, answered) == (True, response)
    assert identity[0] not in log
    assert SECRET not in log


@pytest.mark.parametrize("identity", [("jane", "wrong-horse"), ("jane", ""), ("john", SECRET), None])
async def test_not_recognised(identity: Identity) -> None:
    """It is rejected, and the log says no more than that."""
    let_in, _, log = await ask(KNOWN, identity)
    assert not let_in
    assert "the user identity was not recognised" in log
    assert "jane" not in log
    assert "horse" not in log


async def test_not_required() -> None:
    """Who names nobody is let in; who names somebody has to be right, all the same."""
    users = Users(KNOWN.users, required=False)
    assert (await ask(users, None))[:2] == (True, False)
    assert not (await ask(users, ("jane", "wrong-horse")))[0]


async def test_not_looked_at() -> None:
    """Without a configuration everything is taken, and nothing is claimed to have been checked."""
    assert (await ask(None, ("jane", "wrong-horse"), response=True))[:2] == (True, False)


@pytest.mark.endtoend
async def test_dcmtk(dcmtk: Callable[[str], Path]) -> None:
    """``storescu`` that expects a positive response."""
    file = next(sample.path for sample in samples() if sample.path.name == "CT_small.dcm")
    async with serving(listener(users=KNOWN)) as server:
        command = [str(dcmtk("storescu")), "-aec", "ROUTER", "-usr", "jane", "-rsp"]
        target = ["127.0.0.1", str(server.port), str(file)]
        await anyio.run_process([*command, "-pwd", SECRET, *target])
        refused = await anyio.run_process([*command, "-pwd", "wrong-horse", *target], check=False)
        assert refused.returncode != 0
    assert len(server.receiver.taken) == 1
