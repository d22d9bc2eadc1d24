"""What a Storage SCU makes of its peers: answers, refusals, and everything that is none."""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from router.dicom import scu
from router.dicom.buffers import Buffers
from router.dicom.content import Outgoing
from router.dicom.link import Link
from router.dicom.scu import AssociationFailedError, OutgoingAssociation, associate
from router.model.destination import SendDeadlines
from router.model.outcome import Answered, Cause, Failed
from router.model.presentation_context import ContextResult, PresentationContext
from router.protocol import (
    Aborted,
    Acceptor,
    Closed,
    EchoRequested,
    Fragment,
    ReleaseRequested,
    StoreRequested,
)
from tests.dicom.peers import (
    MOMENT,
    PATIENCE,
    accept_all,
    acting,
    address,
    all_given_back,
    data_set,
    deadlines,
    outgoing_all,
    until_ended,
    written,
)
from tests.protocol.pair import CT, EXPLICIT, IMPLICIT, VERIFICATION, command_set, p_data, pdv
from tests.samples import samples

pytestmark = pytest.mark.unit

CONTEXTS = (PresentationContext(1, CT, (EXPLICIT,)), PresentationContext(3, "1.2.840.10008.1.1", (IMPLICIT,)))


@pytest.fixture
def small(tmp_path: Path) -> Outgoing:
    """An object of one fragment."""
    return written(tmp_path / "small", b"\1" * 1000)


@pytest.fixture
def large(tmp_path: Path) -> Outgoing:
    """An object that no socket buffer holds."""
    return written(tmp_path / "large", Random(0).randbytes(32 << 20))


@asynccontextmanager
async def associated(port: int, patience: SendDeadlines | None = None) -> AsyncIterator[OutgoingAssociation]:
    """An association; its one buffer has to come back."""
    buffers = Buffers(1)
    association = await associate(address(port), CONTEXTS, deadlines=patience or deadlines(), buffers=buffers)
    try:
        yield association
    finally:
        await association.abort()
    await all_given_back(buffers, 1)


async def refused(port: int, patience: SendDeadlines | None = None, **changes: str) -> AssociationFailedError:
    """Why there is no association."""
    with pytest.raises(AssociationFailedError) as raised:
        await associate(address(port, **changes), CONTEXTS, deadlines=patience or deadlines(), buffers=Buffers(1))
    return raised.value


# pynetdicom


@contextmanager
def pynetdicom_scp(*handlers: Any, **settings: Any) -> Iterator[int]:
    """A Storage SCP that is not ours."""
    ae = AE("PACS")
    ae.add_supported_context(CT, [EXPLICIT, IMPLICIT])
    ae.add_supported_context(VERIFICATION)
    for name, value in settings.items():
        setattr(ae, name, value)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@asynccontextmanager
async def pynetdicom(*handlers: Any, **settings: Any) -> AsyncIterator[int]:
    """The same, stopped in a thread: stopping waits."""
    context = pynetdicom_scp(*handlers, **settings)
    port = await anyio.to_thread.run_sync(context.__enter__)
    try:
        yield port
    finally:
        await anyio.to_thread.run_sync(context.__exit__, None, None, None)


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB007, 0xA700, 0xA900, 0xC000, 0x0111, 0x0124, 0xFFFF])
async def test_status_is_reported_as_answered(status: int, small: Outgoing) -> None:
    """Every status comes back as it is, with the Error Comment; the association goes on."""

    def answer(event: evt.Event) -> Dataset:
        dataset = Dataset()
        dataset.Status = status
        dataset.ErrorComment = "why"
        return dataset

    async with pynetdicom((evt.EVT_C_STORE, answer)) as port, associated(port) as association:
        for _ in range(2):
            assert await association.store(1, small) == Answered(status, "why")
        assert await association.echo(3) == Answered(0)
        assert not association.over
        await association.release()
        assert association.over


async def test_peer_has_what_was_sent() -> None:
    """Every CT sample, in its own transfer syntax, byte for byte."""
    got: list[bytes] = []

    def keep(event: evt.Event) -> int:
        got.append(event.encoded_dataset(include_meta=False))
        return 0

    chosen = await outgoing_all(
        [each for each in samples() if (each.sop_class, each.transfer_syntax) == (CT, EXPLICIT)]
    )
    assert chosen
    async with pynetdicom((evt.EVT_C_STORE, keep), maximum_pdu_size=4096) as port, associated(port) as association:
        assert association.maximum_length == 4096
        assert association.implementation_version_name.startswith("PYNETDICOM")
        for instance in chosen:
            assert await association.store(1, instance) == Answered(0)
        await association.release()
    assert got == [data_set(instance) for instance in chosen]


async def test_contexts_are_answered_one_by_one() -> None:
    """What the peer does not support is told as such."""
    contexts = (*CONTEXTS, PresentationContext(5, "1.2.3", (EXPLICIT,)), PresentationContext(7, CT, ("1.2.3",)))
    async with pynetdicom() as port:
        association = await associate(address(port), contexts, deadlines=deadlines(), buffers=Buffers(1))
        assert [answer.result for answer in association.contexts] == [
            ContextResult.ACCEPTANCE,
            ContextResult.ACCEPTANCE,
            ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED,
            ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED,
        ]
        await association.release()


@pytest.mark.parametrize(
    ("settings", "codes"),
    [({"require_called_aet": True, "ae_title": "OTHER"}, (1, 1, 7)), ({"require_calling_aet": ["CT1"]}, (1, 1, 3))],
)
async def test_unknown_ae_title(settings: dict[str, Any], codes: tuple[int, int, int]) -> None:
    """The one refusal that an administrator has to see."""
    async with pynetdicom(**settings) as port:
        failed = await refused(port)
    assert failed.failure.cause is Cause.AE_TITLE_UNKNOWN
    assert failed.rejection == codes
    assert "AE title not recognized" in failed.failure.error


# Before there is an association


@pytest.mark.parametrize("result", [1, 2])
@pytest.mark.parametrize(("source", "reason"), [*scu.REJECTIONS, (1, 9)])
async def test_rejection_is_told_in_words(result: int, source: int, reason: int) -> None:
    """Every code of PS3.8 Table 9-21, and one that is not in it."""

    async def reject(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        await link.transport.send([link.connection.reject(result, source, reason)])
        await until_ended(link)

    async with acting(reject) as port:
        failed = await refused(port)
    assert failed.rejection == (result, source, reason)
    causes = {
        (1, 3): Cause.AE_TITLE_UNKNOWN,
        (1, 7): Cause.AE_TITLE_UNKNOWN,
        (3, 1): Cause.LOCAL_LIMIT,
        (3, 2): Cause.LOCAL_LIMIT,
    }
    assert failed.failure.cause is causes.get((source, reason), Cause.ASSOCIATION_REJECTED)
    assert ("permanently" if result == 1 else "for now") in failed.failure.error
    assert scu.REJECTIONS.get((source, reason), "reason 9 of source 1") in failed.failure.error


def _says(content: bytes) -> Callable[[Link[Acceptor]], Any]:
    async def script(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        await link.transport.send([content])
        await until_ended(link)

    return script


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(struct.pack(">BxIBBBB", 7, 4, 0, 0, 2, 1), id="A-ABORT"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP"),
        pytest.param(struct.pack(">BxI", 2, 0xFFFFFFFF), id="4 GiB"),
        pytest.param(p_data(pdv(1, 3, command_set({0x100: b"\1\0"}))), id="P-DATA-TF"),
        pytest.param(struct.pack(">BxI", 2, 68) + bytes(68), id="empty A-ASSOCIATE-AC"),
    ],
)
async def test_no_association_in_place_of_one(said: bytes) -> None:
    """An abort, or what is no DICOM: another strategy may help (cause «aborted»), or no context is usable."""
    async with acting(_says(said)) as port:
        if said[:1] == b"\2" and len(said) > 6:
            async with associated(port) as association:
                assert {answer.transfer_syntax for answer in association.contexts} == {None}
            return
        failed = await refused(port)
    assert failed.failure.cause is Cause.ASSOCIATION_ABORTED
    assert failed.rejection is None


async def test_closed_before_an_answer() -> None:
    """As an abort."""

    async def close(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)

    async with acting(close) as port:
        assert (await refused(port)).failure.cause is Cause.ASSOCIATION_ABORTED


async def test_reset_before_an_answer() -> None:
    """As an abort."""

    async def reset(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        _reset(link)

    async with acting(reset) as port:
        assert (await refused(port)).failure.cause is Cause.ASSOCIATION_ABORTED


def _reset(link: Link[Acceptor]) -> None:
    link.transport._socket.setsockopt(  # type: ignore[attr-defined]  # a SocketTransport
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


async def test_silence_before_an_answer() -> None:
    """A timeout of its own, and the peer is aborted."""
    said: list[Any] = []

    async def mute(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        said.append(await link.event(PATIENCE))

    async with acting(mute) as port:
        failed = await refused(port, deadlines(association=MOMENT))
        assert failed.failure.cause is Cause.ASSOCIATION_TIMEOUT
    assert [type(event) for event in said] == [Aborted]


async def test_nobody_listens(free_port: Callable[[], int]) -> None:
    """Connection refused, in words."""
    failed = await refused(free_port())
    assert failed.failure.cause is Cause.CONNECT_FAILED
    assert "PACS at 127.0.0.1" in failed.failure.error


async def test_nobody_answers() -> None:
    """A host that does not even refuse: the deadline ends it."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        failed = await refused(port, deadlines(connect=MOMENT))
        for filler in fillers:
            filler.close()
    assert failed.failure.cause is Cause.CONNECT_FAILED
    assert "0.2 s" in failed.failure.error


@pytest.mark.parametrize("host", ["name.invalid", "a..b", "x" * 64 + ".example", "ü..b"])
async def test_name_that_cannot_be_resolved(host: str) -> None:
    """Also a name that is none."""
    failed = await refused(104, host=host)
    assert failed.failure.cause is Cause.NAME_NOT_RESOLVED
    assert host in failed.failure.error


async def test_title_that_cannot_be_written() -> None:
    """A modality's own title may be none (control characters, escaped): an outcome, not a crash."""
    async with acting(until_ended) as port:
        failed = await refused(port, calling_ae_title="\\x1b" * 5)
    assert failed.failure.cause is Cause.ASSOCIATION_REJECTED
    assert "calling AE title" in failed.failure.error


async def test_cancelled_while_associating() -> None:
    """The connection is closed."""
    closed = anyio.Event()

    async def wait(link: Link[Acceptor]) -> None:
        await link.event(PATIENCE)
        asked.set()
        assert await link.event(PATIENCE) == Closed()
        closed.set()

    asked = anyio.Event()
    async with acting(wait) as port, anyio.create_task_group() as asking:
        asking.start_soon(refused, port)
        await asked.wait()
        asking.cancel_scope.cancel()
    with anyio.fail_after(PATIENCE):
        async with acting(wait) as port:
            with anyio.move_on_after(MOMENT.total_seconds()):
                await refused(port)
            await closed.wait()


# During C-STORE


async def _object(link: Link[Acceptor]) -> StoreRequested:
    """Take a whole object."""
    request = await link.event(PATIENCE)
    assert isinstance(request, StoreRequested)
    async for _ in link.pieces(PATIENCE):
        pass
    return request


def _after_object(act: Callable[[Link[Acceptor], StoreRequested], Any]) -> Callable[[Link[Acceptor]], Any]:
    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await act(link, await _object(link))

    return script


def _answers(change: Callable[[bytes], bytes]) -> Callable[[Link[Acceptor]], Any]:
    async def act(link: Link[Acceptor], request: StoreRequested) -> None:
        await link.transport.send([change(link.connection.store_answer(request, 0))])
        await until_ended(link)

    return _after_object(act)


ANOTHER_ID = b"\x20\x01\2\0\0\0\1\0", b"\x20\x01\2\0\0\0\7\0"
NO_STATUS = b"\0\x09\2\0\0\0\0\0", b"\1\x09\2\0\0\0\0\0"
ECHO_RSP = b"\x01\x80", b"\x30\x80"
NO_ANSWERS: dict[str, tuple[Callable[[bytes], bytes], Cause]] = {
    "another message id": (lambda answer: answer.replace(*ANOTHER_ID), Cause.PROTOCOL_ERROR),
    "no status": (lambda answer: answer.replace(*NO_STATUS), Cause.PROTOCOL_ERROR),
    "C-ECHO-RSP": (lambda answer: answer.replace(*ECHO_RSP), Cause.PROTOCOL_ERROR),
    "garbage": (lambda _: Random(3).randbytes(100), Cause.PROTOCOL_ERROR),
    "A-RELEASE-RQ": (lambda _: struct.pack(">BxI", 5, 4) + bytes(4), Cause.PROTOCOL_ERROR),
    "A-ABORT": (lambda _: struct.pack(">BxIBBBB", 7, 4, 0, 0, 0, 0), Cause.STORE_ABORTED),
}


@pytest.mark.parametrize(("change", "cause"), NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
async def test_what_is_no_answer(change: Callable[[bytes], bytes], cause: Cause, small: Outgoing) -> None:
    """None of them counts as stored; the association is over."""
    async with acting(_answers(change)) as port, associated(port) as association:
        answer = await association.store(1, small)
        assert isinstance(answer, Failed)
        assert answer.cause is cause
        assert "C-STORE" in answer.error
        assert association.over


async def test_answer_is_for_the_message_that_was_sent(small: Outgoing) -> None:
    """Message ids go up, and start again after the last."""
    ids: list[int] = []

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        for _ in range(3):
            request = await _object(link)
            ids.append(request.message_id)
            await link.transport.send([link.connection.store_answer(request, 0)])
        await until_ended(link)

    async with acting(script) as port, associated(port) as association:
        association._message_id = 0xFFFE
        for _ in range(3):
            assert await association.store(1, small) == Answered(0)
    assert ids == [0xFFFF, 1, 2]


async def test_closed_after_the_last_fragment(small: Outgoing) -> None:
    """The peer may have it or not: connection lost."""

    async def close(link: Link[Acceptor], _: StoreRequested) -> None:
        pass

    async with acting(_after_object(close)) as port, associated(port) as association:
        answer = await association.store(1, small)
        assert isinstance(answer, Failed)
        assert answer.cause is Cause.CONNECTION_LOST
        assert not await association.still_open()


async def test_reset_after_the_last_fragment(small: Outgoing) -> None:
    """Likewise."""

    async def close(link: Link[Acceptor], _: StoreRequested) -> None:
        _reset(link)

    async with acting(_after_object(close)) as port, associated(port) as association:
        answer = await association.store(1, small)
        assert isinstance(answer, Failed)
        assert answer.cause is Cause.CONNECTION_LOST


async def test_silence_in_place_of_an_answer(small: Outgoing) -> None:
    """Aborted after the deadline."""
    said: list[Any] = []

    async def mute(link: Link[Acceptor], _: StoreRequested) -> None:
        said.append(await link.event(PATIENCE))

    async with acting(_after_object(mute)) as port, associated(port, deadlines(response=MOMENT)) as association:
        answer = await association.store(1, small)
        assert isinstance(answer, Failed)
        assert answer.cause is Cause.RESPONSE_TIMEOUT
    assert [type(event) for event in said] == [Aborted]


async def test_peer_that_stops_reading(large: Outgoing) -> None:
    """What does not go on is given up; the object never becomes complete."""
    released = anyio.Event()

    async def deaf(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await released.wait()

    async with acting(deaf) as port:
        async with associated(port, deadlines(response=MOMENT)) as association:
            answer = await association.store(1, large)
            assert isinstance(answer, Failed)
            assert answer.cause is Cause.RESPONSE_TIMEOUT
            assert "took no bytes" in answer.error
            assert association.over
        released.set()


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
async def test_peer_that_leaves_in_mid_object(how: str, large: Outgoing) -> None:
    """An abort is recognised as such even though sending failed first."""

    async def leave(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.event(PATIENCE)
        if how == "abort":
            await link.transport.send([link.connection.abort(2, 6)])
        if how == "reset":
            _reset(link)

    async with acting(leave) as port, associated(port) as association:
        answer = await association.store(1, large)
        assert isinstance(answer, Failed)
        assert answer.cause is (Cause.STORE_ABORTED if how == "abort" else Cause.CONNECTION_LOST)
        if how == "abort":
            assert "source 2, reason 6" in answer.error
        assert association.over


@pytest.mark.parametrize("size", [1000, (1 << 20) + 1000])
@pytest.mark.parametrize("damage", ["digest", "short", "missing"])
async def test_damaged_payload_never_becomes_complete(size: int, damage: str, tmp_path: Path) -> None:
    """The association is aborted before the last fragment leaves."""
    ends: list[Any] = []
    fragments: list[Fragment] = []

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        while not isinstance(event := await link.event(PATIENCE), Aborted | Closed):
            if isinstance(event, Fragment):
                fragments.append(event)
        ends.append(event)

    instance = written(tmp_path / "payload", b"\1" * size, digest="0" * 32 if damage == "digest" else None)
    if damage == "short":
        instance.path.write_bytes(b"\1" * (size - 1))
    elif damage == "missing":
        instance.path.unlink()
    async with acting(script) as port, associated(port) as association:
        answer = await association.store(1, instance)
        assert isinstance(answer, Failed)
        assert answer.cause is (Cause.PAYLOAD_MISSING if damage == "missing" else Cause.PAYLOAD_DAMAGED)
        assert "payload" in answer.error
        assert association.over
        with anyio.fail_after(PATIENCE):
            while not ends:
                await anyio.lowlevel.checkpoint()
    assert [type(end) for end in ends] == [Aborted]
    assert not any(fragment.last for fragment in fragments)


async def test_empty_data_set_is_sent(tmp_path: Path) -> None:
    """One empty last fragment."""
    async with acting(_answers(lambda answer: answer)) as port, associated(port) as association:
        assert await association.store(1, written(tmp_path / "empty", b"")) == Answered(0)


async def test_cancelled_in_mid_object(large: Outgoing) -> None:
    """The association is over, the connection closed, the buffer given back."""
    began = anyio.Event()

    async def deaf(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.event(PATIENCE)
        began.set()
        await until_ended(link)

    async with acting(deaf) as port, associated(port) as association:
        async with anyio.create_task_group() as sending:
            sending.start_soon(association.store, 1, large)
            await began.wait()
            sending.cancel_scope.cancel()
        assert association.over


# C-ECHO


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"", Cause.CONNECTION_LOST),
        (struct.pack(">BxIBBBB", 7, 4, 0, 0, 0, 0), Cause.STORE_ABORTED),
        (b"garbage", Cause.PROTOCOL_ERROR),
    ],
)
async def test_echo_without_an_answer(said: bytes, cause: Cause) -> None:
    """Says what happened, and ends the association."""

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        assert isinstance(await link.event(PATIENCE), EchoRequested)
        await link.transport.send([said])

    async with acting(script) as port, associated(port) as association:
        answer = await association.echo(3)
        assert isinstance(answer, Failed)
        assert answer.cause is cause
        assert "C-ECHO" in answer.error
        assert association.over


async def test_echo_and_silence() -> None:
    """The deadline of an association."""

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await until_ended(link)

    async with acting(script) as port, associated(port, deadlines(association=timedelta(seconds=1))) as association:
        association._deadlines = deadlines(association=MOMENT)
        answer = await association.echo(3)
        assert isinstance(answer, Failed)
        assert answer.cause is Cause.RESPONSE_TIMEOUT


# The end


async def _released(script: Callable[[Link[Acceptor]], Any]) -> None:
    async with acting(script) as port, associated(port) as association:
        with anyio.fail_after(PATIENCE):
            await association.release()
        assert association.over
        await association.release()  # once more is nothing
        assert not await association.still_open()


async def test_release_is_confirmed() -> None:
    """In order."""

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        assert isinstance(await link.event(PATIENCE), ReleaseRequested)
        await link.transport.send([link.connection.confirm_release()])
        assert await link.event(PATIENCE) == Closed()

    await _released(script)


async def test_release_collision() -> None:
    """Both ask: the requestor answers first (PS3.8 9.2.3), and then it is over."""
    ends: list[Any] = []

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.transport.send([link.connection.release()])
        ends.append(await link.event(PATIENCE))
        await link.transport.send([link.connection.confirm_release()])

    async with acting(script) as port, associated(port) as association:
        await association.release()
    assert ends


@pytest.mark.parametrize("said", [b"", b"garbage", struct.pack(">BxIBBBB", 7, 4, 0, 0, 0, 0)])
async def test_release_answered_otherwise(said: bytes) -> None:
    """Every instance has its answer: how the association ends changes nothing."""

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.event(PATIENCE)
        await link.transport.send([said])

    await _released(script)


async def test_release_that_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a peer that keeps talking is left after a moment."""
    monkeypatch.setattr(scu, "RELEASE_WITHIN", MOMENT.total_seconds())
    echo_rsp = p_data(pdv(3, 3, command_set({0x100: b"\x30\x80", 0x120: b"\1\0", 0x800: b"\1\1", 0x900: b"\0\0"})))

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.event(PATIENCE)
        with suppress(OSError):
            while True:
                await link.transport.send([echo_rsp])
                with anyio.move_on_after(MOMENT.total_seconds() / 4):
                    await anyio.Event().wait()

    await _released(script)


@pytest.mark.parametrize(
    ("said", "open_"),
    [
        pytest.param(b"", True, id="nothing"),
        pytest.param(struct.pack(">BxIBBBB", 7, 4, 0, 0, 0, 0), False, id="A-ABORT"),
        pytest.param(struct.pack(">BxI", 5, 4) + bytes(4), False, id="A-RELEASE-RQ"),
        pytest.param(b"garbage", False, id="garbage"),
    ],
)
async def test_still_open(said: bytes, *, open_: bool) -> None:
    """Whether the next instance can go over it."""
    spoken = anyio.Event()

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.transport.send([said])
        spoken.set()
        await until_ended(link)

    async with acting(script) as port, associated(port) as association:
        await spoken.wait()
        assert await association.still_open() is open_
        assert association.over is not open_


async def test_still_open_after_the_peer_closed() -> None:
    """A closed connection is noticed."""
    done = anyio.Event()

    async def script(link: Link[Acceptor]) -> None:
        await accept_all(link)
        await link.transport.aclose()
        done.set()

    async with acting(script) as port, associated(port) as association:
        await done.wait()
        assert not await association.still_open()


# DCMTK


@pytest.mark.endtoend
async def test_dcmtk_has_what_was_sent(
    dcmtk: Callable[[str], Path], free_port: Callable[[], int], tmp_path: Path
) -> None:
    """DCMTK's storescp writes the very bytes, for native and compressed objects."""
    chosen = await outgoing_all(samples())
    # DCMTK aborts on an odd last fragment, though it is the data set that is odd (PS3.5 7.1.1 forbids it, some are).
    even = [instance for instance in chosen if (instance.size - instance.header_size) % 2 == 0]
    unique = list({instance.identity.sop_instance: instance for instance in even}.values())
    pairs = list({(each.identity.sop_class, each.identity.transfer_syntax): 0 for each in unique})
    contexts = [PresentationContext(2 * number + 1, *pair[:1], pair[1:]) for number, pair in enumerate(pairs)]
    port = free_port()
    command = [str(dcmtk("storescp")), "+B", "+uf", "+xa", "-od", str(tmp_path), str(port)]
    async with await anyio.open_process(command) as storescp:
        try:
            association = await _once_up(port, contexts)
            sent = []
            for instance in unique:
                pair = instance.identity.sop_class, instance.identity.transfer_syntax
                if association.contexts[pairs.index(pair)].transfer_syntax is None:
                    continue
                assert await association.store(2 * pairs.index(pair) + 1, instance) == Answered(0)
                sent.append(instance)
            await association.release()
        finally:
            storescp.terminate()
    files = [Path(str(path)) async for path in anyio.Path(tmp_path).iterdir()]
    received = {str(dcmread(path, force=True).file_meta.MediaStorageSOPInstanceUID): path for path in files}
    assert len(sent) > 20
    for instance in sent:
        stored = received[instance.identity.sop_instance].read_bytes()
        assert stored.endswith(data_set(instance)), instance.path.name


async def _once_up(port: int, contexts: list[PresentationContext]) -> OutgoingAssociation:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                return await associate(address(port), contexts, deadlines=deadlines(), buffers=Buffers(1))
            except AssociationFailedError:
                with anyio.move_on_after(0.05):  # or the two of us would keep it from starting
                    await anyio.Event().wait()
