"""A home as a command uses it: owned by this process while the command runs, or by another one.

Entering a `Session` takes ownership of the home; if another process owns it, the session sends its
requests to that process. If that process ends meanwhile, the session takes ownership and continues
the run. Reading needs no session (`hive.open_journal`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from agenthive.agents.llm.prices import Prices
from agenthive.agents.registry import AgentRegistry
from agenthive.cli.support.interrupts import Interrupts
from agenthive.core.budget.scopes import run_of
from agenthive.core.history.report import RunReport
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import NanoUSD
from agenthive.errors import HomeBusy, OwnerGone, RunNotFound
from agenthive.hive import Hive, open_journal
from agenthive.infra.home import Home
from agenthive.infra.secrets import Secrets
from agenthive.ipc.client import ControlClient
from agenthive.queries.export_import import ImportResult
from agenthive.queries.journal_reader import EventView
from agenthive.queries.retention import PruneProgress
from agenthive.settings import Settings

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds to wait for an owner that holds the home but does not respond."""


def build_registry(settings: Settings, files: Sequence[Path] = ()) -> AgentRegistry:
    """The registry with the agents of the settings and ``files``. Raises ConfigurationError."""
    guarded = settings.mode == "server"
    secrets = Secrets(settings.home / "secrets")
    prices = Prices(settings.prices)
    registry = AgentRegistry(secrets, guarded=guarded, allow=settings.egress_allow, prices=prices)
    for name, source in settings.agents.items():
        registry.register_lazily(name, source)
    for file in files:
        registry.load_file(file)
    return registry


class Session:
    """Access to a home within ``async with Session(settings, files) as session``.

    With ``interrupts``, a signal ends the wait for an owner that does not respond.
    """

    def __init__(
        self,
        settings: Settings,
        files: Sequence[Path] = (),
        interrupts: Interrupts | None = None,
    ) -> None:
        self.settings = settings
        self._interrupts = interrupts
        self.hive: Hive | None = None
        """The hive if this process owns the home; None if another process does."""
        self._files = files
        self._client = ControlClient(Home(settings.home))
        self._remote_owner = self._client.proxy_for(Hive)

    async def __aenter__(self) -> Session:
        if self._interrupts is None:
            await self._join_home()
        else:
            await self._interrupts.run_or_abort(self._join_home())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(drain=error is None)

    async def close(self, *, drain: bool = True) -> None:
        """Release the home; with ``drain``, after the calls in flight have finished."""
        if self.hive is not None:
            await self.hive.close(drain=drain)
            self.hive = None

    async def _join_home(self) -> None:
        """Take ownership or reach the owner. Raises HomeBusy if neither works for PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.hive = await self._open_hive()
                return
            except HomeBusy:
                if await self._owner_answers(is_last=time.monotonic() > deadline):
                    return
            await asyncio.sleep(0.05)

    async def _open_hive(self) -> Hive:
        settings = self.settings
        return await Hive.open(
            settings.home,
            max_runs=settings.max_runs,
            max_calls=settings.task_slots,
            agents=build_registry(settings, self._files),
            budgets=settings.budgets,
        )

    async def _owner_answers(self, *, is_last: bool) -> bool:
        try:
            await self._client.status()
        except HomeBusy:
            if is_last:
                raise
            return False
        return True

    @property
    def owner(self) -> Hive:
        """The owner of the home: our hive, or a proxy with the verbs of the control socket."""
        return self.hive or self._remote_owner

    async def _request(self, request: Callable[[Hive], Awaitable[T]]) -> T:
        """Send a request to the owner; if the owner ends, take ownership and send it again."""
        while True:
            try:
                return await request(self.owner)
            except OwnerGone:
                await self._join_home()

    # What commands request.

    async def submit(self, workflow: WorkflowSpec, inputs: Mapping[str, Any], run: str) -> None:
        """Submit a run under the id ``run``; it is on disk when this returns."""
        while True:
            try:
                await self.owner.submit(workflow, inputs, run_id=run)
                return
            except OwnerGone:
                await self._join_home()
                if await self._is_known(run):
                    await self.resume([run])
                    return
            except HomeBusy:
                # The owner is closing and accepts nothing more.
                await self._join_home()

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[EventView]:
        """The events of a run until it ends or waits for input, whichever process runs it."""
        while True:
            try:
                async for event in self.owner.watch(run, after):
                    after = event.seq
                    yield event
                return
            except OwnerGone:
                await self._join_home()
                await self.resume([run])

    async def cancel(self, run: str, reason: str) -> None:
        """Cancel an open run. Raises RunNotFound if it is not open."""
        if self.hive is None:
            await self._remote_owner.cancel(run, reason=reason)
            return
        # No task starts between the two calls: neither yields to the event loop before the
        # cancellation is recorded.
        await self.hive.resume([run])
        await self.hive.cancel(run, reason=reason)

    async def send_input(self, run: str, request: Callable[[Hive], Awaitable[object]]) -> None:
        """Resume a run and send a request about it, such as an approval or a signal.

        Raises what the request raises.
        """

        async def resume_and_request(owner: Hive) -> None:
            if self.hive is not None:
                await self.hive.resume([run])
            await request(owner)

        await self._request(resume_and_request)

    async def change_limit(self, scope: str, amount: NanoUSD | None, **details: Any) -> None:
        """Change the limit of a scope; parameters and errors as in `HiveBudgets.change_limit`."""

        async def resume_and_change(owner: Hive) -> None:
            if self.hive is not None and run_of(scope):
                await self.hive.resume([run_of(scope)])
            await owner.budgets.change_limit(scope, amount, **details)

        await self._request(resume_and_change)

    async def migrate(self, run: str, workflow: WorkflowSpec, **details: Any) -> None:
        """Migrate a run; parameters and errors as in `HiveMigrations.migrate`."""
        await self._request(lambda owner: owner.migrations.migrate(run, workflow, **details))

    async def fork(
        self, run: str, task: str, workflow: WorkflowSpec | None, fork_id: str, *, again: bool
    ) -> None:
        """Repeat a run from a task on as the run ``fork_id``; raises as `HiveForks.create`."""
        while True:
            try:
                await self.owner.forks.create(run, task, workflow, id=fork_id, again=again)
                return
            except OwnerGone:
                await self._join_home()
                if await self._is_known(fork_id):
                    await self.resume([fork_id])
                    return
            except HomeBusy:
                # The owner is closing and accepts nothing more.
                await self._join_home()

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Set, pause, resume, remove or trigger a schedule.

        ``body`` is the encoded definition that a `ScheduleSet` names. Raises DefinitionError,
        NotFound, Conflict.
        """
        while True:
            try:
                await self.owner.schedules.apply_change(change, body)
                return
            except (OwnerGone, HomeBusy):
                await self._join_home()

    async def resume(self, runs: Sequence[str] | None = None) -> list[str]:
        """Resume unfinished runs (None: all); return the ids of those that were not yet active."""
        return await self.owner.resume(None if runs is None else list(runs))

    def prune(self, policy: Retention) -> AsyncIterator[PruneProgress]:
        """Delete runs past their retention; yield the progress. Raises OwnerGone."""
        return self.owner.retention.prune(policy)

    async def import_run(self, file: Path, *, open_too: bool) -> ImportResult:
        """Import a run from a file; ``open_too``: also one that has not ended."""
        return await self.owner.retention.import_run(file, open_too=open_too)

    async def report(self, run: str) -> RunReport:
        """The report of a run as of now."""
        if self.hive is not None:
            return await self.hive.report(run)
        async with open_journal(self.settings.home) as journal:
            return await journal.read_report(run)

    async def _is_known(self, run: str) -> bool:
        async with open_journal(self.settings.home) as journal:
            try:
                await journal.find_run(run)
            except RunNotFound:
                return False
            return True
