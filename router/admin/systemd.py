"""Tells systemd how the daemon is: ready, reloading, stopping, alive, and a line for ``systemctl status``.

The protocol of sd_notify(3): datagrams of assignments to the socket that the environment names; without one nobody is
told anything. The watchdog is fed only while nothing is stuck; the event loop shows that it lives by feeding it.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

import anyio

from router.admin.health import Health
from router.durable.queue import Desk, QueueError
from router.flow.forwarders import Forwarders
from router.journal import Draining, Event, Reloaded, ReloadRefused, Started
from router.model.delivery import OPEN

FEEDS = 3
"""How often within the time after which the watchdog bites."""

STATUS_SECONDS = 10.0
STATUS_TIMES = 20
"""The line is some seconds old at most, or twenty times as long as it took: a long queue is asked rarely."""

MICROSECONDS = 1_000_000


class Systemd:
    """What supervises this process; a subscriber of the journal."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        health: Health,
        forwarders: Forwarders,
        desk: Desk,
    ) -> None:
        """The supervisor, if there is one.

        Args:
            environment: of this process.
            health: feels the pulse of the queue's writer.
            forwarders: of all destinations.
            desk: knows what waits.
        """
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._feed_every = _watchdog(environment) / FEEDS
        self._health = health
        self._forwarders = forwarders
        self._desk = desk
        self._reloading = False

    def __call__(self, event: Event) -> None:
        """Tell what concerns it."""
        match event:
            case Started():
                self._tell("READY=1")
            case Draining():
                self._tell("STOPPING=1", "STATUS=draining: no new associations, what is under way may finish")
            case Reloaded() | ReloadRefused() if self._reloading:
                self._reloading = False
                refused = isinstance(event, ReloadRefused)
                self._tell("READY=1", *(["STATUS=the new configuration is refused, the log says why"] * refused))
            case _:
                pass

    def reloading(self) -> None:
        """A new configuration is being read. Ends with the event that says what became of it."""
        self._reloading = True
        # In this order of words, with the time, it also serves `Type=notify-reload` (systemd 253).
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    async def run(self) -> None:
        """Feed the watchdog and keep the line up to date, until cancelled; without a supervisor, do nothing."""
        if not self._address:
            return
        async with anyio.create_task_group() as telling:
            telling.start_soon(self._keep_status)
            if self._feed_every:
                telling.start_soon(self._feed)

    async def _feed(self) -> None:
        while True:
            stuck = self._stuck()
            self._tell(f"STATUS=stuck: {stuck}" if stuck else "WATCHDOG=1")
            await anyio.sleep(self._feed_every)

    async def _keep_status(self) -> None:
        while True:
            began = anyio.current_time()
            with suppress(QueueError):  # the log says it, and `/readyz`
                self._tell(f"STATUS={await self._glance()}")
            await anyio.sleep(max(STATUS_SECONDS, STATUS_TIMES * (anyio.current_time() - began)))

    def _stuck(self) -> str:
        """What does not get on any more, so that only a new start helps; empty: everything lives."""
        if self._health.writer_is_late():
            return "the writer of the queue does not answer"
        if stuck := self._forwarders.ended() | self._forwarders.hanging():
            return f"nothing is forwarded any more to {', '.join(sorted(stuck))}"
        return ""

    async def _glance(self) -> str:
        tallies = await self._desk.tallies()
        waiting = sum(each.deliveries for each in tallies if each.state in OPEN)
        count, troubled = len(self._forwarders), len(self._forwarders.in_trouble())
        return f"{count} destination{'s' * (count != 1)}, {troubled} in trouble, {waiting} waiting"

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        # A name in the abstract namespace begins with NUL, which no environment can hold.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            with suppress(OSError):  # it is gone, or busy: the next datagram comes soon
                sending.sendto("\n".join(assignments).encode(), address)


def _watchdog(environment: Mapping[str, str]) -> float:
    """After how many seconds of silence it bites; 0: there is none, or it is not for this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(environment.get("WATCHDOG_USEC", 0)) / MICROSECONDS
