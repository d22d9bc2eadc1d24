"""Out: from the queue to one destination. One forwarder per destination, so that none waits for another."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import anyio

from router.dicom.buffers import Buffers
from router.dicom.pulse import beat, resting
from router.dicom.scu import associate
from router.durable.queue import Capabilities, Queue, Standings
from router.durable.spool import Spool
from router.flow.attempt import Attempt
from router.flow.books import Books
from router.flow.breaker import Breaker
from router.flow.firewall import Firewall
from router.flow.learned import Learned, load
from router.flow.mender import Mender
from router.flow.pacer import LONGEST_SLEEP, Pacer
from router.flow.patience import insist
from router.flow.ports import Associate, Transcoder
from router.flow.sender import Sender, outgoing
from router.journal import Journal
from router.model.delivery import Claim, Delivery, Wanted
from router.model.destination import Destination, Strategy
from router.model.outcome import Cause, Deferred, Scope, Stored
from router.rules import retry
from router.rules.negotiation import Pair
from router.rules.pacing import Go, Pace, Reason, Wait

OWNER = "daemon"
"""Who claims; a queue that several daemons share will want their names."""

LIFELESS_AFTER = timedelta(minutes=30)
"""Beyond its own deadlines, without a byte that moved or an instance that was settled: then a line hangs. Nothing of
ours takes a tenth of that; and whoever cuts it short by a new start costs every other destination its associations."""

NOTHING = Claim(0, ())

MOST_CONVERTING = 256
"""Deliveries of one association that are being converted, or wait for it; then nothing more is claimed."""

MOST_REMEMBERED = 10_000
"""Deliveries whose last failure is remembered, to find out whose fault it was."""


class Forwarder:
    """Everything that is owed to one destination."""

    def __init__(
        self,
        destination: Destination,
        *,
        queue: Queue,
        standings: Standings,
        spool: Spool,
        transcoder: Transcoder,
        buffers: Buffers,
        journal: Journal,
        clock: Callable[[], datetime],
        chance: retry.Chance,
        capabilities: Capabilities,
        associate: Associate = associate,
    ) -> None:
        self.destination = destination
        self._queue = queue
        self._standings = standings
        self._spool = spool
        self._transcoder = transcoder
        self._buffers = buffers
        self._journal = journal
        self._clock = clock
        self._associate = associate
        self._capabilities = capabilities
        self._learned: Learned
        self._loaded = anyio.Event()
        """What earlier runs learned."""
        self._breaker = Breaker(destination, standings, journal=journal, clock=clock, chance=chance)
        self._pacer = Pacer(destination, self._breaker, clock=clock)
        self._mender = Mender(destination, self._breaker, send_one=self._send_one, associate=associate, buffers=buffers)
        self._books = Books(destination, queue, journal=journal, clock=clock, chance=chance)
        self._linger_for = destination.deadlines.linger
        self._room = anyio.Semaphore(destination.max_associations)
        self._lines: dict[int, Attempt] = {}
        """By number: those that may have an association open."""
        self._stored = 0
        """Instances, since the start."""
        self._failed: dict[int, int] = {}
        """Deliveries whose last C-STORE failed, by whose fault is not known → how many were stored by then."""
        self._untried = False
        """The destination does not work, its time to be tried has come, and there is nothing to try it with."""
        self._firewall = Firewall(destination.name, journal)

    async def run(self) -> None:
        """Forward until ``stop`` or cancellation."""
        with self._firewall.living():
            await self._breaker.load()
            paused = await insist(partial(self._standings.paused, self.destination.name), self._journal)
            self._pacer.pause(paused=paused)
            self._learned = await load(self.destination, self._capabilities, journal=self._journal, clock=self._clock)
            self._loaded.set()
        async with anyio.create_task_group() as lines:
            lines.start_soon(self._firewall.keep, self._mend)
            for number in range(self.destination.max_associations):
                lines.start_soon(self._firewall.keep, partial(self._forward_what_is_due, number))

    def stop(self) -> None:
        """Finish the instances that are being sent, give the others back, and end."""
        self._firewall.stop()

    @property
    def told_to_stop(self) -> bool:
        """Whether somebody said ``stop``."""
        return self._firewall.stopping()

    @property
    def hangs(self) -> bool:
        """Whether one of its lines has shown no sign of life for too long, though it does not wait for work."""
        deadlines = self.destination.deadlines
        return self._firewall.hangs(LIFELESS_AFTER + deadlines.connect + deadlines.association + deadlines.response)

    # What operators ask and order

    @property
    def works(self) -> bool:
        """Whether the destination works, as far as is known."""
        return self._breaker.closed

    @property
    def takes_more(self) -> bool:
        """Whether it works, or only another instance can show whether it does: else nobody would ever find out."""
        return self.works or self._untried

    @property
    def troubled_since(self) -> datetime | None:
        """When it stopped working; None: it works."""
        return self._breaker.standing.since

    @property
    def associations(self) -> tuple[int, int]:
        """How many are open, and how many may be."""
        return sum(attempt.associated for attempt in self._lines.values()), self._pacer.allowed

    def pace(self) -> Pace:
        """Whether something may be sent now, or what is waited for, and until when."""
        return self._pacer.pace()

    def pause(self, *, paused: bool) -> None:
        """Finish the instances that are being sent and keep the others back; or go on."""
        self._pacer.pause(paused=paused)

    async def forget_trouble(self) -> None:
        """Before ``run``: whatever was wrong with the destination may have been put right just now."""
        await self._breaker.forget()

    async def retry_now(self) -> None:
        """A destination that does not work is tried at once."""
        await self._breaker.retry_now()

    async def learn(self, accepted: Mapping[Pair, bool]) -> None:
        """What a probe found out, for the next association and for later runs."""
        await self._loaded.wait()
        await self._learned.told(accepted)

    # Forwarding

    async def _forward_what_is_due(self, number: int) -> None:
        """One association at a time, many instances on it."""
        while not self._firewall.stopping():
            with self._firewall.until_stopped():
                await self._until_it_may(number)
            async with self._place(), self._sender() as sender:
                self._lines[number] = sender.attempt
                try:
                    while not self._firewall.stopping() and await self._forward_some(number, sender):
                        pass
                    await sender.attempt.release()
                finally:
                    del self._lines[number]

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the destination's associations."""
        with resting():
            await self._room.acquire()
        try:
            yield
        finally:
            self._room.release()

    async def _until_it_may(self, number: int) -> None:
        while isinstance(pace := self._pacer.pace(self._others(number)), Wait):
            await self._pacer.wait(pace)

    def _others(self, number: int) -> int:
        """Open associations that go before the one of this number: those with a lower one, or all if it is not open."""
        mine = self._lines.get(number)
        first = number if mine is not None and mine.associated else self.destination.max_associations
        return sum(each.associated for other, each in self._lines.items() if other < first and other != number)

    async def _forward_some(self, number: int, sender: Sender) -> bool:
        """Forward one claim, or wait for work; False: nothing may be sent for longer than the association lingers."""
        attempt = sender.attempt
        match self._pacer.pace(self._others(number)):
            case Wait(Reason.BANDWIDTH, datetime() as until) as wait if until - self._clock() < self._linger_for:
                with self._firewall.until_stopped():
                    await self._pacer.wait(wait)
            case Wait():
                return False
            case Go(deliveries):
                claim, now = NOTHING, self._clock()
                if len(attempt.left) < MOST_CONVERTING:
                    wanted = self._pacer.wanted(deliveries, attempt.group, self._groups_beside(attempt))
                    claim = await self._claim(wanted, now)
                    self._pacer.claimed(claim)
                if claim.deliveries or attempt.ready:
                    stored = sender.stored
                    await self._forward_by_strategy(claim, sender)
                    if sender.stored > stored:
                        self._pacer.stored()
                elif len(attempt.left) >= MOST_CONVERTING:
                    with self._firewall.until_stopped():
                        await attempt.converted()
                else:
                    await self._wait_for_work(now, attempt)
        return True

    def _groups_beside(self, attempt: Attempt) -> frozenset[str]:
        return frozenset(each.group for each in self._lines.values() if each is not attempt and each.group)

    async def _forward_by_strategy(self, claim: Claim, sender: Sender) -> None:
        """Those for which an operator chose a strategy have an association of their own."""
        chosen: dict[Strategy | None, list[Delivery]] = {None: []}
        for delivery in claim.deliveries:
            chosen.setdefault(delivery.strategy, []).append(delivery)
        parts = {strategy: Claim(claim.token, tuple(deliveries)) for strategy, deliveries in chosen.items()}
        try:
            await self.forward(parts.pop(None), sender, leave_converting=True)
            while parts and not self._held_back:
                await sender.attempt.release()
                strategy, part = parts.popitem()
                await self._forward_alone(part, strategy)
        finally:
            await self._books.give_back([*parts.values()], ())

    async def _forward_alone(self, claim: Claim, strategy: Strategy | None, *, probing: bool = False) -> None:
        async with self._sender(strategy) as sender:
            await self.forward(claim, sender, probing=probing)
            await sender.attempt.release()

    async def forward(
        self, claim: Claim, sender: Sender, *, probing: bool = False, leave_converting: bool = False
    ) -> None:
        """Try what was claimed and settle each delivery; what was not tried, or not at its own cost, is given back.

        Args:
            claim: due deliveries.
            sender: has an association, and what is left of earlier claims because it was being converted.
            probing: the destination is in trouble, and this shows whether it works again.
            leave_converting: leave those that are being converted to the next call.
        """
        sender.owe(claim)
        uncertain = frozenset(delivery.id for delivery in claim.deliveries if delivery.uncertain)
        suspicion: Deferred | None = None
        try:
            tried = sender.attempt.outcomes(outgoing(claim, self._spool), uncertain, leave_converting=leave_converting)
            async with self._books.settling() as settle, aclosing(tried) as results:
                async for result in results:
                    beat()
                    number, blamed = result.instance.number, result.blamed
                    failed_before = self._failed.pop(number, self._stored)
                    self._pacer.sent(result.instance.size)
                    match result.outcome:
                        case Deferred(scope=Scope.DESTINATION) as outcome:
                            await self._failed_as_a_whole(outcome, sender.attempt, probing=probing)
                            break
                        case Deferred(scope=Scope.UNDECIDED) as outcome if not blamed:
                            suspicion = outcome
                            blamed = failed_before < self._stored and not probing
                            self._remember(number)
                        case Stored():
                            self._stored += 1
                            sender.stored += 1
                            await self._breaker.reset()
                        case outcome if probing and retry.shows_it_works(outcome):
                            await self._breaker.reset()
                    settle(*sender.settled(number), result, blamed=blamed)
                    if self._firewall.stopping() or (not probing and self._held_back):
                        break
            # One failure with nothing stored after it proves nothing. Two of different instances, or one that was to
            # show whether the destination works again, are the destination's trouble.
            if suspicion is not None and (probing or list(self._failed.values()).count(self._stored) > 1):
                await self._breaker.trip(suspicion, probing=probing)
        finally:
            await self._books.give_back(sender.not_tried(sender.attempt.left), sender.attempt.in_doubt)

    @property
    def _held_back(self) -> bool:
        """Whether no other instance may be sent now."""
        return self._firewall.stopping() or isinstance(self._pacer.pace(), Wait)

    async def _failed_as_a_whole(self, outcome: Deferred, attempt: Attempt, *, probing: bool) -> None:
        """The destination cannot be sent to; but a peer that has a limit works, as its other associations show."""
        if outcome.cause is Cause.LOCAL_LIMIT and any(
            other.associated for other in self._lines.values() if other is not attempt
        ):
            self._pacer.refused()
        else:
            await self._breaker.trip(outcome, probing=probing)

    def _remember(self, number: int) -> None:
        self._failed[number] = self._stored
        if len(self._failed) > MOST_REMEMBERED:  # those that were dropped or sent elsewhere meanwhile
            del self._failed[next(iter(self._failed))]

    async def _claim(self, wanted: Wanted, now: datetime) -> Claim:
        return await insist(partial(self._queue.claim, self.destination.name, OWNER, wanted, now), self._journal)

    # A destination in trouble

    async def _mend(self) -> None:
        while not self._firewall.stopping():
            with self._firewall.until_stopped():
                await self._breaker.wait_opened()
                await self._pacer.wait_for_trial()
            async with self._place():
                if self._breaker.closed or self._firewall.stopping():
                    continue
                now = self._clock()
                self._untried = not await self._mender.try_it()
            if self._untried:
                await self._wait_for_work(now)
                self._untried = False

    async def _send_one(self) -> bool:
        claim = await self._claim(Wanted(1), self._clock())
        if claim.deliveries:
            await self._forward_alone(claim, claim.deliveries[0].strategy, probing=True)
        return bool(claim.deliveries)

    # Waiting

    async def _wait_for_work(self, claimed_at: datetime, attempt: Attempt | None = None) -> None:
        """Until something is due. An open association lingers for a moment, then it is released.

        What was due at the last claim and not given is for another association, or being sent.
        """
        if attempt is not None and attempt.associated:
            await self._linger(attempt)
            return
        due = await insist(partial(self._queue.next_due, self.destination.name, claimed_at), self._journal)
        seconds = None if due is None else min(max(0.0, (due - self._clock()).total_seconds()), LONGEST_SLEEP)
        with self._firewall.until_stopped(), anyio.move_on_after(seconds):
            await self._something_new(attempt)

    async def _something_new(self, attempt: Attempt | None) -> None:
        """Something was queued, or what was being converted can be sent."""

        async def first(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            waiting.cancel_scope.cancel()

        async with anyio.create_task_group() as waiting:
            waiting.start_soon(first, partial(self._queue.changed, self.destination.name))
            if attempt is not None:
                waiting.start_soon(first, attempt.converted)

    async def _linger(self, attempt: Attempt) -> None:
        """Until something comes for an open association; what is due may be for another one."""
        left = attempt.idle_since + self._linger_for.total_seconds() - anyio.current_time()
        if attempt.left and attempt.group:
            # Its end would be taken for the end of the study, of which something is still being converted.
            left = math.inf
        with self._firewall.until_stopped(), anyio.move_on_after(max(0.0, left)) as lingering:
            await self._something_new(attempt)
        if lingering.cancelled_caught or left <= 0:
            await attempt.release()

    @asynccontextmanager
    async def _sender(self, strategy: Strategy | None = None) -> AsyncIterator[Sender]:
        """Sends over an association of its own; with an operator's strategy in place of the destination's."""
        destination = self.destination
        if strategy is not None:
            destination = replace(destination, transfer_syntax_strategy=strategy)
        attempt = Attempt(
            destination,
            transcoder=self._transcoder,
            buffers=self._buffers,
            journal=self._journal,
            associate=self._associate,
            learned=self._learned,
        )
        async with attempt:
            sender = Sender(attempt)
            try:
                yield sender
            finally:
                await self._books.give_back(sender.not_tried(), attempt.in_doubt)
