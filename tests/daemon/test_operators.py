"""What operators order and ask of the real program, on its socket."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.daemon.conftest import Pacses, Routers
from tests.daemon.ledger import ledger, same
from tests.daemon.modality import Modality, send
from tests.daemon.objects import made
from tests.daemon.program import Program
from tests.daemon.waiting import until

pytestmark = pytest.mark.delivery

CANARY: dict[str, Any] = {"PatientID": "Zzyzx-1", "AccessionNumber": "Zzyzx-2"}
OBJECTS = [made(number, **CANARY) for number in range(1, 4)]
NEVER = {"back_off": {"initial": "1h", "maximum": "1h"}}


def command(router: Program, *words: str) -> Any:
    """What a command of the same program prints for programs."""
    line = [sys.executable, "-m", "router", *words, "--config", str(router.path), "--json"]
    return json.loads(subprocess.run(line, capture_output=True, check=True).stdout)


def test_a_destination_that_backs_off_is_tried_when_an_operator_retries(start: Routers, pacs: Pacses) -> None:
    """An hour before its time; until then the queue says what is waited for, and afterwards what happened."""
    sink = pacs(up=False)
    router = start(destinations=[sink.destination(**NEVER)])
    assert set(send(router.port, OBJECTS)) == {0}
    router.wait_for("destination in trouble")
    (first, *_) = router.client.get("/api/queue")["deliveries"]
    assert (first["waits_for"], first["waits_because"][:14]) == ("in trouble", "Cannot connect")
    assert first["waits_until"] is not None
    status = router.status()["PACS"]
    assert (status["state"], status["last_error"][:14]) == ("in trouble", "Cannot connect")
    sink.start()
    router.client.post("/api/queue/retry", {"destination": "PACS"})
    router.until_delivered()
    same(ledger(OBJECTS), sink)
    status = router.status()["PACS"]
    assert (status["state"], status["waiting"]["deliveries"]) == ("works", 0)
    assert status["last_success_at"] is not None
    explained = command(router, "explain", OBJECTS[0].uid)
    assert [each["what"] for each in explained["happenings"]] == ["resumed", "delivered"]
    assert [each["matched"] for each in explained["routes"][0]["routes"]] == [True]
    (study,) = command(router, "study", "list", "--patient-id", "Zzyzx-1")["studies"]
    assert study["deliveries"] == {"PACS": {"delivered": 3}}
    assert study["accession_number"] == "Zzyzx-2"
    learned = command(router, "probe", "PACS", "--sop-class", "CT")
    assert learned["ok"]
    assert router.client.get("/api/destinations/PACS")["learned"]
    assert router.stop() == 0
    assert "Zzyzx" not in str(router.lines), "search keys are not logged"


def test_a_paused_destination_stays_paused_over_a_restart(start: Routers, pacs: Pacses) -> None:
    """Everything waits and says so; resumed, it goes on. An open association of a modality is told, too."""
    sink = pacs()
    router = start(destinations=[sink.destination()])
    router.client.post("/api/destinations/PACS/pause")
    with Modality(router.port, [OBJECTS[0].pair]) as modality:
        assert modality.store(OBJECTS[0]) == 0
        (receiving,) = router.client.get("/api/status")["associations"]
        assert (receiving["calling_ae_title"], receiving["instances"]) == ("CT1", 1)
    assert router.stop() == 0
    router.start()
    until(lambda: router.status()["PACS"]["state"] == "paused", "a destination that is paused")
    (waiting,) = router.client.get("/api/queue")["deliveries"]
    assert (waiting["state"], waiting["waits_for"]) == ("queued", "paused by an operator")
    assert not sink.stores
    router.client.post("/api/destinations/PACS/resume")
    router.until_delivered()
    same(ledger(OBJECTS[:1]), sink)
