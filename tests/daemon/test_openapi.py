"""The API keeps what its OpenAPI document promises, whatever it is asked: judged by schemathesis."""

import subprocess
import sys

import pytest

from router.settings import Role
from tests.daemon.conftest import FreePort, Routers
from tests.daemon.modality import send
from tests.daemon.objects import made
from tests.daemon.sinks import destination

pytestmark = pytest.mark.trust

OPERATOR = "operator-0123456789"
NOT_IN_A_SCHEMA = "positive_data_acceptance"
"""That an order names deliveries or a filter: such rules between fields no schema tells."""


def test_answers_are_as_described(routers: Routers, free_port: FreePort) -> None:
    """No error of the daemon's own, no answer that is not in the document, nothing accepted that it excludes."""
    port = free_port()
    http = {"host": "127.0.0.1", "port": port, "tokens_file": "tokens"}
    router = routers(destinations=[destination("NOWHERE", 1)], http=http)
    tokens = router.folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"judge {Role.OPERATE} {OPERATOR}\n")
    router.start()
    assert set(send(router.port, [made(1)])) == {0}
    url = f"http://127.0.0.1:{port}"
    judged = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/api/openapi.json", "--url", url),
            *("--header", f"Authorization: Bearer {OPERATOR}", "--phases", "fuzzing", "--max-examples", "2"),
            *("--seed", "1", "--exclude-checks", NOT_IN_A_SCHEMA, "--generation-database", ":memory:"),
        ],
        cwd=router.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout
    assert not router.find("internal error")
