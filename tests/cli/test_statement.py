"""``docs/conformance.md`` says what the code does."""

from pathlib import Path

import pytest

from router.cli.statement import FAILURES, statement
from router.dicom import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from router.dicom.incoming import _judge
from router.dicom.scu import REJECTIONS
from router.dicom.sop_classes import is_storage, storage_sop_classes
from router.model.outcome import Answered, Cause, Deferred, Refused, Stored
from router.model.presentation_context import VERIFICATION, ContextResult, PresentationContext
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES
from router.protocol import APPLICATION_CONTEXT, Acceptor, AssociationRequest, Requestor
from router.rules.acceptance import Listener, Rejection, admit_association, answer_contexts
from router.rules.advice import CAUSES
from router.rules.retry import REFUSALS, outcome_of_answer
from tests.cli.conftest import invoked

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def page() -> str:
    """As it would be written now."""
    return statement()


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables in a section."""
    section = page.partition(f"# {heading}\n")[2].partition("\n#")[0]
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| ")
    ]


async def test_page_is_what_the_command_prints() -> None:
    """Write it anew with ``dicom-router conformance > docs/conformance.md``."""
    assert PAGE.read_text() == (await invoked("conformance")).out


def test_every_sop_class_of_the_table_is_accepted_in_every_transfer_syntax(page: str) -> None:
    """And the table has all of them: what the listener says to a proposal is what the page says."""
    classes = [row[1] for row in rows(page, "7 SOP classes")[1:]]
    syntaxes = [row[1] for row in rows(page, "4.5 Transfer syntaxes")[1:]]
    assert set(classes[1:]) == set(storage_sop_classes())
    assert set(syntaxes) == set(TRANSFER_SYNTAXES)
    proposed = [
        PresentationContext(1, sop_class, (syntax,)) for sop_class in (*classes, "1.3.99") for syntax in syntaxes
    ]
    answers = answer_contexts(proposed, storage=lambda uid: is_storage(uid, accept_unknown=True))
    assert {answer.result for answer in answers} == {ContextResult.ACCEPTANCE}


def test_every_rejection_of_the_code_is_a_row(page: str) -> None:
    """With the Standard's words, and no row is made up."""
    closed, host = Listener(allow_any=True), "192.0.2.1"
    judged = [
        admit_association(
            calling="CT1", called="ROUTER", host=host, listener=Listener(), associations=0, associations_of_host=0
        ),
        admit_association(
            calling="CT1", called="OTHER", host=host, listener=closed, associations=0, associations_of_host=0
        ),
        admit_association(
            calling="CT1", called="ROUTER", host=host, listener=closed, associations=64, associations_of_host=0
        ),
        admit_association(
            calling="CT1", called="ROUTER", host=host, listener=closed, associations=8, associations_of_host=8
        ),
        _judge(AssociationRequest("CT1", "ROUTER", (), 0, "", "", None, 1, "1.2.3")),
        _judge(AssociationRequest("CT1", "ROUTER", (), 0, "", "", None, 2, APPLICATION_CONTEXT)),
        Rejection(
            1, 1, 1, "the user identity was not recognised"
        ),  # seen on the wire by tests/dicom/test_user_identity.py
    ]
    told = {row[0] for row in rows(page, "4.2 STORAGE-SCP: associations") if row[0][:1].isdigit()}
    assert told == {
        f"{each.result}/{each.source}/{each.reason} {REJECTIONS[each.source, each.reason]}"
        for each in judged
        if isinstance(each, Rejection)
    }


def test_the_table_of_answers_has_one_row_for_each_status(page: str) -> None:
    """Ranges do not overlap, and each says what the code makes of both its ends."""
    seen: set[int] = set()
    for first, _, then in rows(page, "4.4.5 What follows an answer")[1:-1]:
        ends = [int(each.removesuffix("H"), 16) for each in first.split(" to ")]
        statuses = range(ends[0], ends[-1] + 1)
        assert not seen & {*statuses}
        seen |= {*statuses}
        for status in statuses:
            match outcome_of_answer(Answered(status), uncertain=False, duplicate_is_delivered=False):
                case Stored():
                    assert then == "delivered"
                case Refused(tries=tries, next_strategy=next_strategy):
                    assert then.startswith("next strategy") is next_strategy
                    assert ("tried again" in then) is bool(tries)
                    assert then.endswith("a dead letter")
                case Deferred():
                    assert then.startswith("waits")
    for status in {*range(0x10000)} - seen:
        outcome = outcome_of_answer(Answered(status), uncertain=False, duplicate_is_delivered=False)
        assert isinstance(outcome, Refused)
        assert outcome.cause is Cause.UNKNOWN_STATUS


def test_every_failure_of_the_network_is_a_row(page: str) -> None:
    """Those that are left out are a status's, this machine's, or an operator's."""
    assert [row[0] for row in rows(page, "4.4.6 What follows when there is no answer")[1:]] == [
        CAUSES[cause].meaning for cause in FAILURES
    ]
    local = {cause for cause in REFUSALS if cause not in FAILURES} | {Cause.LOCAL_TROUBLE}
    answered = {Cause.OUT_OF_RESOURCES, Cause.CANNOT_UNDERSTAND, Cause.NOT_AUTHORISED, Cause.REFUSED}
    never_of_an_attempt = {
        *(Cause.NOT_CONFIGURED, Cause.NO_ROUTE, Cause.LOOP, Cause.DUPLICATE, Cause.OVER_QUOTA),
        *(Cause.LIFETIME_ENDED, Cause.OPERATOR),
    }
    assert {*Cause} - {*FAILURES} == local | answered | {Cause.UNKNOWN_STATUS} | never_of_an_attempt


def test_both_ends_send_what_the_page_says_of_the_implementation(page: str) -> None:
    """Implementation class UID and version name, in the bytes of a request and of its answer."""
    requestor, acceptor = Requestor(), Acceptor()
    context = PresentationContext(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))
    request = requestor.associate(
        calling_ae_title="A",
        called_ae_title="B",
        contexts=[context],
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
    )
    acceptor.buffer()[: len(request)] = request
    acceptor.received(len(request))
    acceptor.next_event()
    read = acceptor.request()
    accepted = acceptor.accept(
        read,
        answer_contexts(read.contexts, storage=lambda _: True),
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
    )
    told = {row[0]: row[1] for row in rows(page, "4.1 Common to both application entities") if len(row) > 1}
    for pdu in (request, accepted):
        for key in ("application context name", "implementation class UID", "implementation version name"):
            assert told[key].encode() in pdu
        # Neither asynchronous operations (53H), nor roles (54H), nor extended negotiation (56H, 57H) are there.
        user = pdu[pdu.index(b"\x50\x00") + 4 :]
        items, at = [], 0
        while at < len(user):
            items.append(user[at])
            at += 4 + int.from_bytes(user[at + 2 : at + 4], "big")
        assert items == [0x51, 0x52, 0x55]
