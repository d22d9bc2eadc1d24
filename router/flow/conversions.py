"""Conversions that run while other instances are sent: each is a file that is there until nobody wants it any more."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from router.dicom.content import Outgoing
from router.dicom.transcode.pool import WORKERS, NotConvertedError
from router.flow.change import Change
from router.flow.ports import Transcoder

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from router.model.outcome import Failed

AHEAD = WORKERS + 1
"""Of one attempt, under way or waiting to be sent: one is ready when the workers have the next ones."""


class Conversion:
    """One instance on its way into another transfer syntax."""

    def __init__(self, instance: Outgoing, transfer_syntax: str) -> None:
        self.instance = instance
        self.transfer_syntax = transfer_syntax
        self.result: Outgoing | Failed | None = None
        """None while it is under way."""
        self.scope = anyio.CancelScope()

    def drop(self) -> None:
        """Nobody wants it any more: its worker is stopped, its file removed."""
        self.scope.cancel()


class Conversions:
    """Those of one attempt. However it ends, no worker goes on for it, and no file stays."""

    def __init__(self, transcoder: Transcoder) -> None:
        self._transcoder = transcoder
        self._room = anyio.Semaphore(AHEAD)
        self._ended = Change()
        self._group: TaskGroup

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._group.cancel_scope.cancel()
        # What ended the block is nothing that the group should wrap.
        await self._group.__aexit__(None, None, None)

    def begin(self, instance: Outgoing, transfer_syntax: str) -> Conversion:
        """Start one, or let it wait for its turn."""
        conversion = Conversion(instance, transfer_syntax)
        self._group.start_soon(self._run, conversion)
        return conversion

    async def wait(self) -> None:
        """Until another one has ended."""
        await self._ended.wait()

    async def _run(self, conversion: Conversion) -> None:
        with conversion.scope:
            async with self._room:
                try:
                    converted = self._transcoder.converted(conversion.instance, conversion.transfer_syntax)
                    async with converted as conversion.result:
                        self._ended.note()
                        await anyio.sleep_forever()
                except NotConvertedError as error:
                    conversion.result = error.failure
                    self._ended.note()
