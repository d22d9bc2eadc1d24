import threading
from collections import deque
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio import to_process


@pytest.fixture
async def workers_end() -> AsyncIterator[None]:
    """With the test: anyio leaves idle ones to the end of the event loop, where their pipes are not closed."""
    yield
    workers = to_process._process_pool_workers.get(set())
    for process in tuple(workers):
        process.kill()
        await process.aclose()
    workers.clear()
    to_process._process_pool_idle_workers.get(deque()).clear()
    # Also of one that died by itself asyncio learns from a thread, which needs the loop to tell it.
    for thread in threading.enumerate():
        if thread.name.startswith("waitpid-"):
            await anyio.to_thread.run_sync(thread.join)
    await anyio.lowlevel.checkpoint()
