"""Wakes whoever waits for something to be different; what it is they look up themselves."""

import anyio


class Change:
    """Look first, then wait: between the two nothing may be awaited, so that no change is missed."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def note(self) -> None:
        """Something is different now."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Until something is noted after this call."""
        await self._event.wait()
