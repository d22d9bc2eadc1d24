"""What runs in a process of its own: pynetdicom at both ends, and the router's own SCU over files.

``python -m benchmarks.children NAME ARGUMENTS``. An SCU prints seconds and CPU seconds, from before the association
until after its release, without the interpreter's start.
"""

import json
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


def pynetdicom_scp(port: str, folder: str) -> None:
    """Default settings; an object is written as it arrived, without decoding it."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.dimse_primitives import C_STORE

    def store(event: evt.Event) -> int:
        assert isinstance(event.request, C_STORE)
        (Path(folder) / str(event.request.AffectedSOPInstanceUID)).write_bytes(event.encoded_dataset())
        return 0x0000

    entity = AE()
    entity.supported_contexts = AllStoragePresentationContexts
    entity.start_server((HOST, int(port)), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    signal.sigwait({signal.SIGTERM})


def pynetdicom_router(port: str, sink_port: str, folder: str) -> None:
    """Stock pynetdicom in the obvious way: the handler writes the file, threads send it, each over an association."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.presentation import build_context

    pool = ThreadPoolExecutor(4)
    kept = threading.local()
    entity = AE("ROUTER")
    entity.supported_contexts = AllStoragePresentationContexts

    def store(event: evt.Event) -> int:
        assert isinstance(event.request, C_STORE)
        path = Path(folder) / f"{event.request.AffectedSOPInstanceUID}.dcm"
        path.write_bytes(event.encoded_dataset())
        pool.submit(forward, path, str(event.request.AffectedSOPClassUID), str(event.context.transfer_syntax))
        return 0x0000

    def forward(path: Path, sop_class: str, transfer_syntax: str) -> None:
        association: Any = getattr(kept, sop_class, None)
        if association is None or not association.is_established:
            association = entity.associate(HOST, int(sink_port), [build_context(sop_class, transfer_syntax)])
            setattr(kept, sop_class, association)
        association.send_c_store(path)

    entity.start_server((HOST, int(port)), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    signal.sigwait({signal.SIGTERM})
    os._exit(0)


def pynetdicom_scu(port: str, *files: str) -> None:
    """Default settings; ``send_c_store`` is given paths, so that it streams the files."""
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
    from pynetdicom import AE

    entity = AE()
    for sop_class in (CTImageStorage, MRImageStorage):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)

    def send() -> None:
        association = entity.associate(HOST, int(port))
        for file in files:
            status = association.send_c_store(file)
            if "Status" not in status or status.Status != 0:
                raise SystemExit(f"C-STORE of {file} failed")
        association.release()

    _timed(send)


def router_scu(port: str, *files: str) -> None:
    """``flow.attempt`` as ``dicom-router send`` uses it."""
    import anyio

    from router.cli.files import find
    from router.dicom.buffers import Buffers
    from router.dicom.transcode.pool import Transcoder
    from router.flow.attempt import Attempt
    from router.journal import Journal
    from router.model.destination import Destination
    from router.model.outcome import Stored

    instances = find(map(Path, files)).instances
    destination = Destination("SINK", "SINK", HOST, int(port))

    async def send() -> None:
        with tempfile.TemporaryDirectory() as folder:
            transcoder = Transcoder(Path(folder))
            stored = 0
            async with Attempt(destination, transcoder=transcoder, buffers=Buffers(2), journal=Journal()) as attempt:
                async for result in attempt.outcomes(instances):
                    stored += isinstance(result.outcome, Stored)
                await attempt.release()
        if stored != len(files):
            raise SystemExit(f"only {stored} of {len(files)} were stored")

    _timed(lambda: anyio.run(send))


def tcp_sink(port: str) -> None:
    """What is sent is read, as fast as the kernel gives it, and thrown away."""

    def read(connection: socket.socket) -> None:
        buffer = bytearray(1 << 20)
        with connection:
            while connection.recv_into(buffer):
                pass
            connection.sendall(b".")

    with socket.create_server((HOST, int(port))) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=read, args=(connection,), daemon=True).start()


def _timed(send: Callable[[], None]) -> None:
    began, clock, cpu = time.time(), time.monotonic(), time.process_time()
    send()
    figures = {
        "began": began,
        "seconds": time.monotonic() - clock,
        "cpu": time.process_time() - cpu,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))


def main(arguments: Sequence[str]) -> None:
    """Run one of them."""
    from benchmarks import scu

    programs: Mapping[str, Callable[..., None]] = {
        "pynetdicom-scp": pynetdicom_scp,
        "pynetdicom-router": pynetdicom_router,
        "pynetdicom-scu": pynetdicom_scu,
        "router-scu": router_scu,
        "scu": scu.main,
        "tcp-sink": tcp_sink,
    }
    name, *rest = arguments
    programs[name](*rest)


if __name__ == "__main__":
    main(sys.argv[1:])
