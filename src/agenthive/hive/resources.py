"""What the parts of a hive share: the driver, and the store and runtime while the hive is open.

`Hive` makes one `HiveResources` and passes it to each part. Nothing here is a user's verb, and
nothing here decides anything about a run.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from agenthive.agents.registry import AgentRegistry
from agenthive.authoring import agents_of, bind_inputs, check_inputs
from agenthive.core.budget.scopes import shared_scope
from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.store import Store
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RUN_ID_PREFIX
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import (
    AgentUnavailable,
    ConfigurationError,
    Conflict,
    DefinitionError,
    InvalidValue,
)
from agenthive.hive.store_urls import locate_store, open_store
from agenthive.infra.calendar import SystemCalendar
from agenthive.infra.clock import SystemClock
from agenthive.insights.unpriced import find_unpriced_tasks
from agenthive.queries.journal_reader import JournalReader
from agenthive.runtimes.embedded import EmbeddedRuntime

RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""The run ids that a caller may choose."""
MAX_CACHED_GRAPHS: Final = 100

T = TypeVar("T")


class HiveResources:
    """The collaborators of a hive, and the checks that several of its parts need.

    `store`, `journal` and `runtime` raise ConfigurationError while the hive is not open.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        max_runs: int,
        max_calls: int,
        agents: AgentRegistry,
        budgets: Mapping[str, NanoUSD],
    ) -> None:
        #: The folder that this hive owns while it is open; None for a store without a folder.
        #: `store_url` is empty if there is one.
        self.home, self.store_url = locate_store(url)
        self.agents = agents
        self.calendar = SystemCalendar()
        self.clock = SystemClock()
        #: The state of every open run, rebuilt from the journal when the hive is opened.
        self.driver = Driver(
            max_runs=max_runs,
            max_calls=max_calls,
            bind=bind_workflow,
            calendar=self.calendar,
            quoter=agents,
            limits=budgets,
        )
        #: Runs that came from files and are not in the driver. Their ids stay taken until runs are
        #: pruned, so that a request that arrives late does not reuse one.
        self.imported_ids: set[str] = set()
        #: Runs that were imported before they had ended -> their number of events at that time.
        self.open_imports: dict[str, int] = {}
        #: Runs that a process set apart while they were running -> their number of events then.
        self.set_apart: dict[str, int] = {}
        self._graphs: dict[str, Graph] = {}
        #: Digest of a definition -> whether its calls can cost anything.
        self._priced: dict[str, bool] = {}
        self._store: Store | None = None
        self._journal: JournalReader | None = None
        self._runtime: EmbeddedRuntime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the runtime works."""
        return self._runtime is not None

    @property
    def store(self) -> Store:
        """The store that the hive writes to."""
        return _require_open(self._store)

    @property
    def journal(self) -> JournalReader:
        """The journal in `store`, for reading."""
        return _require_open(self._journal)

    @property
    def runtime(self) -> EmbeddedRuntime:
        """The runtime that carries out what the driver decides."""
        return _require_open(self._runtime)

    def open_store(self) -> None:
        """Open the store and its journal. Raises StoreUnavailable, StoreFailed."""
        self._store = open_store(self.home, self.store_url, owner=True)
        self._journal = JournalReader(self._store)

    def start_runtime(self) -> None:
        """Start the runtime on the running event loop."""
        self._runtime = EmbeddedRuntime(self.driver, self.store, self.agents, self.clock.now)
        self.clock.on_step = self._runtime.record_clock_step
        self._runtime.start()

    async def stop_runtime(self, *, drain: bool) -> None:
        """Stop the runtime; with ``drain``, let the calls under way end first."""
        if self._runtime is not None:
            if drain:
                await self._runtime.drain()
            await self._runtime.stop()
            self.clock.on_step = None
            self._runtime = None

    async def close_store(self) -> None:
        """Close the store, if it is open."""
        if self._store is not None:
            await self._store.close()
            self._store = self._journal = None

    async def check_run_id(self, run: str) -> str:
        """``run``, if a caller may use it as the id of a new run.

        Raises DefinitionError for a text that cannot be a run id, Conflict if the run exists.
        """
        if run == ev.HIVE or run.startswith(RUN_ID_PREFIX) or not RUN_ID.fullmatch(run):
            raise DefinitionError(
                f"{run!r} cannot be a run id", hint="Use up to 128 letters, digits and - _ . :"
            )
        return await self.require_unused(run)

    async def require_unused(self, run: str) -> str:
        """``run``, if there is no run of that id. Raises Conflict."""
        if run in self.imported_ids or run in self.driver.runs or await self.journal.last_seq(run):
            raise Conflict(f"run {run} exists already")
        return run

    def has_prices(self, digest: str, workflow: WorkflowSpec) -> bool:
        """Whether a call of the workflow with this digest can cost anything."""
        # Remembered, because many runs of one workflow begin in a row.
        known = self._priced.get(digest)
        if known is None:
            if len(self._priced) >= MAX_CACHED_GRAPHS:
                self._priced.clear()
            known = any(self.agents.is_priced(agent) for agent in agents_of(workflow))
            self._priced[digest] = known
        return known

    async def load_prices(self, *workflows: WorkflowSpec) -> None:
        """Read the price list if a call of these workflows has a price.

        Reads in a thread: the list is a file, and the event loop must not wait for the disk.
        """
        agents = [agent for workflow in workflows for agent in agents_of(workflow)]
        if any(self.agents.is_priced(agent) for agent in agents):
            await asyncio.to_thread(self.agents.prices.load_tables)

    def require_prices(self, workflow: WorkflowSpec, graph: Graph, inputs: JSONObject) -> None:
        """Raises ConfigurationError if a call has a limit, and nothing bounds what it costs.

        The engine would refuse the call; here it is found before anything is called.
        """
        names = ["tenant", "day", *(f"agent {agent.name}" for agent in workflow.agents)]
        limit_of = self.driver.budgets.limit_of
        limits = {name: limit_of(shared_scope(name)) for name in names}
        unpriced = find_unpriced_tasks(workflow, graph, self.agents, inputs, limits)
        if unpriced:
            problems = tuple(map(str, unpriced))
            raise ConfigurationError("; ".join(problems[:3]), problems=problems)

    def cached_graph(self, digest: str, workflow: WorkflowSpec) -> Graph:
        """The graph of the definition with this digest, which all its runs share."""
        graph = self._graphs.get(digest)
        if graph is None:
            if len(self._graphs) >= MAX_CACHED_GRAPHS:
                self._graphs.clear()
            graph = self._graphs[digest] = Graph(workflow)
        return graph

    def find_missing_agents(self, workflow: WorkflowSpec) -> dict[str, str]:
        """Agents of the workflow that are not available here -> why, and how to supply them."""
        missing: dict[str, str] = {}
        for agent in agents_of(workflow):
            try:
                self.agents.find_agent(agent)
            except AgentUnavailable as error:
                missing[agent.name] = f"{error.message}. {error.hint}".strip()
        return missing

    def require_agents(self, workflow: WorkflowSpec) -> None:
        """Raises AgentUnavailable, with all reasons, if an agent of the workflow is missing."""
        missing = self.find_missing_agents(workflow)
        if missing:
            raise AgentUnavailable("; ".join(missing.values()))


def bind_workflow(
    workflow: WorkflowSpec, parameters: JSONObject
) -> tuple[WorkflowSpec, JSONObject]:
    """The workflow with its inputs filled in, and the inputs with their defaults.

    Raises ConfigurationError if the inputs do not fit what the workflow declares, InvalidValue if
    ``workflow`` is something else.
    """
    _require_workflow(workflow)
    inputs = check_inputs(workflow, parameters)
    return (bind_inputs(workflow, inputs) if inputs else workflow), inputs


def digest_of(workflow: WorkflowSpec | None) -> str | None:
    """The digest of a workflow; None for none. Raises InvalidValue if it is something else."""
    if workflow is None:
        return None
    _require_workflow(workflow)
    return definition.compute_digest(definition.encode(workflow))


def plain_text(text: str) -> str:
    """``text`` without what a journal cannot hold, such as half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()


def _require_workflow(workflow: object) -> None:
    if not isinstance(workflow, WorkflowSpec):
        raise InvalidValue(
            f"a {type(workflow).__name__} is not a workflow",
            hint="Pass a WorkflowSpec: load(FILE).spec, or workflow.build().",
        )


def _require_open(resource: T | None) -> T:
    if resource is None:
        raise ConfigurationError("the hive is not open", hint="Use `async with Hive.open(...)`.")
    return resource
