"""A home as a command sees it: owned by this process for the time of the command, or by another.

`Session.enter` becomes the owner if there is none, else asks the one there is. An owner that goes
away while we watch is followed: we become the owner ourselves and go on with the run. Reading needs
no session (`hive.reading`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from agenthive.agents.llm.prices import Prices
from agenthive.agents.registry import Directory
from agenthive.cli.support.interrupts import Interrupts
from agenthive.core.budget.scopes import run_of
from agenthive.core.history.report import RunReport
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import NanoUSD
from agenthive.errors import HomeBusy, OwnerGone, RunNotFound
from agenthive.hive import Hive, reading
from agenthive.infra.home import Home
from agenthive.infra.secrets import Secrets
from agenthive.ipc.client import Caller
from agenthive.queries.export_import import TakenIn
from agenthive.queries.journal_reader import Fact
from agenthive.queries.retention import Dropped
from agenthive.settings import Settings

PATIENCE: Final = 10.0
"""Seconds to wait for an owner that neither answers nor leaves."""


def directory(settings: Settings, files: Sequence[Path] = ()) -> Directory:
    """The agents that the settings and ``--agents`` files bring. Raises ConfigurationError."""
    guarded = settings.mode == "server"
    secrets = Secrets(settings.home / "secrets")
    prices = Prices(settings.prices)
    found = Directory(secrets, guarded=guarded, allow=settings.egress_allow, prices=prices)
    for name, where in settings.agents.items():
        found.register_lazily(name, where)
    for file in files:
        found.load_file(file)
    return found


class Session:
    """Use it as ``async with Session(settings, files) as session``.

    With ``interrupts``, waiting for an owner that does not answer can be interrupted.
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
        """The hive, if this process owns the home."""
        self._files = files
        self._caller = Caller(Home(settings.home))

    async def __aenter__(self) -> Session:
        if self._interrupts is None:
            await self._enter()
        else:
            await self._interrupts.starts(self._enter())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(drain=error is None)

    async def close(self, *, drain: bool = True) -> None:
        """Let go of the home, after the calls under way have ended if ``drain``."""
        if self.hive is not None:
            await self.hive.close(drain=drain)
            self.hive = None

    async def _enter(self) -> None:
        """Become the owner, or find the one there is. Raises HomeBusy if neither works."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.hive = await self._own()
                return
            except HomeBusy:
                if await self._answers(last=time.monotonic() > until):
                    return
            await asyncio.sleep(0.05)

    async def _own(self) -> Hive:
        settings = self.settings
        return await Hive.open(
            settings.home,
            max_runs=settings.max_runs,
            max_calls=settings.task_slots,
            agents=directory(settings, self._files),
            budgets=settings.budgets,
        )

    async def _answers(self, *, last: bool) -> bool:
        try:
            await self._caller.status()
        except HomeBusy:
            if last:
                raise
            return False
        return True

    # What commands ask for.

    async def submit(self, workflow: WorkflowSpec, inputs: Mapping[str, Any], run: str) -> None:
        """Have a run accepted under the id ``run``: by us or by the owner. It is on disk then."""
        while True:
            try:
                await (self.hive or self._caller).submit(workflow, inputs, run_id=run)
                return
            except OwnerGone:
                await self._enter()
                if await self._is_known(run):
                    await self.resume([run])
                    return
            except HomeBusy:
                # The owner was about to leave.
                await self._enter()

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run until it ends or needs somebody, whoever carries it out."""
        while True:
            try:
                async for fact in (self.hive or self._caller).watch(run, after):
                    after = fact.seq
                    yield fact
                return
            except OwnerGone:
                await self._enter()
                await self.resume([run])

    async def cancel(self, run: str, reason: str) -> None:
        """Cancel an open run. Raises RunNotFound if it is not open."""
        if self.hive is None:
            await self._caller.cancel(run, reason=reason)
            return
        # Nothing is started in between: the loop gets no turn before the cancellation is in.
        await self.hive.resume([run])
        await self.hive.cancel(run, reason=reason)

    async def say(self, what: str, run: str, *about: str, **said: Any) -> None:
        """Tell a run what somebody says: ``approve``, ``signal`` or ``resolve``, as `Hive` has it.

        Raises what that raises.
        """
        while True:
            try:
                if self.hive is not None:
                    await self.hive.resume([run])
                await getattr(self.hive or self._caller, what)(run, *about, **said)
                return
            except OwnerGone:
                await self._enter()

    async def set_budget(self, scope: str, amount: NanoUSD | None, **said: Any) -> None:
        """Set the limit of a scope, as `Hive.set_budget` does and raises."""
        while True:
            try:
                if self.hive is not None and run_of(scope):
                    await self.hive.resume([run_of(scope)])
                await (self.hive or self._caller).set_budget(scope, amount, **said)
                return
            except OwnerGone:
                await self._enter()

    async def migrate(self, run: str, workflow: WorkflowSpec, **said: Any) -> None:
        """Let a run go on under a changed workflow, as `Hive.migrate` does and raises."""
        while True:
            try:
                await (self.hive or self._caller).migrate(run, workflow, **said)
                return
            except OwnerGone:
                await self._enter()

    async def fork(
        self, run: str, task: str, workflow: WorkflowSpec | None, fork: str, *, again: bool
    ) -> None:
        """Have a run done again from a task on, as the run ``fork``; raises as `Hive.fork`."""
        while True:
            try:
                await (self.hive or self._caller).fork(run, task, workflow, id=fork, again=again)
                return
            except OwnerGone:
                await self._enter()
                if await self._is_known(fork):
                    await self.resume([fork])
                    return
            except HomeBusy:
                # The owner was about to leave.
                await self._enter()

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Have a schedule set, paused, resumed, removed or triggered.

        Raises DefinitionError, NotFound, Conflict.
        """
        while True:
            try:
                await (self.hive or self._caller).change_schedule(change, body)
                return
            except (OwnerGone, HomeBusy):
                await self._enter()

    async def resume(self, runs: Sequence[str] | None = None) -> list[str]:
        """Have unfinished runs taken up; the ids of those that were not in hand already."""
        return await (self.hive or self._caller).resume(None if runs is None else list(runs))

    def collect(self, policy: Retention) -> AsyncIterator[Dropped]:
        """Have dropped what is kept no longer; how far that is. Raises OwnerGone."""
        return (self.hive or self._caller).collect(policy)

    async def take_in(self, file: Path, *, open_too: bool) -> TakenIn:
        """Have a run taken in from a file."""
        return await (self.hive or self._caller).take_in(file, open_too=open_too)

    async def report(self, run: str) -> RunReport:
        """What a run came to so far."""
        if self.hive is not None:
            return await self.hive.report(run)
        async with reading(self.settings.home) as archive:
            return await archive.report(run)

    async def _is_known(self, run: str) -> bool:
        async with reading(self.settings.home) as archive:
            try:
                await archive.find(run)
            except RunNotFound:
                return False
            return True
