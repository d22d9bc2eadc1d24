"""What the queue cannot do now is asked for again: a disk that is full or failing may recover."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from router.dicom.pulse import beat
from router.durable.queue import QueueError
from router.journal import Journal, SpoolTrouble

T = TypeVar("T")

ASKED_AGAIN_AFTER = 5.0
"""Seconds; also how often the log says so."""


async def insist(ask: Callable[[], Awaitable[T]], journal: Journal) -> T:
    """The queue's answer, however long it takes: without it the same instances would be sent again and again."""
    while True:
        try:
            return await ask()
        except QueueError as error:
            journal.publish(SpoolTrouble(error=str(error)))
        beat()
        await anyio.sleep(ASKED_AGAIN_AFTER)
