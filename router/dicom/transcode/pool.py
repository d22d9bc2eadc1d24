"""Conversions in worker processes: a crash, a bomb or a hang costs one attempt, never the daemon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import anyio
import anyio.to_process
import anyio.to_thread

from router.dicom.content import Outgoing
from router.dicom.transcode.header import ConversionError
from router.dicom.transcode.worker import convert
from router.model.instance import Identity


class Transcoder:
    """Converts instances into files beside the spool that live as long as they are being sent."""

    def __init__(self, directory: Path, workers: int = 2, seconds: float = 600) -> None:
        """A pool.

        Args:
            directory: where converted data sets are written, on the spool's file system; emptied by the janitor.
            workers: conversions at the same time.
            seconds: the deadline of one.
        """
        self._directory = directory
        self._workers = anyio.CapacityLimiter(workers)
        self._seconds = seconds

    @asynccontextmanager
    async def converted(self, instance: Outgoing, transfer_syntax: str) -> AsyncIterator[Outgoing]:
        """The instance in another transfer syntax, for the time of a block.

        Raises:
            ConversionError: it cannot be converted losslessly; the sentence says why.
            ContentError: the stored file is not what was accepted.
        """
        target = self._directory / f"{token_hex(12)}.converted"
        try:
            await self._convert(instance, transfer_syntax, target)
            size = (await anyio.Path(target).stat()).st_size
            identity = Identity(instance.identity.sop_class, instance.identity.sop_instance, transfer_syntax)
            yield replace(instance, identity=identity, path=target, header_size=0, size=size, digest=None)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(target).unlink(missing_ok=True)

    async def _convert(self, instance: Outgoing, transfer_syntax: str, target: Path) -> None:
        try:
            with anyio.fail_after(self._seconds):
                await anyio.to_process.run_sync(
                    convert, instance, transfer_syntax, str(target), cancellable=True, limiter=self._workers
                )
        except TimeoutError:
            raise ConversionError(f"it took more than {self._seconds:g} s") from None
        except (anyio.BrokenWorkerProcess, ProcessLookupError):  # the latter when it dies before it is ready
            raise ConversionError("the worker process died of it") from None
        except OSError as failed:
            raise ConversionError(f"the converted data set cannot be written: {failed.strerror}") from failed
