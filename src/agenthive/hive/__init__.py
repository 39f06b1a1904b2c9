"""THE COMPOSITION ROOT: `Hive.open(url)` wires store, runtime and agents into one object.

    async with Hive.open("memory:") as hive:
        report = await hive.run(workflow)

The only room that introduces the others to each other; what a hive does is here, by subjects.
Never here: decisions, which are the core's, and how workflows are written. To add a
subject: a part of `Hive` in a file of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from agenthive.agents.registry import AgentRegistry
from agenthive.core.history.report import RunReport
from agenthive.core.history.run_index import list_open_imports
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import (
    AgentUnavailable,
    Conflict,
)
from agenthive.hive.budgets import HiveBudgets
from agenthive.hive.human_input import HumanInput
from agenthive.hive.migrations import HiveMigrations
from agenthive.hive.resources import MEMORY, RUN_ID, bind_workflow, open_journal, open_store
from agenthive.hive.retention import HiveRetention
from agenthive.hive.run_queries import RunQueries
from agenthive.hive.schedules import HiveSchedules
from agenthive.infra.ids import uuid7
from agenthive.ipc.server import ControlServer
from agenthive.queries.journal_reader import JournalReader
from agenthive.runtimes.embedded import EmbeddedRuntime

__all__ = ["MEMORY", "RUN_ID", "Hive", "open_journal"]


class Hive(HumanInput, HiveBudgets, HiveMigrations, HiveRetention, HiveSchedules, RunQueries):
    """Runs workflows and remembers what they did.

    Made by `Hive.open`; usable after ``await`` or inside ``async with``. Safe to use from many
    tasks of one event loop.
    """

    @classmethod
    def open(
        cls,
        url: str | Path = MEMORY,
        *,
        recover: bool = False,
        max_runs: int = 1000,
        max_calls: int = 1000,
        agents: AgentRegistry | None = None,
        budgets: Mapping[str, NanoUSD] | None = None,
    ) -> Hive:
        """A hive in memory (``memory:``), in a home (the folder at ``url``), or in another store.

        ``NAME:PLACE`` is the store in the file `stores/NAME.py`; it has no home, hence no lock.

        ``recover`` goes on with the runs that are unfinished there, and starts what schedules plan.
        ``max_runs`` and ``max_calls`` bound what is under way at once; ``budgets`` what all runs
        spend together (nano-dollars by ``tenant``, ``day``, ``agent NAME``). Opening raises
        HomeBusy if another process owns the home, StoreUnavailable, StoreFailed or StoreCorrupt if
        its journal cannot be used.
        """
        directory = agents if agents is not None else AgentRegistry()
        return cls(
            url,
            recover=recover,
            max_runs=max_runs,
            max_calls=max_calls,
            agents=directory,
            budgets=budgets or {},
        )

    def __await__(self) -> Generator[Any, None, Hive]:
        return self._start().__await__()

    async def __aenter__(self) -> Hive:
        return await self._start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, *, drain: bool = False) -> None:
        """Stop and let go of everything. ``drain``: let the calls under way end first.

        Without it they are cancelled and count as lost when the home is opened again.
        """
        if self._control_server is not None:
            self._control_server.refusing = True
        if self._runtime is not None:
            if drain:
                await self._runtime.drain()
            await self._runtime.stop()
            self._runtime = None
        if self._control_server is not None:
            await self._control_server.close()
        if self._store is not None:
            await self._store.close()
            self._store = self._journal = None
        await self.agents.close()
        if self.home is not None:
            self.home.release()

    # Runs.

    async def submit(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
    ) -> str:
        """Accept a run and give its id. It is on disk when this returns.

        ``inputs`` are checked against what the workflow declares, and defaults filled in.
        Raises ConfigurationError if the workflow cannot run, AgentUnavailable if nobody has one of
        its custom agents, Conflict if there is a run ``run_id``, StoreUnavailable or StoreFailed if
        the journal takes nothing.
        """
        run = uuid7() if run_id is None else await self._check_run_id(run_id)
        if run in self._imported_ids or run in self._driver.runs:
            raise Conflict(f"run {run} exists already")
        await self._submit_run(run, workflow, dict(inputs or {}))
        return run

    async def run(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
    ) -> RunReport:
        """Submit, wait, report. Raises what `submit` raises.

        A run that fails is reported; with ``check`` it raises RunFailed, RunCancelled, RunTimedOut
        or BudgetExceeded instead (see `RunReport.raise_for_status`).
        """
        report = await self.wait(await self.submit(workflow, inputs))
        if check:
            report.raise_for_status()
        return report

    async def ended(self, run: str) -> RunStatus:
        """Wait until the run has ended, or needs somebody's help; its status.

        Raises RunNotFound, StoreFailed.
        """
        active_run = self._driver.runs.get(run)
        if active_run is not None and not active_run.is_parked:
            return await self._active_runtime.ended(run)
        return RunStatus((await self._active_journal.read_row(run)).status)

    async def wait(self, run: str) -> RunReport:
        """As `ended`, then report."""
        await self.ended(run)
        return await self.report(run)

    # Inside.

    async def _start(self) -> Hive:
        if self._runtime is not None:
            return self
        if self.home is not None:
            self.home.acquire()
            self._control_server = ControlServer(self.home, self)
        try:
            self._store = open_store(self.home, self._url, owner=True)
            self._journal = JournalReader(self._store)
            records = [record async for record in self._store.read(ev.HIVE)]
            self._driver.load_accounts(
                await self._store.list_account_states(), await self._store.list_marks()
            )
            self._driver.load_hive(records)
            self._open_imports = list_open_imports(records)
            clock = self._clock.now
            self._runtime = EmbeddedRuntime(self._driver, self._store, self.agents, clock)
            self._runtime.start()
            if self._recover:
                await self.resume()
                await self.start_schedules()
            if self._control_server is not None:
                await self._control_server.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def _submit_run(self, run: str, workflow: WorkflowSpec, parameters: JSONObject) -> None:
        workflow, inputs = bind_workflow(workflow, parameters)
        missing = self._find_missing_agents(workflow)
        if missing:
            raise AgentUnavailable("; ".join(missing.values()))
        body = definition.encode(workflow)
        name = definition.compute_digest(body)
        graph = self._cached_graph(name, workflow)
        await self._load_prices(workflow)
        event = ev.RunSubmitted(
            at=self._clock.now(), run=run, name=workflow.name, definition=name, inputs=inputs
        )
        await self._active_runtime.submit(event, graph, body)
