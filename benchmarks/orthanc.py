"""Orthanc as a router, on loopback, with a configuration and folders of its own: Debian's service is left alone."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import DCMTK_ENVIRONMENT, HOST, Server, free_port

PROGRAM = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""None: it is not installed."""

MISSING = (
    "Orthanc is not installed, so its rows are left out: run as root, or install it (Debian: apt-get install orthanc)"
)

CONCURRENT_JOBS = 4
"""The best of 1, 2, 4, 8 and 16, tried once."""

_LUA = """\
function OnStoredInstance(instance, tags, metadata, origin)
   SendToModality(instance, "sink")
end
"""


class Orthanc(Server):
    """It keeps what it receives, every file synced; by Lua, it sends each instance on when it has stored it."""

    def __init__(
        self, folder: Path, sink: Server, *, per_instance: bool, environment: dict[str, str] = DCMTK_ENVIRONMENT
    ) -> None:
        """Start it."""
        assert PROGRAM is not None
        storage = folder / "storage"
        storage.mkdir(parents=True)
        self._per_instance = per_instance
        self._http, port = free_port(), free_port()
        configuration: dict[str, Any] = {
            "Name": "benchmark",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "TemporaryDirectory": str(storage),
            "StorageCompression": False,
            "SyncStorageArea": True,
            "OverwriteInstances": True,
            "ConcurrentJobs": CONCURRENT_JOBS,
            "Plugins": [],
            "LuaScripts": [],
            "HttpPort": self._http,
            "RemoteAccessAllowed": False,
            "DicomPort": port,
            "DicomAet": "ROUTER",
            "DicomCheckCalledAet": False,
            "DicomModalities": {"sink": ["SINK", HOST, sink.port]},
        }
        if per_instance:
            script = folder / "route.lua"
            script.write_text(_LUA, "utf-8")
            configuration["LuaScripts"] = [str(script)]
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration), "utf-8")
        super().__init__([PROGRAM, str(path)], port, folder=None, log=folder / "log", environment=environment)

    def send_on(self) -> None:
        """Everything that is there, at once, and wait until it was sent; by Lua it goes without being asked."""
        if not self._per_instance:
            self._ask("POST", "/modalities/sink/store", {"Resources": self._ask("GET", "/series"), "Synchronous": True})

    def clear(self) -> None:
        """Forget everything."""
        for patient in self._ask("GET", "/patients"):
            self._ask("DELETE", f"/patients/{patient}")

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{HOST}:{self._http}{path}", sent, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)


def version() -> str:
    """Of the installed one."""
    if PROGRAM is None:
        return "not installed"
    said = subprocess.run([PROGRAM, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.search(r"Orthanc (\S+)", said)
    return found[1] if found else "unknown"
