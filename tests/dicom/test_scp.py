"""What a Storage and Verification SCP does for its peers, good ones and bad ones."""

import resource
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ

from router.dicom.buffers import SIZE, Buffers
from router.dicom.door import UNASSOCIATED_OF_A_HOST
from router.dicom.incoming import MAXIMUM_LENGTH, Answer
from router.dicom.link import PeerLeftError, PeerTimeoutError
from router.dicom.scp import Scp
from router.dicom.scu import OutgoingAssociation
from router.dicom.scu import associate as open_association
from router.journal import (
    AssociationAccepted,
    AssociationLost,
    AssociationRefused,
    AssociationReleased,
    ConnectionRefused,
    InstanceRefused,
    Journal,
)
from router.model.outcome import Answered
from router.model.presentation_context import PresentationContext
from router.protocol import Aborted, AssociationRejected, EchoAnswered, ProtocolError, ReleaseConfirmed, StoreAnswered
from router.protocol import AssociationAccepted as Accepted
from router.rules.acceptance import Allowed, Listener
from tests.dicom.peers import (
    MOMENT,
    NOW,
    PATIENCE,
    Collector,
    Serving,
    abort,
    address,
    all_given_back,
    associated,
    calling,
    data_set,
    deadlines,
    hasty,
    listener,
    outgoing_all,
    send_object,
    serving,
    store_rq,
)
from tests.protocol.pair import CT, EXPLICIT, IMPLICIT, VERIFICATION, associate, command_set, p_data, pdu, pdv, us
from tests.samples import Sample, large_samples, samples

pytestmark = pytest.mark.unit

TEN = ip_network("10.0.0.0/8")
MR = "1.2.840.10008.5.1.4.1.1.4"
CONTEXT_OF = {(sample.sop_class, sample.transfer_syntax): 0 for sample in (*samples(), *large_samples())}
CONTEXTS_FOR_SAMPLES = tuple(
    PresentationContext(2 * number + 1, sop_class, (syntax,)) for number, (sop_class, syntax) in enumerate(CONTEXT_OF)
)


async def unharmed(server: Serving) -> None:
    """The next association works."""
    async with associated(server.port) as link:
        await link.transport.send([link.connection.echo_request(3, 1)])
        assert isinstance(await link.event(PATIENCE), EchoAnswered)
        await link.transport.send([link.connection.release()])
        assert isinstance(await link.event(PATIENCE), ReleaseConfirmed)
    await server.diary.saw(AssociationReleased)


# Objects


async def opened(port: int) -> OutgoingAssociation:
    """Our own SCU, with a context for each kind of sample."""
    return await open_association(
        address(port, called_ae_title="ROUTER"), CONTEXTS_FOR_SAMPLES, deadlines=deadlines(), buffers=Buffers(1)
    )


@pytest.mark.parametrize("chosen", [samples, large_samples])
async def test_every_sample_arrives_byte_for_byte(chosen: Callable[[], tuple[Sample, ...]]) -> None:
    """Whatever its transfer syntax: what the receiver gets are the bytes of the file behind its head."""
    contexts = {(each.abstract_syntax, each.transfer_syntaxes[0]): each.id for each in CONTEXTS_FOR_SAMPLES}
    async with serving() as server:
        association = await opened(server.port)
        for instance in await outgoing_all(chosen()):
            context_id = contexts[instance.identity.sop_class, instance.identity.transfer_syntax]
            assert await association.store(context_id, instance) == Answered(0)
            taken = server.receiver.taken.pop()
            assert taken.content == data_set(instance), instance.path.name
            assert taken.offer.identity == instance.identity
        await association.release()
    assert [type(event) for event in server.diary.events] == [AssociationAccepted, AssociationReleased]


async def test_pynetdicom_delivers_every_sample_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that is not ours, with the file's own bytes."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    chosen = samples()

    def send(port: int) -> list[int]:
        ae = AE("CT1")
        ae.maximum_pdu_size = 16384
        contexts = [build_context(sample.sop_class, sample.transfer_syntax) for sample in chosen]
        unique = {(each.abstract_syntax, tuple(each.transfer_syntax)): each for each in contexts}
        association = ae.associate("127.0.0.1", port, list(unique.values()), ae_title="ROUTER")
        assert association.is_established
        statuses = [association.send_c_store(sample.path).Status for sample in chosen]
        association.release()
        return statuses

    async with serving() as server:
        statuses = await anyio.to_thread.run_sync(send, server.port)
    assert set(statuses) == {0}
    expected = [data_set(instance) for instance in await outgoing_all(chosen)]
    assert [taken.content for taken in server.receiver.taken] == expected


async def test_large_object_in_bounded_pieces() -> None:
    """40 MiB flow through one buffer, over and over."""
    content = Random(0).randbytes(40 << 20)
    async with serving() as server, associated(server.port) as link:
        await send_object(link, content)
        assert isinstance(await link.event(PATIENCE), StoreAnswered)
        (taken,) = server.receiver.taken
        assert taken.content == content
        assert taken.pieces >= len(content) // SIZE
        assert len(server.buffers._free) <= 1
        await link.transport.send([link.connection.release()])
        await link.event(PATIENCE)
    assert len(server.buffers._free) == 8  # by the check that all can be borrowed


async def test_who_finds_no_buffer_waits() -> None:
    """Two objects and one buffer: one after the other, and neither is lost."""
    receiver, buffers = Collector(), Buffers(1)
    scp = Scp(listener(), receiver, journal=Journal(), buffers=buffers, clock=lambda: NOW)
    contents = [bytes([number]) * (3 << 20) for number in range(2)]

    async def send(content: bytes) -> None:
        async with associated(scp.port) as link:
            await send_object(link, content)
            assert isinstance(await link.event(PATIENCE), StoreAnswered)

    async with anyio.create_task_group() as running:
        await running.start(scp.serve)
        async with anyio.create_task_group() as sending:
            for content in contents:
                sending.start_soon(send, content)
        scp.stop()
    assert sorted(taken.content for taken in receiver.taken) == contents
    await all_given_back(buffers, 1)


async def test_reload_raises_the_buffers() -> None:
    """As many associations as may be open may receive at the same time."""
    buffers = Buffers(1)
    scp = Scp(listener(max_associations=1), Collector(), journal=Journal(), buffers=buffers, clock=lambda: NOW)
    scp.configure(listener(max_associations=3))
    await all_given_back(buffers, 3)


async def test_idle_association_holds_no_buffer() -> None:
    """What one has borrowed for its object, the next one may have as soon as it is answered."""
    buffers = Buffers(1)
    scp = Scp(listener(), Collector(), journal=Journal(), buffers=buffers, clock=lambda: NOW)
    async with anyio.create_task_group() as running:
        await running.start(scp.serve)
        async with associated(scp.port) as first, associated(scp.port) as second:
            for link in (first, second, first):
                await send_object(link, b"abcd")
                assert isinstance(await link.event(PATIENCE), StoreAnswered)
        scp.stop()


async def test_offer_names_sender_and_instance() -> None:
    """The envelope is what the association said, the identity what command and context said."""
    async with serving() as server, associated(server.port) as link:
        await send_object(link, b"\0" * 10)
        await link.event(PATIENCE)
        (taken,) = server.receiver.taken
        envelope = taken.offer.envelope
        own = link.transport._socket.getsockname()  # type: ignore[attr-defined]  # a SocketTransport
        assert (envelope.calling_ae_title, envelope.called_ae_title) == ("CT1", "ROUTER")
        assert (envelope.peer_host, envelope.peer_port) == own
        assert envelope.received_at == NOW
        accepted = await server.diary.saw(AssociationAccepted)
        assert (accepted.association, accepted.accepted_contexts, accepted.rejected_contexts) == (
            envelope.association,
            3,
            0,
        )
        assert (taken.offer.identity.sop_instance, taken.offer.identity.transfer_syntax) == ("1.2.3.4", EXPLICIT)


@pytest.mark.parametrize("size", [2, 5 << 20])
async def test_early_answer_keeps_association_usable(size: int) -> None:
    """A receiver that has seen enough need not read on: the rest is passed over, and the next object is served."""
    receiver = Collector(Answer(0xA700, "no room"), reads=False)
    async with serving(receiver=receiver) as server, associated(server.port) as link:
        for _ in range(3):
            await send_object(link, b"\1" * size)
            answer = await link.event(PATIENCE)
            assert isinstance(answer, StoreAnswered)
            assert (answer.status, answer.error_comment, answer.message_id) == (0xA700, "no room", 7)
        receiver.reads = True
        await send_object(link, b"\2" * size)
        await link.event(PATIENCE)
        assert receiver.taken[0].content == b"\2" * size


async def test_pipelined_requests_are_answered_in_turn() -> None:
    """A peer that does not wait for answers gets each of them."""
    async with serving() as server, associated(server.port) as link:
        whole = b"".join((store_rq(link), *link.connection.fragments(1, memoryview(b"abcd"), last=True)))
        await link.transport.send([whole * 3 + link.connection.echo_request(3, 9) + whole])
        kinds = [type(await link.event(PATIENCE)) for _ in range(5)]
    assert kinds == [StoreAnswered, StoreAnswered, StoreAnswered, EchoAnswered, StoreAnswered]
    assert [taken.content for taken in server.receiver.taken] == [b"abcd"] * 4


async def test_sop_class_other_than_the_context_is_refused() -> None:
    """A900H, the data set is passed over, and the log says so."""
    async with serving() as server, associated(server.port) as link:
        await send_object(link, b"\0" * 3000, MR)
        answer = await link.event(PATIENCE)
        assert isinstance(answer, StoreAnswered)
        assert answer.status == 0xA900
        refused = await server.diary.saw(InstanceRefused)
        assert (refused.status, refused.sop_class, refused.calling_ae_title) == ("A900H", MR, "CT1")
        await send_object(link, b"ab")
        assert isinstance(await link.event(PATIENCE), StoreAnswered)
    assert [taken.content for taken in server.receiver.taken] == [b"ab"]


async def test_unknown_command_is_answered() -> None:
    """C-FIND gets 0211H «unrecognized operation», its identifier is passed over, a C-CANCEL gets nothing."""
    find = command_set({2: CT.encode() + b"\0", 0x100: b"\x20\0", 0x110: b"\x09\0", 0x800: b"\1\0"})
    cancel = command_set({0x100: b"\xff\x0f", 0x120: b"\x09\0", 0x800: b"\1\1"})
    async with serving() as server, associated(server.port) as link:
        await link.transport.send([p_data(pdv(1, 3, find), pdv(1, 2, b"\0" * 64)), p_data(pdv(1, 3, cancel))])
        await link.transport.send([link.connection.echo_request(3, 2)])
        buffer = memoryview(bytearray(4096))
        said = b""
        with anyio.fail_after(PATIENCE):
            while us(0x120, 2) not in said:
                said += bytes(buffer[: await link.transport.receive_into(buffer)])
        assert us(0x900, 0x0211) in said
        assert us(0x120, 9) in said
        assert said.count(us(0x900, 0)) == 1


async def test_verification_by_pynetdicom() -> None:
    """C-ECHO is answered with success."""

    def echo(port: int) -> int:
        ae = AE("ANY")
        association = ae.associate("127.0.0.1", port, [build_context(VERIFICATION)], ae_title="ROUTER")
        status: int = association.send_c_echo().Status
        association.release()
        return status

    async with serving() as server:
        assert await anyio.to_thread.run_sync(echo, server.port) == 0


# Refusals


@pytest.mark.parametrize(
    ("rules", "codes"),
    [
        (listener(ae_titles=("OTHER",)), (1, 1, 7)),
        (listener(allow_any=False, allow=(Allowed("MR*"),)), (1, 1, 3)),
        (
            listener(allow_any=False, allow=(Allowed("CT1", (TEN,)), Allowed("MR1", (ip_network("127.0.0.0/8"),)))),
            (1, 1, 3),
        ),
        (listener(max_associations=0), (2, 3, 2)),
        (listener(max_associations_per_host=0), (2, 3, 2)),
    ],
)
async def test_refused_association_says_why(rules: Listener, codes: tuple[int, int, int]) -> None:
    """The peer sees the A-ASSOCIATE-RJ with the codes of PS3.8 Table 9-21, the log one line."""

    def ask(port: int) -> list[tuple[int | None, int | None, int | None]]:
        # As a PDU: whether the association calls itself rejected or aborted is a race between pynetdicom's threads.
        seen: list[tuple[int | None, int | None, int | None]] = []

        def note(event: evt.Event) -> None:
            assert isinstance(event.pdu, A_ASSOCIATE_RJ)
            seen.append((event.pdu.result, event.pdu.source, event.pdu.reason_diagnostic))

        contexts = [build_context(VERIFICATION)]
        association = AE("CT1").associate(
            "127.0.0.1", port, contexts, ae_title="ROUTER", evt_handlers=[(evt.EVT_PDU_RECV, note)]
        )
        assert not association.is_established
        return seen

    async with serving(rules) as server:
        assert await anyio.to_thread.run_sync(ask, server.port) == [codes]
    (refused,) = server.diary.events
    assert isinstance(refused, AssociationRefused)
    assert (refused.calling_ae_title, refused.called_ae_title, refused.peer) == ("CT1", "ROUTER", "127.0.0.1")
    assert refused.error


async def test_who_is_allowed_associates() -> None:
    """By title and network together."""
    rules = listener(allow_any=False, allow=(Allowed("CT*", (ip_network("127.0.0.0/8"),)),))
    async with serving(rules) as server:
        await unharmed(server)


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (lambda request: request.replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.2"), (1, 1, 2)),
        (lambda request: request[:6] + struct.pack(">H", 2) + request[8:], (1, 2, 2)),
    ],
)
async def test_foreign_protocol_is_rejected(spoil: Callable[[bytes], bytes], codes: tuple[int, int, int]) -> None:
    """Another application context, or protocol version: rejected, with one line in the log."""
    async with serving() as server:
        async with calling(server.port) as link:
            await link.transport.send([spoil(associate(link.connection))])
            assert await link.event(PATIENCE) == AssociationRejected(*codes)
        await unharmed(server)
    assert len(server.diary.of(AssociationRefused)) == 1


async def test_limits_count_open_associations_only() -> None:
    """The third of two is told «local limit exceeded»; when one ends there is room again."""
    rules = listener(max_associations=2, max_associations_per_host=2)
    async with serving(rules) as server, associated(server.port):
        async with associated(server.port) as second:
            async with calling(server.port) as third:
                await third.transport.send([associate(third.connection)])
                assert await third.event(PATIENCE) == AssociationRejected(2, 3, 2)
            await second.transport.send([second.connection.release()])
            assert isinstance(await second.event(PATIENCE), ReleaseConfirmed)
        await unharmed(server)
    assert not server.scp._door._associations


def _large_request(link: Any) -> bytes:
    syntaxes = tuple(f"1.2.3.{number}" for number in range(20))
    contexts = [PresentationContext(2 * number + 1, f"1.2.4.{number}", syntaxes) for number in range(128)]
    request = associate(link.connection, contexts)
    assert len(request) > 16 * 1024
    return request


async def test_large_requests_cannot_pass_the_limit_together() -> None:
    """A long A-ASSOCIATE-RQ is read in a thread: those judged meanwhile must not find the same free place."""
    verdicts: list[type] = []

    async def ask() -> None:
        async with calling(server.port) as link:
            await link.transport.send([_large_request(link)])
            verdicts.append(type(await link.event(PATIENCE)))
            await everybody_answered.wait()

    everybody_answered = anyio.Event()
    async with serving(listener(max_associations_per_host=1)) as server, anyio.create_task_group() as asking:
        for _ in range(4):
            asking.start_soon(ask)
        with anyio.fail_after(PATIENCE):
            while len(verdicts) < 4:
                await anyio.lowlevel.checkpoint()
        everybody_answered.set()
    assert sorted(kind.__name__ for kind in verdicts) == ["AssociationAccepted"] + ["AssociationRejected"] * 3


async def test_large_malformed_request_is_aborted() -> None:
    """What is found in the thread ends the association as it does elsewhere."""
    async with serving() as server:
        async with calling(server.port) as link:
            request = _large_request(link)
            at = request.index(b"\x20\x00", 74) + 4
            even = request[:at] + b"\x02" + request[at + 1 :]
            await link.transport.send([even])
            assert isinstance(await link.event(PATIENCE), Aborted)
        assert "is even" in (await server.diary.saw(ConnectionRefused)).error
        await unharmed(server)


async def test_connections_without_association_are_limited() -> None:
    """Connections that say nothing find room for some, not for any number."""
    async with serving(listener(max_associations_per_host=1)) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(UNASSOCIATED_OF_A_HOST + 1 + 3)]
        with anyio.fail_after(PATIENCE):
            while len(server.diary.events) < 3:
                await anyio.lowlevel.checkpoint()
        assert {event.error for event in server.diary.of(ConnectionRefused)} == {
            "too many connections without an association are open from this host"
        }
        assert len(server.diary.events) == 3
        for connection in silent:
            connection.close()


async def test_out_of_descriptors_is_said_and_survived() -> None:
    """A connection that cannot be accepted now is accepted when there are descriptors again."""
    async with serving() as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as peer:
            peer.connect(("127.0.0.1", server.port))
            lowest = socket.socket()
            free = lowest.fileno()
            lowest.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                refused = await server.diary.saw(ConnectionRefused)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "cannot accept connections" in refused.error
        await unharmed(server)


# What bad input gets

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)
NOT_DICOM = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: router\r\n\r\n",
    "TLS": TLS_HELLO,
    "garbage": Random(1).randbytes(4096),
    "zeros": bytes(100),
    "a PDU of 4 GiB": struct.pack(">BxI", 1, 0xFFFFFFFF),
    "a P-DATA-TF first": p_data(pdv(1, 2, b"abcd")),
    "an A-ASSOCIATE-RQ without items": pdu(
        1, struct.pack(">H2x", 1) + b"ROUTER".ljust(16) + b"CT1".ljust(16) + bytes(32)
    ),
}


@pytest.mark.parametrize("said", NOT_DICOM.values(), ids=NOT_DICOM.keys())
async def test_not_dicom_is_aborted(said: bytes) -> None:
    """An A-ABORT, one line with the reason, and the next association is unharmed."""
    async with serving() as server:
        async with calling(server.port) as link:
            await link.transport.send([said])
            assert (await rest_after_abort(link))[:1] == b"\x07"
        await server.diary.saw(ConnectionRefused)
        await unharmed(server)
    (refused,) = server.diary.of(ConnectionRefused)
    assert refused.error
    assert refused.peer == "127.0.0.1"
    assert not server.diary.of(AssociationLost)


async def rest_after_abort(link: Any) -> bytes:
    """What is said; our own closing lets the other side end at once."""
    buffer = memoryview(bytearray(64))
    with anyio.fail_after(PATIENCE):
        count = await link.transport.receive_into(buffer)
    return bytes(buffer[:count])


@pytest.mark.parametrize("part", [0, 3, 40, 100])
async def test_part_of_a_request_and_silence(part: int) -> None:
    """The A-ASSOCIATE-RQ has one deadline for all of it, from the connection on."""
    async with serving(hasty(request=MOMENT)) as server:
        async with calling(server.port) as link:
            await link.transport.send([associate(link.connection)[:part]])
            assert await rest_after_abort(link) == abort(0, 0)
        server.scp.configure(listener())
        await unharmed(server)
    assert len(server.diary.of(ConnectionRefused)) == 1


async def test_trickled_request_has_one_deadline() -> None:
    """A byte now and then does not buy more time."""
    async with serving(hasty(request=MOMENT)) as server, calling(server.port) as link:

        async def trickle() -> None:
            for byte in associate(link.connection):
                await link.transport.send([bytes([byte])])
                with anyio.move_on_after(0.05):
                    await server.diary.saw(ConnectionRefused)

        async with anyio.create_task_group() as trickling:
            trickling.start_soon(trickle)
            refused = await server.diary.saw(ConnectionRefused)
            trickling.cancel_scope.cancel()
    assert "deadline" in refused.error


async def test_closed_before_anything_was_said() -> None:
    """A port scan: one line, no more."""
    async with serving() as server:
        async with calling(server.port):
            pass
        refused = await server.diary.saw(ConnectionRefused)
        assert "closed" in refused.error
        await unharmed(server)


async def test_reset_before_anything_was_said() -> None:
    """A reset is a lost connection, not an error of ours."""
    async with serving() as server:
        async with calling(server.port) as link:
            reset(link)
        await server.diary.saw(ConnectionRefused)
        await unharmed(server)


def reset(link: Any) -> None:
    """Close so that the other side gets a reset."""
    link.transport._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


BROKEN_PROTOCOL = {
    "a C-STORE in a context that was not accepted": p_data(pdv(7, 3, command_set({0x100: b"\1\0"}))),
    "a data set without a command": p_data(pdv(1, 2, b"abcd")),
    "a PDU of 4 GiB": struct.pack(">BxI", 4, 0xFFFFFFFF),
    "garbage": Random(2).randbytes(512),
    "a second A-ASSOCIATE-RQ": pdu(1, bytes(100)),
    "a value longer than its PDU": pdu(4, struct.pack(">IBB", 1000, 1, 3) + b"ab"),
    "an A-RELEASE-RP": pdu(6, bytes(4)),
}


@pytest.mark.parametrize("said", BROKEN_PROTOCOL.values(), ids=BROKEN_PROTOCOL.keys())
@pytest.mark.parametrize("in_object", [False, True], ids=["between objects", "in mid-object"])
async def test_broken_protocol_is_aborted(said: bytes, *, in_object: bool) -> None:
    """An A-ABORT by the service provider, one line, nothing kept, the next association unharmed."""
    if in_object and said == BROKEN_PROTOCOL["a data set without a command"]:
        said = p_data(pdv(3, 2, b"abcd"))  # in mid-object it is the context that has none
    async with serving() as server:
        async with associated(server.port) as link:
            if in_object:
                await begin_object(server, link)
            await link.transport.send([said])
            event = await link.event(PATIENCE)
            assert isinstance(event, Aborted)
            assert event.source == 2
        lost = await server.diary.saw(AssociationLost)
        assert lost.error
        await unharmed(server)
    assert len(server.diary.of(AssociationLost)) == 1
    assert not server.diary.of(ConnectionRefused)
    assert not server.receiver.taken
    assert [type(error) for error in server.receiver.broken] == [ProtocolError] * in_object


async def begin_object(server: Serving, link: Any) -> None:
    """More than one buffer of an object, so that the receiver has its first piece."""
    content = memoryview(b"\1" * (SIZE + SIZE // 2))
    await link.transport.send([store_rq(link), *link.connection.fragments(1, content, last=False)])
    with anyio.fail_after(PATIENCE):
        await server.receiver.began.wait()


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
async def test_peer_that_leaves_in_mid_object(how: str) -> None:
    """The receiver is told that the peer left, whatever way it went; nothing is kept."""
    async with serving() as server:
        async with associated(server.port) as link:
            await begin_object(server, link)
            if how == "abort":
                await link.transport.send([link.connection.abort()])
            elif how == "reset":
                reset(link)
        lost = await server.diary.saw(AssociationLost)
        assert lost.error == str(server.receiver.broken[0])
        await unharmed(server)
    assert [type(error) for error in server.receiver.broken] == [PeerLeftError]
    assert not server.receiver.taken
    assert len(server.diary.of(AssociationLost)) == 1


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
async def test_peer_that_leaves_between_objects(how: str) -> None:
    """Without a release it is lost, and the log says how."""
    async with serving() as server:
        async with associated(server.port) as link:
            await send_object(link, b"ab")
            await link.event(PATIENCE)
            if how == "abort":
                await link.transport.send([link.connection.abort()])
            elif how == "reset":
                reset(link)
        assert (await server.diary.saw(AssociationLost)).error
        await unharmed(server)
    assert len(server.receiver.taken) == 1


@pytest.mark.parametrize(
    ("deadline", "said"),
    [
        ("idle", b""),
        ("pdu", struct.pack(">BxI", 4, 1000) + b"only a part"),
    ],
)
async def test_silence_between_objects(deadline: str, said: bytes) -> None:
    """Nothing at all, or the beginning of a PDU: aborted at its deadline."""
    async with serving(hasty(**{deadline: MOMENT})) as server:
        async with associated(server.port) as link:
            await link.transport.send([said])
            assert await link.event(PATIENCE) == Aborted(0, 0)
        assert "deadline" in (await server.diary.saw(AssociationLost)).error
        server.scp.configure(listener())
        await unharmed(server)


@pytest.mark.parametrize(
    ("deadline", "said"),
    [
        ("between_pdus", b""),
        ("pdu", struct.pack(">BxI", 4, 1000) + b"only a part"),
    ],
)
async def test_silence_in_mid_object(deadline: str, said: bytes) -> None:
    """The receiver learns that the peer was too slow; the peer is aborted."""
    async with serving(hasty(**{deadline: MOMENT})) as server:
        async with associated(server.port) as link:
            await begin_object(server, link)
            await link.transport.send([said])
            assert await link.event(PATIENCE) == Aborted(0, 0)
        await server.diary.saw(AssociationLost)
        server.scp.configure(listener())
        await unharmed(server)
    assert [type(error) for error in server.receiver.broken] == [PeerTimeoutError]


class Dawdler(Collector):
    """A receiver whose disk needs longer for a piece than the peer has for its next PDU."""

    async def __call__(self, offer: Any, pieces: Any) -> Answer:  # noqa: ARG002 -- the port's
        """Read, slowly."""
        async for _ in pieces:
            with anyio.move_on_after(2 * MOMENT.total_seconds()):
                await anyio.Event().wait()
            self.began.set()
        return Answer(0)


@pytest.mark.parametrize(("size", "kept_back"), [(SIZE + 4096, 100), (7 * (MAXIMUM_LENGTH - 6), 0)])
async def test_our_own_slowness_is_not_the_peers(size: int, kept_back: int) -> None:
    """While a piece is written the peer's deadlines stand still, also that of a PDU that has begun."""
    rules = hasty(between_pdus=MOMENT, pdu=MOMENT)
    async with serving(rules, Dawdler()) as server, associated(server.port) as link:
        first = b"".join(link.connection.fragments(1, memoryview(bytes(size)), last=False))
        await link.transport.send([store_rq(link), first[: len(first) - kept_back]])
        with anyio.fail_after(PATIENCE):
            await server.receiver.began.wait()
        await checkpoints()
        last = link.connection.fragments(1, memoryview(b"ab"), last=True)
        await link.transport.send([first[len(first) - kept_back :], *last])
        answer = await link.event(PATIENCE)
        assert isinstance(answer, StoreAnswered)
        assert answer.status == 0


async def test_association_without_a_usable_context() -> None:
    """An association of rejected contexts only is one all the same: its loss is told as such."""
    contexts = [PresentationContext(1, "1.2.840.10008.5.1.4.1.2.2.1", (IMPLICIT,))]  # Study Root FIND
    async with serving() as server:
        async with calling(server.port) as link:
            await link.transport.send([associate(link.connection, contexts)])
            answer = await link.event(PATIENCE)
            assert isinstance(answer, Accepted)
            assert answer.contexts[0].transfer_syntax is None
        await server.diary.saw(AssociationLost)
    assert [type(event) for event in server.diary.events] == [AssociationAccepted, AssociationLost]


# Stopping


async def test_stop_aborts_idle_associations_at_once() -> None:
    """And connections that have not said anything; the port is closed."""
    async with serving() as server:
        async with associated(server.port) as idle, calling(server.port) as silent:
            await server.diary.saw(AssociationAccepted)
            await checkpoints()
            server.scp.stop()
            assert await idle.event(PATIENCE) == Aborted(0, 0)
            assert await rest_after_abort(silent) == abort(0, 0)
        with pytest.raises(OSError, match="refused"):
            async with calling(server.port):
                pass
    assert [event.error for event in server.diary.of(AssociationLost)] == ["the router stops"]
    assert [event.error for event in server.diary.of(ConnectionRefused)] == ["the router stops"]


async def checkpoints() -> None:
    """Let what is ready run."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()


async def test_stop_lets_an_object_arrive() -> None:
    """What has begun is finished and answered; then the association is aborted."""
    async with serving() as server, associated(server.port) as link:
        await begin_object(server, link)
        server.scp.stop()
        await link.transport.send(link.connection.fragments(1, memoryview(b"last"), last=True))
        answer = await link.event(PATIENCE)
        assert isinstance(answer, StoreAnswered)
        assert answer.status == 0
        assert await link.event(PATIENCE) == Aborted(0, 0)
    assert server.receiver.taken[0].content.endswith(b"last")
    assert [event.error for event in server.diary.of(AssociationLost)] == ["the router stops"]


async def test_address_that_is_taken() -> None:
    """Two listeners on one port: the second one is told."""
    async with serving() as server:
        second = Scp(listener(port=server.port), Collector(), journal=Journal(), buffers=Buffers(1), clock=lambda: NOW)
        with pytest.raises(OSError, match="in use"):
            await second.serve()


# DCMTK


@pytest.mark.endtoend
async def test_dcmtk_echo_and_store(dcmtk: Callable[[str], Path]) -> None:
    """echoscu, storescu and dcmsend are served, and what arrives is what pydicom reads in the files."""
    chosen = [sample for sample in samples() if sample.path.name in {"CT_small.dcm", "MR_small.dcm"}]
    assert len(chosen) == 2
    files = [str(sample.path) for sample in chosen]
    async with serving() as server:
        target = ["-aec", "ROUTER", "127.0.0.1", str(server.port)]
        await anyio.run_process([str(dcmtk("echoscu")), *target])
        await anyio.run_process([str(dcmtk("storescu")), *target, *files])
        await anyio.run_process([str(dcmtk("dcmsend")), "-aec", "ROUTER", "127.0.0.1", str(server.port), *files])
    assert len(server.receiver.taken) == 4
    assert {taken.offer.identity.sop_instance for taken in server.receiver.taken} == {
        sample.sop_instance for sample in chosen
    }
    assert len(server.diary.of(AssociationReleased)) == 3
