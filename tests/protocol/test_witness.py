"""pynetdicom as the witness: it reads what we write, and writes what we read."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu import (
    A_ABORT_RQ,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    P_DATA_TF,
)
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    UserIdentityNegotiation,
)

from router.model.presentation_context import AnsweredContext, ContextResult, PresentationContext
from router.protocol import (
    Acceptor,
    AssociationAccepted,
    EchoRequested,
    Fragment,
    Requestor,
    StoreAnswered,
    StoreRequested,
    UserIdentity,
)
from tests.protocol.pair import (
    ANSWERS,
    CLASS_UID,
    CONTEXTS,
    CT,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    VERSION,
    ConnectionPair,
    associate,
    feed,
)

pytestmark = pytest.mark.unit


def primitive(*, identity: bool = False) -> A_ASSOCIATE:
    """An A-ASSOCIATE of pynetdicom's own."""
    associate = A_ASSOCIATE()
    associate.application_context_name = UID("1.2.840.10008.3.1.1.1")
    associate.calling_ae_title = "CT1"
    associate.called_ae_title = "ROUTER"
    maximum_length = MaximumLengthNotification()
    maximum_length.maximum_length_received = 16382
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = UID(CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = VERSION
    associate.user_information = [maximum_length, class_uid, version]
    if identity:
        user = UserIdentityNegotiation()
        user.user_identity_type = 2
        user.primary_field = b"someone"
        user.secondary_field = b"passcode"
        associate.user_information.append(user)
    contexts = []
    for proposed in CONTEXTS:
        context = build_context(proposed.abstract_syntax, list(proposed.transfer_syntaxes))
        context.context_id = proposed.id
        contexts.append(context)
    associate.presentation_context_definition_list = contexts
    return associate


def test_its_request_is_read() -> None:
    """An A-ASSOCIATE-RQ of pynetdicom's own."""
    acceptor = Acceptor()
    feed(acceptor, A_ASSOCIATE_RQ(primitive(identity=True)).encode())
    request = acceptor.request()
    assert request.contexts == CONTEXTS
    assert (request.calling_ae_title, request.called_ae_title) == ("CT1", "ROUTER")
    assert (request.maximum_length, request.implementation_class_uid) == (16382, CLASS_UID)
    assert request.implementation_version_name == VERSION
    assert request.user_identity == UserIdentity(2, b"someone", b"passcode")
    assert request.application_context == "1.2.840.10008.3.1.1.1"


def test_it_would_have_written_the_same_request() -> None:
    """Our A-ASSOCIATE-RQ is pynetdicom's, byte for byte."""
    assert associate(Requestor(maximum_length=16382)) == A_ASSOCIATE_RQ(primitive()).encode()


def test_our_acceptance_is_read() -> None:
    """Our A-ASSOCIATE-AC means to pynetdicom what it should."""
    pair = ConnectionPair(acceptor=Acceptor(maximum_length=16382))
    pair.announce()
    read = A_ASSOCIATE_AC()
    content = pair.accept()
    read.decode(content)
    assert len(read) == len(content)
    assert [(context.context_id, context.result) for context in read.presentation_context] == [(1, 0), (3, 0), (5, 3)]
    assert [context.transfer_syntax for context in read.presentation_context[:2]] == [EXPLICIT, IMPLICIT]
    assert (read.called_ae_title.strip(), read.calling_ae_title.strip()) == ("ROUTER", "CT1")
    assert read.user_information is not None
    assert read.user_information.maximum_length == 16382
    assert read.user_information.implementation_class_uid == CLASS_UID
    assert read.user_information.implementation_version_name == VERSION


def test_its_acceptance_is_read() -> None:
    """An A-ASSOCIATE-AC of pynetdicom's own."""
    answer = primitive()
    results = []
    for answered in ANSWERS:
        context = build_context(answered.abstract_syntax, answered.transfer_syntax or EXPLICIT)
        context.context_id, context.result = answered.id, answered.result.value
        results.append(context)
    answer.presentation_context_definition_results_list = results
    requestor = Requestor()
    associate(requestor)
    assert feed(requestor, A_ASSOCIATE_AC(answer).encode()) == [AssociationAccepted(ANSWERS, 16382, CLASS_UID, VERSION)]


def test_largest_request() -> None:
    """128 contexts with every transfer syntax there is, both ways."""
    syntaxes = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 145))
    contexts = [PresentationContext(number, CT, syntaxes) for number in range(1, 256, 2)]
    content = associate(Requestor(), contexts)
    read = A_ASSOCIATE_RQ()
    read.decode(content)
    assert read.encode() == content
    assert [(c.context_id, tuple(c.transfer_syntax)) for c in read.presentation_context] == [
        (context.id, context.transfer_syntaxes) for context in contexts
    ]
    acceptor = Acceptor()
    feed(acceptor, content)
    assert acceptor.request().contexts == tuple(contexts)


def test_small_pdus() -> None:
    """Rejection, release and abort are read as what they are."""
    pair = ConnectionPair()
    pair.announce()
    rejected = A_ASSOCIATE_RJ()
    rejected.decode(pair.acceptor.reject(2, 3, 2))
    assert (rejected.result, rejected.source, rejected.reason_diagnostic) == (2, 3, 2)
    pair = ConnectionPair().establish()
    asked = pair.requestor.release()
    pair.to_acceptor(asked)
    assert asked == A_RELEASE_RQ().encode()
    assert pair.acceptor.confirm_release() == A_RELEASE_RP().encode()
    aborted = A_ABORT_RQ()
    aborted.decode(pair.acceptor.abort(2, 6))
    assert (aborted.source, aborted.reason_diagnostic) == (2, 6)


def command_of(content: bytes) -> tuple[int | None, Dataset, bytes]:
    """What pynetdicom makes of P-DATA-TFs: context id, command set, data set."""
    message = DIMSEMessage()
    at = 0
    while at < len(content):
        length = 6 + int.from_bytes(content[at + 2 : at + 6], "big")
        read = P_DATA_TF()
        read.decode(content[at : at + length])
        complete = message.decode_msg(read.to_primitive())
        at += length
    assert complete
    assert message.data_set is not None
    return message.context_id, message.command_set, message.data_set.getvalue()


def pdus_of(message: DIMSEMessage, maximum_length: int) -> bytes:
    """A message in P-DATA-TFs of pynetdicom's own."""
    return b"".join(P_DATA_TF(fragment).encode() for fragment in message.encode_msg(1, maximum_length))


def store() -> C_STORE:
    """A C-STORE request of pynetdicom's own."""
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID = CT
    request.AffectedSOPInstanceUID = "1.2.3.4"
    request.Priority = 2
    request.MoveOriginatorApplicationEntityTitle = "MOVER"
    request.MoveOriginatorMessageID = 9
    return request


def test_our_store_request_is_read() -> None:
    """Our C-STORE-RQ and its data set come together at pynetdicom's."""
    pair = ConnectionPair(acceptor=Acceptor(maximum_length=100)).establish()
    content = bytes(range(250))
    sent = pair.requestor.store_request(1, 7, CT, "1.2.3.4", priority=2, move_originator=("MOVER", 9))
    context_id, command, data_set = command_of(
        sent + b"".join(pair.requestor.fragments(1, memoryview(content), last=True))
    )
    assert context_id == 1
    assert data_set == content
    assert command.CommandField == 0x0001
    assert (command.MessageID, command.Priority) == (7, 2)
    assert (command.AffectedSOPClassUID, command.AffectedSOPInstanceUID) == (CT, "1.2.3.4")
    assert command.MoveOriginatorApplicationEntityTitle == "MOVER"
    assert command.MoveOriginatorMessageID == 9
    del command.CommandGroupLength
    assert len(encode(command, True, True) or b"") == int.from_bytes(sent_group_length(pair), "little")


def sent_group_length(pair: ConnectionPair) -> bytes:
    """(0000,0000) of the C-STORE-RQ, unfragmented."""
    pair.requestor.peer_maximum_length = 0
    sent = pair.requestor.store_request(1, 7, CT, "1.2.3.4", priority=2, move_originator=("MOVER", 9))
    return sent[20:24]


@pytest.mark.parametrize("maximum_length", [20, 16382])
def test_its_store_request_is_read(maximum_length: int) -> None:
    """A C-STORE-RQ of pynetdicom's own, fragmented as it likes."""
    content = bytes(range(256))
    request = store()
    request.DataSet = BytesIO(content)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    events = ConnectionPair().establish().to_acceptor(pdus_of(message, maximum_length))
    assert events[0] == StoreRequested(1, 7, CT, "1.2.3.4", 2, "MOVER", 9)
    assert b"".join(event.content for event in events[1:] if isinstance(event, Fragment)) == content


def test_answers() -> None:
    """C-STORE-RSPs, ours and its own."""
    pair = ConnectionPair().establish()
    _, command, _ = command_of(
        pair.acceptor.store_answer(StoreRequested(1, 7, CT, "1.2.3.4"), 0xA700, error_comment="full")
    )
    assert (command.CommandField, command.MessageIDBeingRespondedTo, command.Status) == (0x8001, 7, 0xA700)
    assert (command.AffectedSOPClassUID, command.AffectedSOPInstanceUID) == (CT, "1.2.3.4")
    assert command.ErrorComment == "full"

    answer = C_STORE()
    answer.MessageIDBeingRespondedTo = 7
    answer.AffectedSOPClassUID = CT
    answer.AffectedSOPInstanceUID = "1.2.3.4"
    answer.Status = 0xC000
    answer.ErrorComment = "cannot"  # type: ignore[assignment]  # declared as None, meant to be set
    message = C_STORE_RSP()
    message.primitive_to_message(answer)
    assert pair.to_requestor(pdus_of(message, 16382)) == [StoreAnswered(1, 7, 0xC000, "cannot")]


def test_echo() -> None:
    """C-ECHO-RQs, ours and its own."""
    pair = ConnectionPair().establish()
    context_id, command, _ = command_of(pair.requestor.echo_request(3, 1))
    assert (context_id, command.CommandField, command.MessageID) == (3, 0x0030, 1)
    assert command.AffectedSOPClassUID == VERIFICATION
    request = C_ECHO()
    request.MessageID = 5
    request.AffectedSOPClassUID = VERIFICATION
    message = C_ECHO_RQ()
    message.primitive_to_message(request)
    assert pair.to_acceptor(pdus_of(message, 16382)) == [EchoRequested(1, 5, VERIFICATION)]


def test_result_values() -> None:
    """The results of the Standard are those of pynetdicom's texts."""
    context = build_context(CT)
    for result in ContextResult:
        context.result = result.value
        assert context.status != "Unknown"
    assert AnsweredContext(1, CT, ContextResult.NO_REASON).transfer_syntax is None
