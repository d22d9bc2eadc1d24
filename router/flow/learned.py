"""What a destination was seen to accept: remembered across restarts, so that the next association begins with it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from router.durable.queue import Capabilities
from router.flow.patience import insist
from router.journal import Journal
from router.model.destination import Destination, Strategy
from router.model.presentation_context import AnsweredContext
from router.rules.negotiation import Pair, Proposal, taught

EXPIRES_AFTER = timedelta(days=7)
"""A PACS may be upgraded: what is older is found out anew."""

UNWELCOME_FOR = timedelta(hours=1)
"""How long a strategy whose whole association failed, where another one's did not, is tried last."""


class Learned:
    """One destination's. Negative facts put other ways first; they never forbid one."""

    def __init__(
        self,
        destination: Destination,
        capabilities: Capabilities,
        *,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._destination = destination
        self._capabilities = capabilities
        self._journal = journal
        self._clock = clock
        self._pairs: dict[Pair, bool] = {}
        self._unwelcome: dict[Strategy, datetime] = {}

    async def load(self) -> None:
        """Go on with what earlier runs learned of this very peer."""
        destination = self._destination
        address = f"{destination.remote_ae_title} {destination.remote_host} {destination.remote_port}"
        await insist(partial(self._capabilities.identify, destination.name, address), self._journal)
        since = self._clock() - EXPIRES_AFTER
        known = await insist(partial(self._capabilities.learned, destination.name, since), self._journal)
        self._pairs = {pair: capability.accepted for pair, capability in known.items()}

    def avoided(self, sop_class: str) -> frozenset[str]:
        """Transfer syntaxes that this peer does not take for a SOP class, as far as is known."""
        return frozenset(
            syntax for (known, syntax), accepted in self._pairs.items() if known == sop_class and not accepted
        )

    def in_order(self, strategies: Sequence[Strategy]) -> Sequence[Strategy]:
        """The chain as it is tried now: those whose whole association failed lately come last."""
        now = self._clock()
        return sorted(strategies, key=lambda strategy: now < self._unwelcome.get(strategy, now))

    def failed(self, strategies: Sequence[Strategy]) -> None:
        """An association was accepted after these strategies' had failed as a whole."""
        until = self._clock() + UNWELCOME_FOR
        self._unwelcome |= dict.fromkeys(strategies, until)

    async def answered(self, answers: Sequence[AnsweredContext], proposal: Proposal) -> None:
        """The peer answered what was proposed to it."""
        await self._learn(taught(answers, proposal))

    async def preferred(self, sop_class: str, refused: frozenset[str], stored: str) -> None:
        """An instance was stored in one transfer syntax after the peer had refused the same instance in others."""
        await self._learn({(sop_class, stored): True} | {(sop_class, syntax): False for syntax in refused})

    async def _learn(self, seen: Mapping[Pair, bool]) -> None:
        news = {pair: accepted for pair, accepted in seen.items() if self._pairs.get(pair) is not accepted}
        if news:
            self._pairs |= news
            await insist(partial(self._capabilities.learn, self._destination.name, news, self._clock()), self._journal)
