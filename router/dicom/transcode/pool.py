"""Conversions in worker processes: a crash, a bomb or a hang costs one attempt, never the daemon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex

import anyio
import anyio.to_process
import anyio.to_thread

from router.dicom.content import ContentError, Outgoing
from router.dicom.transcode.header import ConversionError
from router.dicom.transcode.worker import WorkerError, convert
from router.model.instance import Identity
from router.model.outcome import Cause, Failed

WORKERS = 2
"""Conversions at the same time, unless told otherwise."""


_DIED = (anyio.BrokenWorkerProcess, ProcessLookupError)
"""The latter when a worker dies before it is ready."""


class NotConvertedError(Exception):
    """There is no converted instance: it cannot be, a worker died of it, or this machine is in trouble."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure.error)
        self.failure = failure


class Transcoder:
    """Converts instances into files beside the spool that live as long as they are being sent."""

    def __init__(self, directory: Path, workers: int = WORKERS, seconds: float = 600) -> None:
        """A pool.

        Args:
            directory: where converted data sets are written, on the spool's file system; emptied by the janitor.
            workers: conversions at the same time.
            seconds: the deadline of one, from when it begins.
        """
        self._directory = directory
        self._room = anyio.Semaphore(workers)
        self._workers = anyio.CapacityLimiter(workers)
        self._seconds = seconds

    @asynccontextmanager
    async def converted(self, instance: Outgoing, transfer_syntax: str) -> AsyncIterator[Outgoing]:
        """The instance in another transfer syntax, for the time of a block.

        Raises:
            NotConvertedError: with the cause, in one of our own sentences.
        """
        target = self._directory / f"{token_hex(12)}.converted"
        try:
            async with self._room:
                size = await self._convert(instance, transfer_syntax, target)
            identity = Identity(instance.identity.sop_class, instance.identity.sop_instance, transfer_syntax)
            yield replace(instance, identity=identity, path=target, header_size=0, size=size, digest=None)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(target).unlink(missing_ok=True)

    async def _convert(self, instance: Outgoing, transfer_syntax: str, target: Path) -> int:
        try:
            with anyio.fail_after(self._seconds):
                await self._run(instance, transfer_syntax, target)
            return (await anyio.Path(target).stat()).st_size
        except ConversionError as error:
            raise _not_converted(Cause.CANNOT_CONVERT, str(error)) from None
        except ContentError as unreadable:
            raise NotConvertedError(unreadable.failure) from None
        except WorkerError as died:
            raise _not_converted(Cause.CONVERSION_DIED, str(died)) from None
        except TimeoutError:
            raise _not_converted(Cause.CONVERSION_DIED, f"it took more than {self._seconds:g} s") from None
        except _DIED:
            if await anyio.Path(target).exists():
                raise _not_converted(Cause.CONVERSION_DIED, "the worker process died of it") from None
            raise _not_converted(Cause.LOCAL_TROUBLE, "no worker process could be started") from None
        except OSError as failed:
            raise _not_converted(
                Cause.LOCAL_TROUBLE, f"the converted data set cannot be written: {failed.strerror}"
            ) from failed

    async def _run(self, instance: Outgoing, transfer_syntax: str, target: Path) -> None:
        convert_it = partial(
            anyio.to_process.run_sync,
            partial(convert, instance, transfer_syntax, str(target)),
            cancellable=True,
            limiter=self._workers,
        )
        try:
            await convert_it()
        except _DIED:
            # A worker creates the target before it looks at the instance: this one was dead already.
            if await anyio.Path(target).exists():
                raise
            await convert_it()


def _not_converted(cause: Cause, reason: str) -> NotConvertedError:
    return NotConvertedError(Failed(cause, f"The instance cannot be converted: {reason}"))
