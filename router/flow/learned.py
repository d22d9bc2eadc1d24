"""What a destination was seen to accept: remembered across restarts, so that the next association begins with it."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType

import anyio

from router.durable.queue import Capabilities, Capability, Seen
from router.flow.patience import insist
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.presentation_context import AnsweredContext
from router.rules.negotiation import Pair, Proposal, taught

EXPIRES_AFTER = timedelta(days=7)
"""A PACS may be upgraded: what is older is found out anew."""

UNWELCOME_FOR = 3600.0
"""Seconds that a strategy whose whole association failed, where another one's did not, is tried last."""

Remember = Callable[[Mapping[Pair, Seen]], Awaitable[None]]


def _now() -> datetime:
    return datetime.now(UTC)


class Learned:
    """One destination's. Negative facts put other ways first; they never forbid one."""

    def __init__(
        self,
        remember: Remember,
        known: Mapping[Pair, Capability] = MappingProxyType({}),
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """What is known.

        Args:
            remember: is told what is new.
            known: from earlier runs.
            clock: for what expires.
        """
        self._remember = remember
        self._pairs = dict(known)
        self._clock = clock
        self._unwelcome: dict[Strategy, float] = {}

    def avoided(self, sop_class: str) -> frozenset[str]:
        """Transfer syntaxes in which instances of a SOP class were refused, although their context is accepted."""
        return frozenset(
            syntax
            for known, syntax in self._pairs
            if known == sop_class and self._seen((known, syntax)) is Seen.DISLIKED
        )

    def in_order(
        self, strategies: Sequence[Strategy], wanted: Callable[[Strategy], Collection[Pair]]
    ) -> Sequence[Strategy]:
        """The chain as it is tried now.

        Those of which the peer has refused every pair come late, those whose whole association failed lately last.

        Args:
            strategies: the chain.
            wanted: what each would propose.
        """
        now = anyio.current_time()

        def rank(strategy: Strategy) -> tuple[bool, bool]:
            refused = all(self._seen(pair) is Seen.REFUSED for pair in wanted(strategy))
            return now < self._unwelcome.get(strategy, now), refused

        return sorted(strategies, key=rank)

    def failed(self, strategies: Sequence[Strategy]) -> None:
        """An association was accepted after these strategies' had failed as a whole."""
        self._unwelcome |= dict.fromkeys(strategies, anyio.current_time() + UNWELCOME_FOR)

    async def answered(self, answers: Sequence[AnsweredContext], proposal: Proposal) -> None:
        """The peer answered what was proposed to it."""
        await self.told(taught(answers, proposal))

    async def told(self, accepted: Mapping[Pair, bool]) -> None:
        """These presentation contexts were accepted, or refused for good."""
        # Who refuses instances in a syntax goes on accepting contexts for it: that is no news.
        await self._learn(
            {
                pair: Seen.ACCEPTED if taken else Seen.REFUSED
                for pair, taken in accepted.items()
                if not (taken and self._seen(pair) is Seen.DISLIKED)
            }
        )

    async def stored(self, sop_class: str, transfer_syntax: str, *, refused: frozenset[str]) -> None:
        """An instance was stored in one transfer syntax, perhaps after the peer had refused this very one in others."""
        await self._learn(
            {(sop_class, transfer_syntax): Seen.ACCEPTED} | {(sop_class, syntax): Seen.DISLIKED for syntax in refused}
        )

    def _seen(self, pair: Pair) -> Seen | None:
        known = self._pairs.get(pair)
        return None if known is None or known.learned_at < self._clock() - EXPIRES_AFTER else known.seen

    async def _learn(self, seen: Mapping[Pair, Seen]) -> None:
        news = {pair: each for pair, each in seen.items() if self._seen(pair) is not each}
        if news:
            now = self._clock()
            self._pairs |= {pair: Capability(each, now) for pair, each in news.items()}
            await self._remember(news)


async def forget(_: Mapping[Pair, Seen]) -> None:
    """For whoever sends once and remembers nothing."""


async def load(
    destination: Destination, capabilities: Capabilities, *, journal: Journal, clock: Callable[[], datetime]
) -> Learned:
    """What earlier runs learned of this very peer; what is new is kept from now on."""

    async def remember(news: Mapping[Pair, Seen]) -> None:
        await insist(partial(capabilities.learn, destination.name, news, clock()), journal)

    address = f"{destination.remote_ae_title} {destination.remote_host} {destination.remote_port}"
    await insist(partial(capabilities.identify, destination.name, address), journal)
    known = await insist(partial(capabilities.learned, destination.name, clock() - EXPIRES_AFTER), journal)
    return Learned(remember, known, clock=clock)
