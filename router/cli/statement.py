"""The DICOM Conformance Statement (PS3.2), from the tables that the program runs on: ``docs/conformance.md``.

What is said in words stands in ``statement.md`` beside this file; what can be looked up or tried is put in here.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from string import Template
from typing import assert_never

from router import __version__
from router.cli.explanation import duration, size
from router.dicom import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, incoming, scu
from router.dicom.credentials import CIPHERS
from router.dicom.sop_classes import storage_sop_classes
from router.dicom.transcode import converts
from router.flow import intake
from router.model.destination import Destination
from router.model.outcome import Answered, Cause, Deferred, Failed, Outcome, Refused, Scope, Stored
from router.model.presentation_context import MAXIMUM_CONTEXTS, VERIFICATION
from router.model.tls import TlsVersion
from router.model.transfer_syntax import TRANSFER_SYNTAXES, TransferSyntax
from router.protocol import APPLICATION_CONTEXT, dimse
from router.protocol.pdu import MAXIMUM_SENT
from router.rules import negotiation, retry, routing
from router.rules.acceptance import Listener
from router.rules.advice import CAUSES

FAILURES = (
    Cause.NAME_NOT_RESOLVED,
    Cause.CONNECT_FAILED,
    Cause.TLS_FAILED,
    Cause.TLS_VERIFICATION,
    Cause.ASSOCIATION_REJECTED,
    Cause.LOCAL_LIMIT,
    Cause.AE_TITLE_UNKNOWN,
    Cause.ASSOCIATION_ABORTED,
    Cause.ASSOCIATION_TIMEOUT,
    Cause.NO_CONTEXT,
    Cause.SOP_CLASS_NOT_SUPPORTED,
    Cause.CANNOT_CONVERT,
    Cause.STORE_ABORTED,
    Cause.CONNECTION_LOST,
    Cause.RESPONSE_TIMEOUT,
    Cause.PROTOCOL_ERROR,
)
"""What ends an attempt without a C-STORE-RSP, in the order in which it may happen."""

_LISTENER = Listener()
_DESTINATION = Destination("", "", "", 0)
"""As they are when a configuration says nothing else."""

_UNKNOWN_STATUS = "a status that DICOM does not know"


def statement() -> str:
    """The page, in Markdown."""
    template = Template((files("router.cli") / "statement.md").read_text(encoding="utf-8"))
    return template.substitute(_figures() | _deadlines() | _tables()).rstrip("\n")


def _figures() -> dict[str, object]:
    return {
        "version": __version__,
        "application_context": APPLICATION_CONTEXT,
        "implementation_class_uid": IMPLEMENTATION_CLASS_UID,
        "implementation_version_name": IMPLEMENTATION_VERSION_NAME,
        "verification": VERIFICATION,
        "storage_classes": len(storage_sop_classes()),
        "syntaxes": len(TRANSFER_SYNTAXES),
        "contexts": MAXIMUM_CONTEXTS,
        "storage_contexts": MAXIMUM_CONTEXTS - 1,
        "received_length": incoming.MAXIMUM_LENGTH,
        "answered_length": scu.MAXIMUM_LENGTH,
        "sent_length": MAXIMUM_SENT,
        "command_length": size(dimse.MAXIMUM_LENGTH),
        "associations": _LISTENER.max_associations,
        "associations_per_host": _LISTENER.max_associations_per_host,
        "associations_out": _DESTINATION.max_associations,
        "strategy": _DESTINATION.transfer_syntax_strategy,
        "further": _DESTINATION.max_association_retries,
        "chain": " → ".join(f"`{each}`" for each in negotiation.FALLBACK_CHAIN),
        "status_success": _status(intake.SUCCESS),
        "status_out_of_resources": _status(intake.OUT_OF_RESOURCES),
        "status_mismatch": _status(incoming.SOP_CLASS_MISMATCH),
        "status_cannot_understand": _status(intake.CANNOT_UNDERSTAND),
        "status_not_authorised": _status(routing.NOT_AUTHORISED),
        "status_unrecognized": _status(dimse.UNRECOGNIZED_OPERATION),
        "port": _LISTENER.port,
        "ae_title": ", ".join(_LISTENER.ae_titles or ()),
        "local_ae_title": _DESTINATION.local_ae_title,
        "tls_versions": " and ".join(TlsVersion),
        "ciphers": CIPHERS,
        "tries": _after(retry.TRIES),
        "loop_limit": routing.LOOP_LIMIT,
        "back_off_initial": duration(_DESTINATION.back_off.initial),
        "back_off_maximum": duration(_DESTINATION.back_off.maximum),
        "retry_initial": duration(_DESTINATION.retry.initial),
        "retry_maximum": duration(_DESTINATION.retry.maximum),
        "give_up_after": duration(_DESTINATION.retry.give_up_after),
    }


def _deadlines() -> dict[str, object]:
    receive, send = _LISTENER.deadlines, _DESTINATION.deadlines
    return {
        "receive_request": duration(receive.request),
        "receive_pdu": duration(receive.pdu),
        "receive_between_pdus": duration(receive.between_pdus),
        "receive_idle": duration(receive.idle),
        "receive_answer": duration(timedelta(seconds=incoming.ANSWER_WITHIN)),
        "send_connect": duration(send.connect),
        "send_association": duration(send.association),
        "send_response": duration(send.response),
        "send_linger": duration(send.linger),
        "send_pdu": duration(timedelta(seconds=scu.PDU_SECONDS)),
        "send_release": duration(timedelta(seconds=scu.RELEASE_WITHIN)),
    }


def _tables() -> dict[str, object]:
    strategies = [(f"`{name}`", _names(uids)) for name, uids in negotiation.STRATEGIES.items()]
    classes = sorted(storage_sop_classes().items(), key=itemgetter(1))
    return {
        "strategies": _rows(strategies),
        "answers": _rows(_answers()),
        "failures": _rows((CAUSES[cause].meaning, _after_failure(cause)) for cause in FAILURES),
        "transfer_syntaxes": _rows(_transfer_syntax(each) for each in TRANSFER_SYNTAXES.values()),
        "sop_classes": _rows((name, uid) for uid, name in classes),
    }


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _names(uids: Iterable[str]) -> str:
    if {*uids} == {*TRANSFER_SYNTAXES}:
        return "every transfer syntax of section 4.5, and unknown ones, as stored"
    return ", ".join(TRANSFER_SYNTAXES[uid].name for uid in uids)


def _transfer_syntax(row: TransferSyntax) -> tuple[str, ...]:
    """Received and sent as stored, all of them; what differs is what else we can do with it."""
    first = next(
        (str(name) for name in reversed(negotiation.FALLBACK_CHAIN) if row.uid in negotiation.STRATEGIES[name]), ""
    )
    read = any(converts(row.uid, other) for other in TRANSFER_SYNTAXES)
    written = any(converts(other, row.uid) for other in TRANSFER_SYNTAXES)
    return row.name, row.uid, str(row.kind), f"`{first}`", "yes" if read else "no", "yes" if written else "no"


def _answers() -> Iterator[tuple[str, str, str]]:
    """Every status is tried; neighbours that mean the same make one row, all that are unknown another one."""
    told = [(status, *_after_answer(status)) for status in range(0x10000)]
    unknown = ("", "")
    for (meaning, then), statuses in groupby(told, key=itemgetter(1, 2)):
        numbers = [status for status, *_ in statuses]
        if meaning == _UNKNOWN_STATUS:
            unknown = meaning, then
        else:
            last = "" if numbers[0] == numbers[-1] else f" to {_status(numbers[-1])}"
            yield f"{_status(numbers[0])}{last}", meaning, then
    yield "any other", *unknown


def _after_answer(status: int) -> tuple[str, str]:
    """What a C-STORE-RSP means, and what follows."""
    outcome = retry.outcome_of_answer(Answered(status), uncertain=False, duplicate_is_delivered=False)
    match outcome:
        case Stored():
            return "Warning" if status else "Success", _then(outcome)
        case Refused(cause=Cause.UNKNOWN_STATUS):
            return _UNKNOWN_STATUS, _then(outcome)
        case Refused(error=error) | Deferred(error=error):
            return error.removesuffix(f" ({_status(status)})"), _then(outcome)
        case _:
            assert_never(outcome)


def _after_failure(cause: Cause) -> str:
    failure = Failed(cause, "")
    then = _then(retry.outcome_of_failure(failure))
    return f"next strategy; if none is left, {then}" if negotiation.another_strategy(failure, None) else then


def _then(outcome: Outcome) -> str:
    """How a delivery goes on."""
    match outcome:
        case Stored():
            return "delivered"
        case Refused(tries=tries, next_strategy=next_strategy):
            again = f"tried again after {_after(retry.TRIES[:tries])}; then a dead letter" if tries else "a dead letter"
            return f"next strategy; if none is left, {again}" if next_strategy else again
        case Deferred(hold=True):
            return f"the destination is held, which is an alarm, and tried every {duration(retry.PROBE_HELD_EVERY)}"
        case Deferred(scope=Scope.UNDECIDED):
            return "waits; another object shows whose fault it was"
        case Deferred(scope=Scope.DESTINATION):
            return "the destination backs off; the object waits"
        case Deferred():
            return "the object waits"
        case _:
            assert_never(outcome)


def _after(spans: Iterable[timedelta]) -> str:
    return ", ".join(map(duration, spans))


def _status(status: int) -> str:
    return f"{status:04X}H"
