"""HTTP over TCP, on the real program: health, metrics that move, tokens, and who is kept out."""

import json
import os
import signal
import socket
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import FreePort, Pacses, Routers
from tests.daemon.modality import Modality, RejectedError, send
from tests.daemon.objects import made
from tests.daemon.program import Program
from tests.daemon.sinks import destination
from tests.daemon.waiting import until

pytestmark = pytest.mark.operate

OBJECTS = [made(number) for number in range(1, 4)]
LARGE = made(99, pixels=1 << 22)
READER, OPERATOR, NEW = "reader-0123456789", "operator-0123456789", "another-0123456789"


class Page:
    """The router's port, as a browser or Prometheus sees it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, method: str = "GET", *, token: str = "", **headers: str) -> tuple[int, str]:
        """Status and body; keyword arguments are headers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            body = '{"state": "dead"}' if method == "POST" else None
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def status(self, path: str, method: str = "GET", *, token: str = "", **headers: str) -> int:
        """The status alone."""
        return self.ask(path, method, token=token, **headers)[0]

    def metrics(self, token: str = READER) -> Mapping[str, float]:
        """Samples, by name and labels as they are written, without the prefix."""
        status, text = self.ask("/metrics", token=token)
        assert status == 200, text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("dicom_router_"): float(value) for name, _, value in lines}


def _tokens(folder: Path, **secrets: str) -> None:
    path = folder / "tokens"
    path.touch(0o600)
    path.write_text("".join(f"{role}-1 {role} {secret}\n" for role, secret in secrets.items()))


@pytest.fixture
def page(free_port: FreePort) -> Page:
    """On a free port."""
    return Page(free_port())


def _configured(page: Page, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": page.port, **more}


def test_metrics_move_with_what_happens(routers: Routers, pacs: Pacses, page: Page) -> None:
    """One destination takes all and one is down; a stranger is turned away; tokens are changed by a reload."""
    sink = pacs()
    sections: dict[str, Any] = {
        "listen": {"allow_any": False, "allow": [{"ae_title": "CT*"}]},
        "destinations": [sink.destination(), destination("NOWHERE", 1)],
        "routes": [{"to": ["PACS", "NOWHERE"]}],
        "http": _configured(page, tokens_file="tokens"),
    }
    router = routers(**sections)
    _tokens(router.folder, read=READER, operate=OPERATOR)
    router.start()
    assert page.ask("/livez") == (200, '{"alive":true}')
    assert page.ask("/readyz") == (200, '{"ready":true,"reasons":[]}')
    assert set(send(router.port, OBJECTS)) == {0}
    with pytest.raises(RejectedError):
        send(router.port, OBJECTS, calling="DOE^JOHN")
    router.wait_for("C-STORE successful", len(OBJECTS))
    router.wait_for("destination in trouble")
    # What the desk says holds for some seconds: it is asked once.
    until(lambda: router.tally("PACS").get("delivered") == len(OBJECTS), "a queue that knows what is delivered")
    _moved(page.metrics(), sum(len(each.dataset) for each in OBJECTS))
    _tokens_count(router, page)
    assert not any(secret in str(router.lines) for secret in (READER, OPERATOR, NEW))


def _moved(after: Mapping[str, float], size: int) -> None:
    assert after['instances_received_total{outcome="queued",source="CT*"}'] == len(OBJECTS)
    assert after['received_bytes_total{source="CT*"}'] >= size
    assert after['associations_total{outcome="accepted",reason=""}'] == 1
    assert after['associations_total{outcome="rejected",reason="calling AE title not recognized"}'] == 1
    assert after["receive_duration_seconds_count"] == len(OBJECTS)
    assert after["spool_fsync_duration_seconds_count"] >= len(OBJECTS)
    delivered = [name for name in after if name.startswith('delivered_instances_total{destination="PACS"')]
    assert sum(after[name] for name in delivered) == len(OBJECTS)
    assert after['delivery_latency_seconds_count{destination="PACS"}'] == len(OBJECTS)
    assert after['destination_failures_total{destination="NOWHERE",reason="connect failed"}'] >= 1
    assert after['destination_up{destination="PACS"}'] == 1
    assert after['destination_up{destination="NOWHERE"}'] == 0
    assert after['queue_oldest_age_seconds{destination="NOWHERE"}'] > 0
    assert after['queue_oldest_age_seconds{destination="PACS"}'] == 0
    assert after["ready"] == 1
    assert after["process_open_fds"] > 0
    assert not any("DOE" in name for name in after)


def _tokens_count(router: Program, page: Page) -> None:
    assert page.status("/metrics") == 401
    assert page.status("/api/queue", token=READER) == 200
    assert page.status("/api/queue", token=READER, host="evil.example") == 421
    assert page.status("/api/queue/retry", "POST", token=READER) == 403
    assert page.status("/api/queue/retry", "POST", token=OPERATOR, origin="http://evil.example") == 403
    assert page.status("/api/queue/retry", "POST", token=OPERATOR) == 200
    assert page.metrics()['http_requests_refused_total{reason="origin"}'] == 1
    _tokens(router.folder, read=NEW)
    router.signal(signal.SIGHUP)
    router.wait_for("configuration reloaded")
    assert page.status("/metrics", token=READER) == 401
    assert page.metrics(NEW)["config_last_reload_successful"] == 1
    (router.folder / "tokens").chmod(0o644)
    router.signal(signal.SIGHUP)
    router.wait_for("configuration refused")
    assert page.metrics(NEW)["config_last_reload_successful"] == 0


def test_without_tokens_this_machine_may_read_and_a_drain_is_not_ready(start: Routers, page: Page) -> None:
    """Nobody may change anything; a router that stops takes nothing new."""
    router = start(destinations=[destination("NOWHERE", 1)], http=_configured(page))
    assert page.status("/api/status") == 200
    assert page.status("/api/reload", "POST") == 401
    described = json.loads(page.ask("/api/openapi.json")[1])
    assert "post" in described["paths"]["/api/queue/retry"]
    with Modality(router.port, [LARGE.pair]) as modality:
        modality.begin(LARGE, 1 << 21)
        router.signal(signal.SIGTERM)
        router.wait_for("draining")
        status, answer = page.ask("/readyz")
        assert status == 503
        assert "the daemon is starting or stopping" in answer
        modality.close()
        modality.lost = True
    assert router.ended() == 0


def test_a_port_that_is_taken_is_told(routers: Routers, page: Page) -> None:
    """Which one, and what to do: exit code 69."""
    router = routers(destinations=[destination("NOWHERE", 1)], http=_configured(page))
    with socket.create_server(("127.0.0.1", page.port)):
        router.launch()
        assert router.ended() == os.EX_UNAVAILABLE
    words, router.words = "".join(router.words), []
    assert f"Cannot serve HTTP on 127.0.0.1 port {page.port}: Address already in use" in words
