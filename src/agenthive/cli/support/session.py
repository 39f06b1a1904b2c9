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
from agenthive.cli.support.options import read_request_id
from agenthive.core.budget.scopes import run_of
from agenthive.core.history.migration import Migration
from agenthive.core.history.report import RunReport
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import NanoUSD
from agenthive.errors import HomeBusy, OwnerGone
from agenthive.hive import Hive, open_journal
from agenthive.infra.home import Home
from agenthive.infra.ids import uuid7
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
        self.request_id = read_request_id()
        """The id that the user gave to the request of this command; None: it gets a new one."""
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

    async def _request(
        self, request: Callable[[Hive], Awaitable[T]], *, starts_work: bool = False
    ) -> T:
        """Send a request to the owner; if the owner ends before it replies, send it again.

        Another process, or this one, is the owner then. A request that changes something is sent
        each time under the one id that the session made for it, so it is carried out once, and its
        answer is that of the time when it was. An owner that is about to close refuses what
        ``starts_work``: that is sent again, too.
        """
        while True:
            try:
                return await request(self.owner)
            except OwnerGone:
                pass
            except HomeBusy:
                if not starts_work:
                    raise
                await asyncio.sleep(0.05)
            await self._join_home()

    def _make_request_id(self) -> str:
        """The id of the request of this command. Each command sends one that changes something."""
        return self.request_id or uuid7()

    def _choose_run_id(self, run: str) -> str | None:
        """The id to request for a new run; None: the owner chooses it.

        It is an argument of the request, so that a repetition must not come with another one.
        """
        return run if self.request_id is None else None

    # What commands request.

    async def submit(self, workflow: WorkflowSpec, inputs: Mapping[str, Any], run: str) -> str:
        """Submit a run; its id. It is on disk when this returns.

        The id is ``run``, unless the user gave the request an id: then it is the run that the first
        request with this id has started.
        """
        run_id = self._choose_run_id(run)
        request_id = self._make_request_id()
        submitted = await self._request(
            lambda owner: owner.submit(workflow, inputs, run_id=run_id, request_id=request_id),
            starts_work=True,
        )
        await self._resume_here(submitted)
        return submitted

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
        request_id = self._make_request_id()

        async def cancel_run(owner: Hive) -> None:
            if self.hive is None:
                await owner.cancel(run, reason=reason, request_id=request_id)
            else:
                await self.hive.cancel(run, reason=reason, resume=True, request_id=request_id)

        await self._request(cancel_run)
        # An owner before this one may have recorded the request and ended before it was done.
        await self._resume_here(run)

    async def send_input(self, run: str, request: Callable[[Hive, str], Awaitable[object]]) -> None:
        """Resume a run and send a request about it, such as an approval or a signal.

        ``request`` gets the owner and the id of the request. Raises what the request raises.
        """
        request_id = self._make_request_id()

        async def resume_and_request(owner: Hive) -> None:
            await self._resume_here(run)
            await request(owner, request_id)

        await self._request(resume_and_request)

    async def change_limit(self, scope: str, amount: NanoUSD | None, **details: Any) -> None:
        """Change the limit of a scope; parameters and errors as in `HiveBudgets.change_limit`."""
        request_id = self._make_request_id()

        async def resume_and_change(owner: Hive) -> None:
            if run_of(scope):
                await self._resume_here(run_of(scope))
            await owner.budgets.change_limit(scope, amount, request_id=request_id, **details)

        await self._request(resume_and_change)

    async def migrate(self, run: str, workflow: WorkflowSpec, **details: Any) -> Migration:
        """Migrate a run; parameters, result and errors as in `HiveMigrations.migrate`."""
        request_id = self._make_request_id()
        migration = await self._request(
            lambda owner: owner.migrations.migrate(run, workflow, request_id=request_id, **details)
        )
        await self._resume_here(run)
        return migration

    async def fork(
        self, run: str, task: str, workflow: WorkflowSpec | None, fork_id: str, *, again: bool
    ) -> str:
        """Repeat a run from a task on, as a new run; its id, as for `submit`.

        Raises what `HiveForks.create` raises.
        """
        run_id = self._choose_run_id(fork_id)
        request_id = self._make_request_id()
        fork = await self._request(
            lambda owner: owner.forks.create(
                run, task, workflow, id=run_id, again=again, request_id=request_id
            ),
            starts_work=True,
        )
        await self._resume_here(fork)
        return fork

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> str:
        """Set, pause, resume, remove or trigger a schedule; the id of the run that it triggered.

        ``body`` is the encoded definition that a `ScheduleSet` names. Raises DefinitionError,
        NotFound, Conflict.
        """
        request_id = self._make_request_id()
        return await self._request(
            lambda owner: owner.schedules.apply_change(change, body, request_id=request_id),
            starts_work=True,
        )

    async def resume(self, runs: Sequence[str] | None = None) -> list[str]:
        """Resume unfinished runs (None: all); return the ids of those that were not yet active.

        It has no request id: it is about the process that owns the home, not about the journal, so
        a new owner must do it again, and where it was done it changes nothing.
        """
        run_ids = None if runs is None else list(runs)
        return await self._request(lambda owner: owner.resume(run_ids))

    async def prune(self, policy: Retention) -> AsyncIterator[PruneProgress]:
        """Delete runs past their retention; yield the progress."""
        request_id = self._make_request_id()
        while True:
            try:
                async for progress in self.owner.retention.prune(policy, request_id=request_id):
                    yield progress
                return
            except OwnerGone:
                await self._join_home()

    async def import_run(self, file: Path, *, open_too: bool) -> ImportResult:
        """Import a run from a file; ``open_too``: also one that has not ended."""
        request_id = self._make_request_id()
        return await self._request(
            lambda owner: owner.retention.import_run(file, open_too=open_too, request_id=request_id)
        )

    async def _resume_here(self, run: str) -> None:
        """Resume a run if this process owns the home; nothing happens to a run that is active."""
        if self.hive is not None:
            await self.hive.resume([run])

    async def report(self, run: str) -> RunReport:
        """The report of a run as of now."""
        if self.hive is not None:
            return await self.hive.report(run)
        async with open_journal(self.settings.home) as journal:
            return await journal.read_report(run)
