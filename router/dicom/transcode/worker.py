"""What runs in a worker process: it limits itself first, then converts one file into another."""

import resource
from pathlib import Path

from router.dicom.content import Content, Outgoing
from router.dicom.transcode.header import ConversionError, rewrite

MEMORY = 2 << 30
"""Bytes of address space of a worker: a hostile object costs one attempt, not the daemon."""
PROCESSOR_SECONDS = 600


def convert(source: Outgoing, target: str) -> None:
    """Write the data set of ``source``, converted, to the new file ``target``.

    Raises:
        ConversionError: it cannot be converted losslessly.
        ContentError: the file is not what was accepted.
        OSError: the target cannot be written.
    """
    _limit()
    try:
        with Content(source) as content, Path(target).open("xb") as writing:
            rewrite(_Reader(content), writing, source.identity.transfer_syntax)
    except MemoryError as error:
        raise ConversionError(f"it needs more than {MEMORY >> 20} MiB of memory") from error


class _Reader:
    """The content as a stream: what has been read to its end has been checked against its digest."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def read(self, count: int) -> bytes:
        buffer = bytearray(min(count, self._content.remaining))
        if not buffer:
            return b""
        self._content.read_into(memoryview(buffer))
        return bytes(buffer)


def _limit() -> None:
    used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    # The soft limit alone, and anew for each conversion: processor time adds up over the life of a worker.
    resource.setrlimit(resource.RLIMIT_CPU, (used + PROCESSOR_SECONDS, resource.RLIM_INFINITY))
