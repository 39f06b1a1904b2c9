"""THE COMPOSITION ROOT: `Hive.open(url)` joins a store, a runtime and agents into one object.

    async with Hive.open("memory:") as hive:
        report = await hive.run(workflow)

What lives here: `Hive` with the verbs of a run (submit, wait, cancel, watch, ...), and one part for
each further subject, which `Hive` holds as an attribute: `approvals`, `signals`, `budgets`,
`schedules`, `migrations`, `forks` and `retention`. A part is a class in a file of its own. It
receives `HiveResources` and, if it needs one, another part; it never receives the `Hive`. The parts
translate a call into a request to the driver and wait until the request is committed. Every call
that changes something takes a ``request_id``; `HiveRequests` says what it is for.

What never lives here: decisions about runs, which `core` makes, and the syntax of workflows, which
`authoring` reads. This is the only package that knows all the others.

To add a subject: a class in a file here, an attribute in `Hive`, and a row for each verb that other
processes may use in `ipc/protocol.py`. To add a store: see `store_urls`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from agenthive.agents.registry import AgentRegistry
from agenthive.core.engine.human_input import TaskResolution
from agenthive.core.engine.reply_validation import to_plain_json
from agenthive.core.history.report import RunReport
from agenthive.core.history.run_index import list_open_imports, list_set_apart
from agenthive.core.journal.records import RequestRow, RunRow
from agenthive.core.journal.run_events import RunSubmitted
from agenthive.core.model import definition
from agenthive.core.model.states import Reason, RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue, NanoUSD
from agenthive.errors import Conflict, StoreFailed
from agenthive.hive.approvals import HiveApprovals
from agenthive.hive.budgets import HiveBudgets
from agenthive.hive.forks import HiveForks
from agenthive.hive.migrations import HiveMigrations
from agenthive.hive.recovery import RunRecovery
from agenthive.hive.requests import HiveRequests, KeepAnswer, keep_nothing
from agenthive.hive.resources import RUN_ID, HiveResources, bind_workflow, digest_of, plain_text
from agenthive.hive.retention import HiveRetention
from agenthive.hive.schedules import HiveSchedules
from agenthive.hive.signals import HiveSignals
from agenthive.hive.store_urls import MEMORY, open_journal
from agenthive.hive.watching import stream_run, wait_for_end, watch_run
from agenthive.infra.home import Home
from agenthive.infra.ids import uuid7
from agenthive.ipc.server import ControlServer
from agenthive.queries.damage import decode_hive_record, read_hive_records
from agenthive.queries.journal_reader import EventView, JournalReader
from agenthive.runtimes.stream_listeners import Piece

__all__ = ["MEMORY", "RUN_ID", "Hive", "open_journal"]


class Hive:
    """Runs workflows and keeps a journal of what they did.

        async with Hive.open("my-home") as hive:
            report = await hive.run(workflow, {"topic": "bees"})

    Made by `Hive.open`; usable after ``await`` or inside ``async with``. Safe to use from many
    tasks of one event loop. Every method but `open` and `close` raises ConfigurationError while the
    hive is not open.
    """

    def __init__(self, resources: HiveResources, *, recover: bool) -> None:
        self._resources = resources
        self._recover = recover
        self._recovery = RunRecovery(resources)
        #: Where other processes reach this one; None for a store without a folder.
        self._control_server: ControlServer | None = None
        self._requests = requests = HiveRequests(resources)
        self.approvals = HiveApprovals(resources, requests)
        self.signals = HiveSignals(resources, requests)
        self.budgets = HiveBudgets(resources, requests)
        self.schedules = HiveSchedules(resources, requests)
        self.migrations = HiveMigrations(resources, requests, self._recovery)
        self.forks = HiveForks(resources, requests)
        self.retention = HiveRetention(resources, requests)

    # Opening and closing.

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

        ``NAME:PLACE`` is the store in the file `stores/NAME.py`; it has no home, hence no lock. A
        `Path` is always a folder.

        ``recover`` resumes the runs that are unfinished there, and starts the schedules.
        ``max_runs`` and ``max_calls`` bound the runs and calls under way; ``budgets`` are limits of
        all runs together (nano-dollars by ``tenant``, ``day``, ``agent NAME``). Raises
        ConfigurationError for a URL of an unknown scheme; opening raises HomeBusy if another
        process owns the home, StoreUnavailable, StoreFailed or StoreCorrupt if its journal cannot
        be used.
        """
        resources = HiveResources(
            url,
            max_runs=max_runs,
            max_calls=max_calls,
            agents=agents if agents is not None else AgentRegistry(),
            budgets=budgets or {},
        )
        return cls(resources, recover=recover)

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
        """Stop the runtime and release the home. With ``drain``, calls under way end first.

        Without ``drain`` they are cancelled, and made again under the same keys when the runs are
        resumed. May be called twice.
        """
        if self._control_server is not None:
            self._control_server.refusing = True
        await self._resources.stop_runtime(drain=drain)
        if self._control_server is not None:
            await self._control_server.close()
        await self._resources.close_store()
        await self.agents.close()
        if self.home is not None:
            self.home.release()

    @property
    def agents(self) -> AgentRegistry:
        """The agents that runs of this hive use."""
        return self._resources.agents

    @property
    def home(self) -> Home | None:
        """The folder that this hive owns, None for a store without a folder."""
        return self._resources.home

    @property
    def journal(self) -> JournalReader:
        """The journal, for reading: events, stories, accounts, sizes, checks of the hash chain."""
        return self._resources.journal

    # Starting and stopping runs.

    async def submit(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        request_id: str | None = None,
    ) -> str:
        """Accept a run; its id. The run is on disk when this returns.

        ``inputs`` are checked against what the workflow declares, and defaults are filled in.
        Called again with the same ``request_id``, it accepts no second run and returns the id of
        the first (see `HiveRequests`). Raises ConfigurationError if the workflow cannot run,
        AgentUnavailable if one of its custom agents is not registered here, Conflict if there is a
        run ``run_id``, StoreUnavailable or StoreFailed if the journal takes no writes.
        """
        if request_id is None:
            return await self._accept_run(workflow, inputs, run_id, keep_nothing)
        return await self._requests.execute_once(
            request_id,
            "submit",
            {"workflow": digest_of(workflow), "inputs": dict(inputs or {}), "run": run_id},
            lambda keep: self._accept_run(workflow, inputs, run_id, keep),
            str,
        )

    async def _accept_run(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None,
        run_id: str | None,
        keep: KeepAnswer,
    ) -> str:
        run = uuid7() if run_id is None else await self._resources.check_run_id(run_id)
        # The check above waited for the disk: another task may have taken the id meanwhile.
        if run in self._resources.imported_ids or run in self._resources.driver.runs:
            raise Conflict(f"run {run} exists already")
        await self._submit_run(run, workflow, dict(inputs or {}), keep(run))
        return run

    async def run(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
    ) -> RunReport:
        """Submit a run, wait for its end, and report. Raises what `submit` raises.

        A run that fails is reported; with ``check`` it raises RunFailed, RunCancelled, RunTimedOut
        or BudgetExceeded instead (see `RunReport.raise_for_status`).
        """
        report = await self.wait(await self.submit(workflow, inputs))
        if check:
            report.raise_for_status()
        return report

    async def resume(self, runs: list[str] | None = None) -> list[str]:
        """Continue these runs, or every unfinished one; the ids of those that were not open here.

        A run that was imported before it had ended is resumed only by its id. Calls that were under
        way when the process ended are made again under the same keys.
        """
        return await self._recovery.resume(runs)

    async def cancel(
        self,
        run: str,
        *,
        reason: str = "",
        actor: str = "local",
        resume: bool = False,
        request_id: str | None = None,
    ) -> None:
        """Cancel an open run and its calls; the request is on disk when this returns.

        With ``resume``, a run that is not open here is taken over first, and none of its tasks
        starts. Raises RunNotFound if the run is not open here.
        """
        details = (plain_text(actor), plain_text(reason))

        async def cancel_run(keep: KeepAnswer) -> None:
            if resume:
                # No task starts in between: the event loop gets no turn before the cancellation.
                await self._recovery.resume([run])
            await self._resources.runtime.cancel(run, *details, keep(None))

        arguments: JSONObject = {"run": run, "reason": reason, "actor": actor}
        await self._requests.execute_once(request_id, "cancel", arguments, cancel_run, type(None))

    async def resolve_outcome(
        self,
        run: str,
        task: str,
        outcome: str,
        result: JSONValue = None,
        *,
        actor: str = "local",
        reason: str = "",
        request_id: str | None = None,
    ) -> None:
        """Record the outcome of a call of unknown outcome; it is on disk when this returns.

        ``outcome`` is ``succeeded`` (with ``result``), ``failed`` or ``retry``. Raises RunNotFound,
        NotFound, Conflict if the outcome is not unknown.
        """
        resolution = TaskResolution(
            run=run,
            task=task,
            outcome=outcome,
            result=to_plain_json(result),
            actor=plain_text(actor),
            reason=plain_text(reason),
        )
        driver, runtime = self._resources.driver, self._resources.runtime
        await self._requests.execute_once(
            request_id,
            "resolve",
            msgspec.to_builtins(resolution),
            lambda keep: runtime.commit_request(
                lambda now, token: driver.resolve_outcome(now, resolution, token), keep(None)
            ),
            type(None),
        )

    # Following and reading runs.

    async def wait(self, run: str) -> RunReport:
        """Wait as `wait_for_end` does, then report. Raises RunNotFound, StoreFailed."""
        await self.wait_for_end(run)
        return await self.report(run)

    async def wait_for_end(self, run: str) -> RunStatus:
        """Wait until a run has ended; its status.

        Also returns, with ``waiting``, when every open task of the run waits for something that
        must come from outside: an approval, a signal, a missing agent, a budget. Raises
        RunNotFound, StoreFailed.
        """
        return await wait_for_end(self._resources, run)

    def watch(self, run: str, after: int = 0) -> AsyncIterator[EventView]:
        """The events of a run after event number ``after``, as they are committed.

        Ends when `wait_for_end` returns. Raises RunNotFound, StoreFailed.
        """
        return watch_run(self._resources, run, after)

    def stream(self, run: str) -> AsyncIterator[Piece]:
        """The replies of models as they arrive, from tasks with ``stream: true``.

        Begins now, and ends when `wait_for_end` returns; to miss nothing, call it before the run is
        submitted. The pieces are not in the journal, which holds each reply as a whole.
        """
        return stream_run(self._resources, run)

    async def runs(self, *, unfinished: bool = False, limit: int | None = None) -> list[RunRow]:
        """Rows of the list of runs, newest first."""
        return await self.journal.list_runs(unfinished=unfinished, limit=limit)

    @property
    def set_apart_runs(self) -> dict[str, str]:
        """Runs that cannot be continued here, by id -> why. All other runs are not affected."""
        return self._resources.driver.set_apart_runs

    async def report(self, run: str) -> RunReport:
        """The results, errors, times and costs of a run so far. Raises RunNotFound."""
        return await self.journal.read_report(run)

    async def why(self, run: str) -> list[Reason]:
        """Why each open task of a run waits. Raises RunNotFound."""
        return await self.journal.list_reasons(run, self.store_error)

    @property
    def store_error(self) -> str:
        """Why the journal takes no writes now; empty if it does."""
        runtime = self._resources.runtime
        error = runtime.fatal_error or runtime.unavailable_error
        return "" if error is None else error.message

    @property
    def fatal_error(self) -> StoreFailed | None:
        """Why the journal takes no writes until the home is opened again; None if it does."""
        return self._resources.runtime.fatal_error

    @property
    def is_idle(self) -> bool:
        """Whether every open run waits for something from outside, and no schedule is due."""
        driver = self._resources.driver
        due = driver.schedules.next_wake()
        no_schedule_due = due is None or due > self._resources.clock.now()
        return no_schedule_due and all(run.is_parked for run in driver.runs.values())

    # Inside.

    async def _start(self) -> Hive:
        if self._resources.is_open:
            return self
        if self.home is not None:
            self.home.acquire()
            self._control_server = ControlServer(self.home, self)
        try:
            self._resources.open_store()
            await self._load_journal()
            self._resources.start_runtime()
            if self._recover:
                await self.resume()
                await self.schedules.start()
            if self._control_server is not None:
                await self._control_server.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def _load_journal(self) -> None:
        """Rebuild the driver's accounts, schedules and limits from the journal."""
        store, driver = self._resources.store, self._resources.driver
        records = [record async for record in read_hive_records(store)]
        for record in records:
            decode_hive_record(record)
        marks = await store.list_marks()
        driver.load_accounts(await store.list_account_states(), marks)
        driver.load_hive(records)
        self._resources.open_imports = list_open_imports(records)
        self._resources.set_apart = {
            run: events for run, (events, _) in list_set_apart(marks).items()
        }
        for run in driver.set_apart_runs:
            if self._resources.set_apart.get(run) != await self.journal.last_seq(run):
                driver.clear_set_apart(run)

    async def _submit_run(
        self, run: str, workflow: WorkflowSpec, parameters: JSONObject, row: RequestRow | None
    ) -> None:
        bound_workflow, inputs = bind_workflow(workflow, parameters)
        self._resources.require_agents(bound_workflow)
        body = definition.encode(bound_workflow)
        digest = definition.compute_digest(body)
        graph = self._resources.cached_graph(digest, bound_workflow)
        if self._resources.has_prices(digest, bound_workflow):
            await self._resources.load_prices(bound_workflow)
            self._resources.require_prices(bound_workflow, graph, inputs)
        event = RunSubmitted(
            at=self._resources.clock.now(),
            run=run,
            name=bound_workflow.name,
            definition=digest,
            inputs=inputs,
        )
        await self._resources.runtime.submit(event, graph, body, row)
