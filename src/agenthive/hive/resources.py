"""What every part of a hive stands on: its store, runtime, driver and agents, once it is open.

Nobody makes one; `Hive` is made of the parts. The scheme of a URL is the name of a file in
`stores/`, so a new store needs no line here.
"""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from agenthive.agents.registry import AgentRegistry
from agenthive.authoring import agents_of, bind_inputs, check_inputs
from agenthive.core.engine.child_runs import related_runs
from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RUN_ID_PREFIX
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import (
    AgentUnavailable,
    ConfigurationError,
    Conflict,
    DefinitionError,
)
from agenthive.infra.calendar import SystemCalendar
from agenthive.infra.clock import SteadyClock
from agenthive.infra.discovery import list_modules
from agenthive.infra.home import Home
from agenthive.ipc.server import ControlServer
from agenthive.queries.journal_reader import JournalReader
from agenthive.runtimes.embedded import EmbeddedRuntime

MEMORY = "memory:"
HOMES = "sqlite"
"""The scheme of homes: folders with a journal in SQLite, a lock, secrets and a control socket."""
STORES = "agenthive.stores"
HOW_TO = "docs/howto/add-a-store-or-runtime.md"
SCHEME = re.compile(r"([a-z][a-z0-9_]+):")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a run id that a caller chooses may look like."""


class HiveResources:
    """The collaborators of a hive, and what several of its parts ask of them."""

    def __init__(
        self,
        url: str | Path,
        *,
        recover: bool,
        max_runs: int,
        max_calls: int,
        agents: AgentRegistry,
        budgets: Mapping[str, NanoUSD],
    ) -> None:
        self.agents = agents
        self.home, self._url = locate(url)
        self._recover = recover
        self._calendar = SystemCalendar()
        self._driver = Driver(
            max_runs=max_runs,
            max_calls=max_calls,
            bind=bind_workflow,
            calendar=self._calendar,
            quoter=agents,
            limits=budgets,
        )
        self._clock = SteadyClock()
        self._graphs: dict[str, Graph] = {}
        self._store: Store | None = None
        self._journal: JournalReader | None = None
        self._runtime: EmbeddedRuntime | None = None
        self._prune_lock = asyncio.Lock()
        self._imported_ids: set[str] = set()
        self._open_imports: dict[str, int] = {}
        self._control_server: ControlServer | None = None

    async def _check_run_id(self, run: str) -> str:
        """A run id that the caller chose, if it can be used."""
        if run == ev.HIVE or run.startswith(RUN_ID_PREFIX) or not RUN_ID.fullmatch(run):
            raise DefinitionError(
                f"{run!r} cannot be a run id", hint="Use up to 128 letters, digits and - _ . :"
            )
        return await self._require_unused(run)

    async def _require_unused(self, run: str) -> str:
        if (
            run in self._imported_ids
            or run in self._driver.runs
            or await self._active_journal.last_seq(run)
        ):
            raise Conflict(f"run {run} exists already")
        return run

    async def _is_unresumed_import(self, run: str) -> bool:
        """Whether it came in open from a file, and nobody has asked for it to go on here."""
        events = self._open_imports.get(run)
        return events is not None and events == await self._active_journal.last_seq(run)

    async def resume(self, runs: list[str] | None = None) -> list[str]:
        """Go on with these runs, or with every unfinished one; the ids of those taken over.

        One that came in open from a file is gone on with only if it is asked for.

        Calls that were under way when the process ended are made again under their keys.
        """
        rows = await self._active_journal.list_runs(unfinished=True)
        open_here = self._driver.runs
        # The oldest first: a run that waits for another one is taken over before it.
        unfinished = dict.fromkeys(row.run for row in reversed(rows) if row.run not in open_here)
        if runs is None:
            pending = [run for run in unfinished if not await self._is_unresumed_import(run)]
        else:
            pending = [run for run in dict.fromkeys(runs) if run in unfinished]
        states: dict[str, RunState] = {}
        while pending:
            run = pending.pop()
            if run in unfinished and run not in states:
                states[run] = await self._active_journal.load_state(run)
                pending += related_runs(states[run])
        resumed = [states[run] for run in unfinished if run in states]
        await self._load_prices(*(state.graph.spec for state in resumed))
        self._active_runtime.recover(
            [(state, self._find_missing_agents(state.graph.spec)) for state in resumed]
        )
        return [state.run for state in resumed]

    async def _load_prices(self, *workflows: WorkflowSpec) -> None:
        """Read what prices need, if calls have any: not on the event loop."""
        if any(
            self.agents.is_priced(agent) for workflow in workflows for agent in agents_of(workflow)
        ):
            await asyncio.to_thread(self.agents.prices.load_tables)

    def _cached_graph(self, digest: str, workflow: WorkflowSpec) -> Graph:
        """Runs of one definition share a graph; the cache is dropped when it grows too large."""
        graph = self._graphs.get(digest)
        if graph is None:
            if len(self._graphs) >= 100:
                self._graphs.clear()
            graph = self._graphs[digest] = Graph(workflow)
        return graph

    def _find_missing_agents(self, workflow: WorkflowSpec) -> dict[str, str]:
        """Agents that nobody has, each with what to do about it."""
        missing: dict[str, str] = {}
        for agent in agents_of(workflow):
            try:
                self.agents.find_agent(agent)
            except AgentUnavailable as error:
                missing[agent.name] = f"{error.message}. {error.hint}".strip()
        return missing

    @property
    def _active_runtime(self) -> EmbeddedRuntime:
        if self._runtime is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._runtime

    @property
    def _active_store(self) -> Store:
        if self._store is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._store

    @property
    def _active_journal(self) -> JournalReader:
        if self._journal is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._journal


@asynccontextmanager
async def open_journal(home: Path) -> AsyncIterator[JournalReader]:
    """The journal of a home for reading only, beside whoever owns it; empty if there is none.

    Makes nothing on disk. Raises StoreUnavailable or StoreFailed if it cannot be opened.
    """
    owned_home = Home(home)
    owned_home.check_path()
    store = open_store(owned_home if owned_home.journal.exists() else None, owner=False)
    try:
        yield JournalReader(store)
    finally:
        await store.close()


def bind_workflow(
    workflow: WorkflowSpec, parameters: JSONObject
) -> tuple[WorkflowSpec, JSONObject]:
    """The workflow with its inputs checked and filled in, and the inputs."""
    inputs = check_inputs(workflow, parameters)
    return (bind_inputs(workflow, inputs) if inputs else workflow), inputs


def plain_text(text: str) -> str:
    """Never text that a journal cannot hold, such as half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()


def locate(url: str | Path) -> tuple[Home | None, str]:
    """The home at ``url``, or None and the URL of a store that needs none.

    A text such as ``memory:`` or ``NAME:PLACE`` is a URL; a `Path`, or any other text, is the
    folder of a home, which is what ``sqlite:FOLDER`` means too.
    """
    scheme = None if isinstance(url, Path) else SCHEME.match(url)
    if scheme is None or scheme[1] == HOMES:
        return Home(Path(str(url).removeprefix(f"{HOMES}:"))), ""
    return None, str(url)


def open_store(home: Home | None, url: str = MEMORY, *, owner: bool) -> Store:
    """The store of a home or of a URL. Raises ConfigurationError if there is none."""
    if home is not None:
        from agenthive.stores.sqlite import SqliteStore

        return SqliteStore.open(home.journal, preallocate=owner)
    scheme, _, place = url.partition(":")
    module = (
        importlib.import_module(f"{STORES}.{scheme}") if scheme in list_modules(STORES) else None
    )
    open_it = getattr(module, "open_store", None)
    if open_it is None:
        raise ConfigurationError(
            f"there is no store '{scheme}'",
            hint=f"A store is a file in stores/ with a function open_store: see {HOW_TO}. "
            "For a folder whose name has a colon, pass a Path.",
        )
    store: Store = open_it(place, owner=owner)
    return store
