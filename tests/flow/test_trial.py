"""A destination tried step by step, against pynetdicom and against peers that do not do what they should."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from router.dicom.link import Link
from router.flow.trial import Step, trial
from router.model.destination import Destination, SendDeadlines, Strategy
from router.model.presentation_context import VERIFICATION, AnsweredContext, ContextResult
from router.model.tls import TlsClient, TlsServer
from router.model.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS
from router.protocol import Acceptor, EchoRequested, ReleaseRequested
from tests.certificates import Authority
from tests.dicom.peers import PATIENCE, Script, acting, listener, serving, until_ended
from tests.peers import AE_TITLE, accepting
from tests.protocol.pair import CLASS_UID, VERSION

pytestmark = pytest.mark.negotiation

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Sockets and threads: not the mock clock of the other tests here."""
    return "asyncio"


def at(port: int, **changes: object) -> Destination:
    """A destination on the loopback interface."""
    patient = timedelta(seconds=PATIENCE)
    found = Destination("PACS", AE_TITLE, "127.0.0.1", port, deadlines=SendDeadlines(patient, patient, patient))
    return replace(found, **changes)  # type: ignore[arg-type]  # fields by name


async def tried(destination: Destination) -> list[Step]:
    """All steps."""
    return [step async for step in trial(destination, "ROUTER", [CT, MR])]


def names(steps: list[Step]) -> list[tuple[str, bool]]:
    """What passed."""
    return [(step.name, step.passed) for step in steps]


async def test_every_step_passes_with_a_pacs_that_works() -> None:
    """With the time of each, and what was accepted, in words."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, sop_classes=[CT]) as pacs:
        steps = await tried(at(pacs.port))
        assert pacs.associations == 2
    assert names(steps) == [(name, True) for name in ("DNS", "TCP", "association", "C-ECHO", "contexts")]
    assert [step.words for step in steps[:2]] == ["127.0.0.1", "connected"]
    assert steps[2].words.startswith("accepted by PYNETDICOM")
    assert steps[3].words == "answered 0000H"
    assert steps[4].words == (
        "2 of the 4 of strategy conservative accepted: "
        "CT Image Storage in Implicit VR Little Endian, Explicit VR Little Endian"
    )
    assert not any(step.advice for step in steps)
    assert all(step.seconds >= 0 for step in steps)


async def test_a_strategy_that_reaches_nothing_is_told() -> None:
    """Of a list of the destination's own, too."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        listed = at(pacs.port, transfer_syntax_strategy=Strategy.LISTED, transfer_syntaxes=(RLE_LOSSLESS,))
        *_, last = await tried(listed)
    assert (last.passed, last.words) == (False, "0 of the 2 of strategy listed accepted")
    assert "Run `probe`" in last.advice


async def test_a_name_without_an_address_is_the_last_step() -> None:
    """What does not exist, and what cannot."""
    for host in ("pacs.invalid", "a" * 70 + ".invalid"):
        (step,) = await tried(at(104, remote_host=host))
        assert (step.name, step.passed) == ("DNS", False)
        assert f"{host!r} has no address: " in step.words
        assert "remote_host" in step.advice


async def test_a_port_where_nobody_listens(free_port: Callable[[], int]) -> None:
    """DNS passes, TCP does not."""
    steps = await tried(at(free_port()))
    assert names(steps) == [("DNS", True), ("TCP", False)]
    assert "Connection refused" in steps[1].words
    assert "firewall" in steps[1].advice


async def test_a_rejection_says_what_to_do() -> None:
    """In words, by the reason that the PACS gave."""
    with accepting(IMPLICIT_VR_LITTLE_ENDIAN) as pacs:
        steps = await tried(at(pacs.port, remote_ae_title="OTHER"))
    assert names(steps) == [("DNS", True), ("TCP", True), ("association", False)]
    assert "called AE title not recognized" in steps[2].words
    assert steps[2].advice == "The PACS does not go by OTHER: correct `remote_ae_title`."
    async with acting(playing(rejection=(1, 1, 3), most=0)) as port:
        *_, last = await tried(at(port))
    assert "our AE title ROUTER" in last.advice
    async with acting(playing(rejection=(2, 3, 2), most=0)) as port:
        *_, last = await tried(at(port))
    assert "lower `max_associations`" in last.advice


async def test_a_proposal_that_the_peer_does_not_like() -> None:
    """Everything works but the contexts: without a reason another proposal may help, otherwise what the reason says."""
    async with acting(playing(rejection=(1, 1, 1), most=1)) as port:
        steps = await tried(at(port))
    assert names(steps)[2:] == [("association", True), ("C-ECHO", True), ("contexts", False)]
    assert steps[4].words.startswith("with the 4 of strategy conservative: PACS_SCP at 127.0.0.1")
    assert steps[4].advice == "Run `probe`, and configure what it recommends."
    async with acting(playing(rejection=(2, 3, 2), most=1)) as port:
        *_, last = await tried(at(port))
    assert "lower `max_associations`" in last.advice


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [(0x0122, "answered 0122H", "administrator"), (None, "closed the connection during C-ECHO", "network")],
)
async def test_a_c_echo_that_fails_is_not_the_last_step(status: int | None, words: str, advice: str) -> None:
    """What it would accept is worth knowing."""
    async with acting(playing(status=status)) as port:
        steps = await tried(at(port))
    assert names(steps)[2:] == [("association", True), ("C-ECHO", False), ("contexts", True)]
    assert words in steps[3].words
    assert advice in steps[3].advice


async def test_a_peer_without_verification() -> None:
    """That alone is no fault."""
    async with acting(playing(verification=False)) as port:
        steps = await tried(at(port))
    assert names(steps)[3:] == [("C-ECHO", False), ("contexts", True)]
    assert steps[3].advice == "Nothing, if the next step passes."


async def test_tls_is_a_step_of_its_own(tmp_path: Path) -> None:
    """It passes with a certificate that we trust, and fails with another, or without TLS."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    credential = ours.issue("router")
    async with serving(listener(tls=TlsServer(credential.certificate, credential.key))) as server:
        steps = await tried(at(server.port, remote_ae_title="ROUTER", tls=TlsClient(ours.path)))
        assert names(steps) == [(name, True) for name in ("DNS", "TCP", "TLS", "association", "C-ECHO", "contexts")]
        steps = await tried(at(server.port, remote_ae_title="ROUTER", tls=TlsClient(theirs.path)))
    assert names(steps) == [("DNS", True), ("TCP", True), ("TLS", False)]
    assert "none of the CAs that we trust" in steps[2].words
    assert "certificate" in steps[2].advice


def playing(
    *,
    rejection: tuple[int, int, int] = (1, 1, 1),
    most: int = 128,
    status: int | None = 0,
    verification: bool = True,
) -> Script:
    """A peer.

    Args:
        rejection: its answer to associations with more contexts than ``most``.
        most: that it accepts.
        status: its answer to C-ECHO; None: it closes the connection.
        verification: whether it accepts the context for it.
    """

    async def script(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        request = link.connection.request()
        if len(request.contexts) > most:
            result, source, reason = rejection
            await link.transport.send([link.connection.reject(result=result, source=source, reason=reason)])
            return
        answers = [
            AnsweredContext(each.id, each.abstract_syntax, ContextResult.ACCEPTANCE, each.transfer_syntaxes[0])
            if verification or each.abstract_syntax != VERIFICATION
            else AnsweredContext(each.id, each.abstract_syntax, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
            for each in request.contexts
        ]
        accepted = link.connection.accept(
            request, answers, implementation_class_uid=CLASS_UID, implementation_version_name=VERSION
        )
        await link.transport.send([accepted])
        event = await link.event(PATIENCE)
        if isinstance(event, EchoRequested):
            if status is None:
                return
            await link.transport.send([link.connection.echo_answer(event, status)])
            event = await link.event(PATIENCE)
        assert isinstance(event, ReleaseRequested)
        await link.transport.send([link.connection.confirm_release()])
        await until_ended(link)

    return script
