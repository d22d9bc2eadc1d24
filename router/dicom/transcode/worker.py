"""What runs in a worker process: it limits itself first, then converts one file into another.

The codecs are imported here and nowhere else, and late: the daemon, which names this module, never loads them.
"""

import io
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from router.dicom.content import Content, ContentError, Outgoing
from router.dicom.transcode.header import ConversionError, Encoding, Source, rewrite
from router.dicom.transcode.streams import Inflated
from router.model.transfer_syntax import transfer_syntax

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NICENESS = 10
"""Who converts gives way to who receives and sends: on a machine with few cores the daemon would starve."""
MEMORY = 2 << 30
"""Bytes of address space of a worker: a hostile object costs one attempt, not the daemon."""
PROCESSOR_SECONDS = 600
WINDOW = 1 << 16


class WorkerError(Exception):
    """The conversion broke off, and the worker with it but for its Python: out of memory, or our own mistake."""


def convert(source: Outgoing, wanted: str, target: str) -> None:
    """Write the data set of ``source`` in the transfer syntax ``wanted`` to the new file ``target``.

    The target is created first: who is left with one knows that a worker had begun.

    Raises:
        ConversionError: it cannot be converted losslessly.
        ContentError: the source cannot be read, or is not what was accepted.
        OSError: the target cannot be written.
        WorkerError: the conversion broke off.
    """
    _limit()
    _silence()
    try:
        write_converted(source, wanted, target)
    except (ConversionError, ContentError, OSError):
        raise
    except MemoryError:
        raise WorkerError(f"it needs more than {MEMORY >> 20} MiB of memory") from None
    except Exception as error:  # noqa: BLE001 -- what a hostile object finds in our parsers must not end the daemon
        raise WorkerError(f"{type(error).__name__} in the worker process") from None


def write_converted(source: Outgoing, wanted: str, target: str) -> None:
    """In this process, without limits; errors of codecs and of memory as they are."""
    with Path(target).open("xb") as writing:
        stored, syntax = transfer_syntax(source.identity.transfer_syntax), transfer_syntax(wanted)
        from router.dicom.transcode.recoding import largest, recoding

        most = largest(source.size)
        pixels = None
        if stored.encapsulated or syntax.encapsulated:
            with _opened(replace(source, digest=None), most) as beginning:
                pixels = recoding(beginning, stored, syntax, source.size)
        with _opened(source, most) as content:
            changes = {} if pixels is None else pixels.changes()
            rewrite(content, writing, Encoding.of(stored.uid), Encoding.of(wanted), changes=changes, pixels=pixels)


@contextmanager
def _opened(source: Outgoing, inflated_at_most: int) -> Iterator[Source]:
    """The data set as a stream: what has been read to its end has been checked against its digest."""
    with Content(source) as content:
        stream = io.BufferedReader(_Raw(content), WINDOW)
        deflated = transfer_syntax(source.identity.transfer_syntax).deflated
        yield io.BufferedReader(Inflated(stream, inflated_at_most), WINDOW) if deflated else stream


class _Raw(io.RawIOBase):
    def __init__(self, content: Content) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._content.read_into(memoryview(buffer).cast("B")) if self._content.remaining else 0


def _silence() -> None:
    """Codecs write warnings to the standard error, here a pipe that nobody reads: once full, it would stop them."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _limit() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_AS, MEMORY)
    # Anew for each conversion: processor time adds up over the life of a worker.
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + PROCESSOR_SECONDS)


def _lower(limit: int, soft: int) -> None:
    """The soft limit alone, within whatever hard limit the daemon itself was started under."""
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
