"""No patient data in the log: P9, whatever happens to an object."""

from dataclasses import replace
from typing import Any

import pytest

from router.model.instance import Identity
from router.model.transfer_syntax import IMPLICIT_VR_LITTLE_ENDIAN
from tests.daemon.conftest import Pacses, Routers
from tests.daemon.modality import send
from tests.daemon.objects import made

pytestmark = pytest.mark.endtoend

CANARY = "Zzyzx"
PATIENT: dict[str, Any] = {
    "PatientName": f"{CANARY}^Anna",
    "PatientID": f"{CANARY}-1",
    "PatientComments": CANARY,
    "InstitutionName": CANARY,
    "StudyDescription": f"{CANARY}\x1b[31m",
    "PatientBirthDate": "19000101",
}
ACCEPTED, UNROUTED, REFUSED, CONVERTED, TRUNCATED, UNREADABLE = (made(number, **PATIENT) for number in range(1, 7))
UIDS = [each.uid for each in (ACCEPTED, UNROUTED, REFUSED, CONVERTED, TRUNCATED, UNREADABLE)]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_no_patient_data_in_the_log(start: Routers, pacs: Pacses) -> None:
    """Routed by the patient's name, converted, refused by us and by the PACS with a talkative comment, and reported."""

    def talkative(identity: Identity) -> int:
        return 0x0117 if identity.sop_instance == REFUSED.uid else 0x0000

    sink = pacs(answer=talkative, comment=f"{CANARY} is not one of ours", transfer_syntaxes=[IMPLICIT_VR_LITTLE_ENDIAN])
    router = start(
        destinations=[sink.destination()],
        routes=[
            {"name": "none", "when": {"PatientID": f"{CANARY}-2"}, "to": "PACS"},
            {"name": "all", "when": {"PatientName": f"{CANARY}*", "not": {"calling_ae_title": "OTHER"}}, "to": "PACS"},
        ],
        log={"uids": "hash", "level": "debug"},
    )
    truncated = replace(TRUNCATED, dataset=TRUNCATED.dataset[:-10])
    unreadable = replace(UNREADABLE, dataset=UNREADABLE.dataset + b"\x00\x80\x00\x00\xff\xff" + CANARY.encode() * 10)
    assert send(router.port, [ACCEPTED, REFUSED, CONVERTED, truncated, unreadable]) == [0, 0, 0, 0xC000, 0]
    assert send(router.port, [UNROUTED], calling="OTHER") == [0]
    router.wait_for("dead letter", status="0117H")
    router.wait_for("instance refused", status="C000H")
    router.wait_for("instance accepted", outcome="held")
    router.wait_for("C-STORE successful", 2)
    assert router.stop() == 0
    log = "".join(map(str, router.lines))
    assert CANARY not in log
    assert not [uid for uid in UIDS if uid in log], "instances are hashes here"
