"""Spool, history, queue and desk of one daemon: opened in order, closed after everybody who may have to settle."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from router.daemon.clock import now
from router.daemon.starting import EX_IOERR, StartError, starting
from router.durable.disk import Disk
from router.durable.queue import QueueError
from router.durable.spool import Spool
from router.durable.sqlite import SqliteDesk, SqliteQueue
from router.durable.sqlite_file import DamagedError
from router.durable.sqlite_history import SqliteHistory
from router.flow.janitor import empty
from router.journal import HistoryTrouble, Journal, SpoolTrouble
from router.settings import Configuration


class Store:
    """What survives a crash."""

    def __init__(self, configuration: Configuration, journal: Journal, disk: Disk) -> None:
        """Nothing is opened yet.

        Args:
            configuration: for the places, and for how long things are kept.
            journal: trouble is published here.
            disk: the system calls that durability depends on.
        """
        directory = configuration.spool.directory
        self._journal = journal
        self.converted = directory / "converted"
        self.spool = Spool(directory, disk=disk, clock=now)
        self.history = SqliteHistory(
            directory / "history.db",
            clock=now,
            keep=configuration.history.keep,
            size=configuration.history.size,
            report=lambda sentence: journal.publish(HistoryTrouble(error=sentence)),
        )
        self.queue = SqliteQueue(directory / "queue.db", self.spool, self.history, clock=now)
        self.desk = SqliteDesk(directory / "queue.db")

    @asynccontextmanager
    async def opened(self, *, anew: bool = False) -> AsyncIterator[None]:
        """All open; the writers end after everybody who may still have something to settle.

        Args:
            anew: give the queue's file another name first, and begin a new one.

        Raises:
            StartError: something cannot be had, or showed to be damaged in operation.
        """
        with starting():
            await anyio.to_thread.run_sync(self.spool.open)
            if anew:
                await anyio.to_thread.run_sync(self.queue.set_aside)
            await anyio.to_thread.run_sync(self.history.open)
            await anyio.to_thread.run_sync(self.queue.open)
            await anyio.to_thread.run_sync(self.desk.open)
            await anyio.to_thread.run_sync(empty, self.converted)
        try:
            async with anyio.create_task_group() as writing:
                await writing.start(self.history.run)
                await writing.start(self.queue.run)
                try:
                    yield
                finally:
                    writing.cancel_scope.cancel()
        except* DamagedError as errors:
            sentence = f"{errors.exceptions[0]}. Start the daemon again: it makes a new queue from the spool"
            self._journal.publish(SpoolTrouble(error=sentence))
            raise StartError(sentence, EX_IOERR) from errors
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.desk.close)
                for store in (self.queue, self.history):
                    try:
                        await anyio.to_thread.run_sync(store.close)
                    except QueueError as error:
                        # The disk is gone. Nothing that was committed is lost, and the next start puts it in order.
                        self._journal.publish(SpoolTrouble(error=str(error)))
                await anyio.to_thread.run_sync(self.spool.close)
