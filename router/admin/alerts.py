"""Alerts: what is wrong is told once to whom it concerns, again when it lasts, and once more when it is over.

Nothing waits for this: it looks every few seconds, and a channel that does not take an alert in time is tried again
with the next look. What was told is not remembered over a restart: what is still wrong then is told again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio

from router.admin.channels import ChannelError, Notice, describe, send
from router.admin.concerns import Concerns, Condition
from router.journal import AlertFailed, Journal
from router.model.alert import AlertRule, Concern

LOOK_SECONDS = 15.0
LOOK_TIMES = 20
"""It looks every so many seconds, and twenty times as rarely as it takes: a long queue is asked rarely."""

Key = tuple[Concern, str]


class Alerts:
    """Looks, and tells."""

    def __init__(self, concerns: Concerns, *, journal: Journal, clock: Callable[[], datetime]) -> None:
        """Alerts that nobody is told of until ``configure``.

        Args:
            concerns: know what is wrong.
            journal: told once when a channel begins to fail.
            clock: the time of day.
        """
        self._concerns = concerns
        self._journal = journal
        self._clock = clock
        self._since: dict[Key, datetime] = {}
        self._audiences: list[_Audience] = []

    def configure(self, rules: Sequence[AlertRule]) -> None:
        """Who is told from now on; who was told before, and what, is not forgotten."""
        known = {audience.rule: audience for audience in self._audiences}
        self._audiences = [known.get(rule) or _Audience(rule) for rule in dict.fromkeys(rules)]

    async def run(self) -> None:
        """Look, tell, wait, until cancelled."""
        while True:
            began = anyio.current_time()
            if self._audiences:
                await self.look()
            await anyio.sleep(max(LOOK_SECONDS, LOOK_TIMES * (anyio.current_time() - began)))

    async def look(self) -> None:
        """Once; returns when every channel has taken what there was for it, or was given up for now."""
        conditions = {condition.key: condition for condition in await self._concerns.now()}
        now = self._clock()
        self._since = {key: condition.since or self._since.get(key, now) for key, condition in conditions.items()}
        async with anyio.create_task_group() as telling:
            for audience in self._audiences:
                telling.start_soon(self._tell, audience, list(audience.due(conditions, self._since, now)), now)

    async def _tell(self, audience: "_Audience", notices: Sequence[Notice], now: datetime) -> None:
        try:
            for notice in notices:
                await send(audience.rule.channel, notice)
                audience.was_told(notice, now)
        except ChannelError as error:
            if not audience.fails:
                sentence = f"{describe(audience.rule.channel)} did not take an alert: {error}"
                self._journal.publish(AlertFailed(error=f"{sentence}; it is tried again"))
            audience.fails = True
        else:
            audience.fails = audience.fails and not notices


@dataclass(slots=True)
class _Told:
    """What somebody was told, and when."""

    notice: Notice
    last: datetime


class _Audience:
    """One rule, and what was told by it."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self.fails = False
        """The latest alert was not taken."""
        self._told: dict[Key, _Told] = {}

    def due(self, conditions: dict[Key, Condition], since: dict[Key, datetime], now: datetime) -> Iterator[Notice]:
        """What has to be told now."""
        for key, condition in conditions.items():
            told = self._told.get(key)
            wrong_long_enough = condition.concern in self.rule.on and now - since[key] >= self.rule.after
            if wrong_long_enough and (told is None or now - told.last >= self.rule.repeat):
                yield Notice(condition.concern, condition.subject, condition.sentence, since[key])
        for key, told in self._told.items():
            if key not in conditions:
                before = told.notice
                yield Notice(before.concern, before.subject, before.sentence, before.since, over=True)

    def was_told(self, notice: Notice, now: datetime) -> None:
        """It was taken."""
        key = (notice.concern, notice.subject)
        if notice.over:
            del self._told[key]
        else:
            self._told[key] = _Told(notice, now)
