"""What a destination was seen to accept: remembered across restarts, so that the next association begins with it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType

import anyio

from router.durable.queue import Capabilities
from router.flow.patience import insist
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.presentation_context import AnsweredContext
from router.rules.negotiation import Pair, Proposal, taught

EXPIRES_AFTER = timedelta(days=7)
"""A PACS may be upgraded: what is older is found out anew."""

UNWELCOME_FOR = 3600.0
"""Seconds that a strategy whose whole association failed, where another one's did not, is tried last."""


class Learned:
    """One destination's. Negative facts put other ways first; they never forbid one."""

    def __init__(
        self,
        remember: Callable[[Mapping[Pair, bool]], Awaitable[None]],
        known: Mapping[Pair, bool] = MappingProxyType({}),
    ) -> None:
        """What is known.

        Args:
            remember: is told what is new.
            known: from earlier runs: whether a pair was accepted.
        """
        self._remember = remember
        self._pairs = dict(known)
        self._unwelcome: dict[Strategy, float] = {}

    def avoided(self, sop_class: str) -> frozenset[str]:
        """Transfer syntaxes that this peer does not take for a SOP class, as far as is known."""
        return frozenset(
            syntax for (known, syntax), accepted in self._pairs.items() if known == sop_class and not accepted
        )

    def in_order(self, strategies: Sequence[Strategy]) -> Sequence[Strategy]:
        """The chain as it is tried now: those whose whole association failed lately come last."""
        now = anyio.current_time()
        return sorted(strategies, key=lambda strategy: now < self._unwelcome.get(strategy, now))

    def failed(self, strategies: Sequence[Strategy]) -> None:
        """An association was accepted after these strategies' had failed as a whole."""
        self._unwelcome |= dict.fromkeys(strategies, anyio.current_time() + UNWELCOME_FOR)

    async def answered(self, answers: Sequence[AnsweredContext], proposal: Proposal) -> None:
        """The peer answered what was proposed to it."""
        await self._learn(taught(answers, proposal))

    async def preferred(self, sop_class: str, refused: frozenset[str], stored: str) -> None:
        """An instance was stored in one transfer syntax after the peer had refused this very instance in others."""
        if refused:
            await self._learn({(sop_class, stored): True} | {(sop_class, syntax): False for syntax in refused})

    async def _learn(self, seen: Mapping[Pair, bool]) -> None:
        news = {pair: accepted for pair, accepted in seen.items() if self._pairs.get(pair) is not accepted}
        if news:
            self._pairs |= news
            await self._remember(news)


async def forget(_: Mapping[Pair, bool]) -> None:
    """For whoever sends once and remembers nothing."""


async def load(
    destination: Destination, capabilities: Capabilities, *, journal: Journal, clock: Callable[[], datetime]
) -> Learned:
    """What earlier runs learned of this very peer; what is new is kept from now on."""

    async def remember(news: Mapping[Pair, bool]) -> None:
        await insist(partial(capabilities.learn, destination.name, news, clock()), journal)

    address = f"{destination.remote_ae_title} {destination.remote_host} {destination.remote_port}"
    await insist(partial(capabilities.identify, destination.name, address), journal)
    known = await insist(partial(capabilities.learned, destination.name, clock() - EXPIRES_AFTER), journal)
    return Learned(remember, {pair: capability.accepted for pair, capability in known.items()})
