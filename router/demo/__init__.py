"""The router at work: a modality, the router, and PACS of different kinds, all on loopback.

What it says is what happened: by the router's journal and queue, and by what the PACS themselves have.
"""

import json as json_text
import math
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from time import monotonic

import anyio
import anyio.to_thread

from router.daemon import Daemon, StartError
from router.daemon.clock import now
from router.demo import configuration
from router.demo.ledger import Ledger
from router.demo.live import Live
from router.demo.modality import Sample, samples, send
from router.demo.pacs import HOST, Pacs, usual
from router.demo.report import Report, as_json, show
from router.demo.verdict import judge, judge_intake
from router.dicom.survey import known_keywords
from router.durable.queue import Entry, Query
from router.durable.sqlite import SqliteDesk
from router.journal import Journal
from router.model.delivery import State
from router.settings import Configuration, ConfigurationError, load

AT_MOST = 30.0
"""Seconds in which nothing may be owed any more."""
LOOK_AROUND = 120.0
"""Seconds that the page stays for somebody at a terminal who did not ask for more."""

SETTLED_WITHIN = 5.0
"""Seconds from the last answer of a PACS until the queue has it."""

INCOMPLETE = 1
INTERRUPTED = 128 + signal.SIGINT


def main(*, json: bool, keep: bool = False, stay: bool = False, pacs: Sequence[Pacs] | None = None) -> int:
    """Show the router at work.

    Args:
        json: the report is one JSON object on standard output.
        keep: leave the configuration, the spool, and what the PACS received.
        stay: keep the router running, with its page, until somebody ends it; otherwise it stays for two minutes if
            somebody sits at a terminal, and else not at all.
        pacs: others than the usual ones.

    Returns:
        The exit code: 0 only if every object that can be delivered was, unchanged.
    """
    code = INTERRUPTED
    stays = math.inf if stay else LOOK_AROUND * (sys.stdin.isatty() and sys.stdout.isatty())
    tell = partial(_tell, json=json)
    try:
        with _folder(keep=keep) as folder, Live() as live:
            report = anyio.run(_Demonstration(folder, pacs or usual(), live, tell, keep=keep, stays=stays).run)
            if report is not None:
                code = INCOMPLETE if report.all_problems else 0
    except* (StartError, ConfigurationError) as errors:
        sys.stderr.write("".join(f"{sentence}\n" for sentence in _sentences(errors)))
        code = INCOMPLETE
    except* KeyboardInterrupt:
        pass  # before the router was there to obey
    return code


def _sentences(errors: BaseExceptionGroup[Exception]) -> Iterator[str]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _sentences(error)
        else:
            yield str(error)


def _tell(report: Report, *, json: bool) -> None:
    if json:
        sys.stdout.write(json_text.dumps(as_json(report), indent=2) + "\n")
    else:
        show(report)


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Where everything lies."""
    prefix = "dicom-router-"  # short: the path of a Unix socket has at most 107 bytes
    if keep:
        yield Path(mkdtemp(prefix=prefix))
    else:
        with TemporaryDirectory(prefix=prefix) as folder:
            yield Path(folder)


class _Demonstration:
    """One run: who takes part, and in which order things happen."""

    def __init__(
        self,
        folder: Path,
        pacs: Sequence[Pacs],
        live: Live,
        tell: Callable[[Report], None],
        *,
        keep: bool,
        stays: float,
    ) -> None:
        self._folder = folder
        self._file = folder / "router.yaml"
        self._pacs = pacs
        self._live = live
        self._tell = tell
        self._keep = keep
        self._stays = stays
        self._port = configuration.free_port()
        self._page = configuration.free_port()
        self._seconds_to_accept = 0.0

    async def run(self) -> Report | None:
        """From an empty folder to a report; None if somebody ended it."""
        began = monotonic()
        found = await anyio.to_thread.run_sync(samples, self._folder / "modality")
        await anyio.to_thread.run_sync(configuration.write, self._file, self._port, self._page, self._pacs)
        self._live.introduce(len(found), self._pacs, f"http://{HOST}:{self._page}")
        acting = anyio.CancelScope(deadline=anyio.current_time() + AT_MOST)
        ledger = Ledger(interrupted=acting.cancel)
        async with self._pacs_at_work(), anyio.create_task_group() as running:
            await running.start(Daemon(self._read(), Journal(ledger, self._live), self._read).run)
            with acting:
                await self._act(found, ledger)
            if ledger.stopping:
                return None
            self._live.fallbacks(ledger.fallbacks)
            entries = await self._settled()
            report = await anyio.to_thread.run_sync(self._report, found, ledger, entries, monotonic() - began)
            self._live.finish()
            self._tell(report)
            if self._stays:
                for_so_long = "" if self._stays == math.inf else f"for {self._stays:.0f} s or "
                self._live.say("PAGE", f"http://{HOST}:{self._page} shows what happened, {for_so_long}until Ctrl-C")
                self._live.say("COMMANDS", f"such as `dicom-router status --config {self._file}` ask the same router")
            with anyio.move_on_after(self._stays):
                await ledger.ended.wait()
            if not ledger.stopping:
                # In order, as an operator would end it.
                signal.raise_signal(signal.SIGTERM)
        return report

    def _read(self) -> Configuration:
        return load(self._file, environment={}, known_keywords=known_keywords())

    async def _act(self, found: Sequence[Sample], ledger: Ledger) -> None:
        """The modality sends, the router delivers, and a PACS goes down and comes back."""
        async with anyio.create_task_group() as fainting:
            for pacs in self._pacs:
                if pacs.down_for:
                    fainting.start_soon(self._faint, pacs)
            began = monotonic()
            await send(found, self._port, self._folder, self._live.sent)
            self._seconds_to_accept = monotonic() - began
            self._live.accepted(len(ledger.accepted), len(found), self._seconds_to_accept)
            await ledger.nothing_owed()
            fainting.cancel_scope.cancel()

    # PACS, whose threads block

    @asynccontextmanager
    async def _pacs_at_work(self) -> AsyncIterator[None]:
        try:
            for pacs in self._pacs:
                await self._open(pacs)
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as closing:
                    for pacs in self._pacs:
                        closing.start_soon(anyio.to_thread.run_sync, pacs.close)

    async def _faint(self, pacs: Pacs) -> None:
        while not pacs.fainted.is_set():  # noqa: ASYNC110 -- set in a thread of the PACS, which cannot notify us
            await anyio.sleep(0.02)
        await anyio.to_thread.run_sync(pacs.close)
        self._live.say(pacs.name, "has gone down")
        await anyio.sleep(pacs.down_for)
        await self._open(pacs)
        self._live.say(pacs.name, "is up again")

    async def _open(self, pacs: Pacs) -> None:
        await anyio.to_thread.run_sync(pacs.open, self._folder / pacs.name if self._keep else None)

    # The end

    async def _settled(self) -> Sequence[Entry]:
        """What the queue says about each delivery, as soon as it has the last answers too."""
        desk = SqliteDesk(self._folder / "spool" / "queue.db")
        await anyio.to_thread.run_sync(desk.open)
        try:
            with anyio.move_on_after(SETTLED_WITHIN):
                while any(  # noqa: ASYNC110 -- the queue tells its own daemon of changes, nobody else
                    each.state is State.IN_FLIGHT for each in await desk.tallies() if each.deliveries
                ):
                    await anyio.sleep(0.02)
            return await desk.entries(Query(limit=1_000_000), now())
        finally:
            await anyio.to_thread.run_sync(desk.close)

    def _report(self, found: Sequence[Sample], ledger: Ledger, entries: Sequence[Entry], seconds: float) -> Report:
        refused: dict[str, list[str]] = {}
        for each in found:
            if (refusal := ledger.refused.get(each.identity.sop_instance)) is not None:
                refused.setdefault(f"{refusal.error} ({refusal.status})", []).append(each.name)
        verdicts = [
            judge(pacs, found, ledger, [entry for entry in entries if entry.destination == pacs.name])
            for pacs in self._pacs
        ]
        return Report(
            sent=len(found),
            accepted=len(ledger.accepted),
            refused=refused,
            seconds_to_accept=self._seconds_to_accept,
            seconds=seconds,
            destinations=verdicts,
            problems=judge_intake(found, ledger),
            folder=self._folder if self._keep else None,
        )
