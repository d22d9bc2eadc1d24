"""Alerts of the real program, from the configuration to whom it concerns."""

import json
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import Routers
from tests.daemon.sinks import destination
from tests.daemon.waiting import until

pytestmark = pytest.mark.operate

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"


def test_who_is_configured_is_told(start: Routers, tmp_path: Path) -> None:
    """A full disk is there from the start; a channel that does not work is a line of the log, and stops nothing."""
    told = tmp_path / "told"
    router = start(
        destinations=[destination("NOWHERE", 1)],
        spool={"reserve": "99%"},
        alerts=[
            {"command": ["/nowhere/page"], "after": "0s"},
            {"command": [sys.executable, "-c", WRITE, str(told)], "on": ["disk"], "after": "0s"},
        ],
    )
    until(lambda: told.exists() and told.read_text(), "an alert")
    alert = json.loads(told.read_text())
    assert (alert["status"], alert["concern"], alert["subject"]) == ("firing", "disk", "spool")
    assert alert["sentence"] == "the spool has reached its reserve of free space"
    [line] = router.wait_for("alert not taken")
    sentence = "the command /nowhere/page did not take an alert: it cannot be run: No such file or directory"
    assert line["error"] == f"{sentence}; it is tried again"
