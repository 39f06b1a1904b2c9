"""What every part of a hive stands on: its store, runtime, driver and agents, once it is open.

Nobody makes one; `Hive` is made of the parts. A new store gets a URL scheme in `open_store`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from agenthive.agents.registry import Directory
from agenthive.authoring import agents_of, bind_inputs, check_inputs
from agenthive.core.engine.child_runs import kin
from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RESERVED
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import (
    AgentUnavailable,
    ConfigurationError,
    Conflict,
    DefinitionError,
)
from agenthive.infra.calendar import Calendar
from agenthive.infra.clock import SteadyClock
from agenthive.infra.home import Home
from agenthive.ipc.server import Door
from agenthive.queries.journal_reader import Archive
from agenthive.runtimes.embedded import EmbeddedRuntime
from agenthive.stores.memory import MemoryStore

MEMORY = "memory:"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a run id that a caller chooses may look like."""


class Opened:
    """The collaborators of a hive, and what several of its parts ask of them."""

    def __init__(
        self, url: str | Path, *, recover: bool, max_runs: int, max_calls: int, agents: Directory,
        budgets: Mapping[str, NanoUSD],
    ) -> None:  # fmt: skip
        self.agents = agents
        self.home: Home | None = None if str(url) == MEMORY else Home(Path(url))
        self._recover = recover
        self._calendar = Calendar()
        self._driver = Driver(
            max_runs=max_runs, max_calls=max_calls, bind=bound, calendar=self._calendar,
            quoter=agents, limits=budgets,
        )  # fmt: skip
        self._clock = SteadyClock()
        self._graphs: dict[str, Graph] = {}
        self._store: Store | None = None
        self._archive: Archive | None = None
        self._runtime: EmbeddedRuntime | None = None
        self._tidying = asyncio.Lock()
        self._taken: set[str] = set()
        self._imported: dict[str, int] = {}
        self._door: Door | None = None

    async def _free(self, run: str) -> str:
        """A run id that the caller chose, if it can be used."""
        if run == ev.HIVE or run.startswith(RESERVED) or not RUN_ID.fullmatch(run):
            raise DefinitionError(
                f"{run!r} cannot be a run id", hint="Use up to 128 letters, digits and - _ . :"
            )
        return await self._unused(run)

    async def _unused(self, run: str) -> str:
        if run in self._taken or run in self._driver.runs or await self._reader.last(run):
            raise Conflict(f"run {run} exists already")
        return run

    async def _untouched(self, run: str) -> bool:
        """Whether it came in open from a file, and nobody has asked for it to go on here."""
        events = self._imported.get(run)
        return events is not None and events == await self._reader.last(run)

    async def resume(self, runs: list[str] | None = None) -> list[str]:
        """Go on with these runs, or with every unfinished one; the ids of those taken over.

        One that came in open from a file is gone on with only if it is asked for.

        Calls that were under way when the process ended are made again under their keys.
        """
        rows = await self._reader.runs(unfinished=True)
        open_here = self._driver.runs
        # The oldest first: a run that waits for another one is taken over before it.
        found = dict.fromkeys(row.run for row in reversed(rows) if row.run not in open_here)
        if runs is None:
            asked = [run for run in found if not await self._untouched(run)]
        else:
            asked = [run for run in dict.fromkeys(runs) if run in found]
        states: dict[str, RunState] = {}
        while asked:
            run = asked.pop()
            if run in found and run not in states:
                states[run] = await self._reader.state(run)
                asked += kin(states[run])
        taken = [states[run] for run in found if run in states]
        await self._ready(*(state.graph.spec for state in taken))
        self._live.recover([(state, self._missing(state.graph.spec)) for state in taken])
        return [state.run for state in taken]

    async def _ready(self, *workflows: WorkflowSpec) -> None:
        """Read what prices need, if calls have any: not on the event loop."""
        if any(self.agents.priced(agent) for one in workflows for agent in agents_of(one)):
            await asyncio.to_thread(self.agents.prices.load)

    def _graph(self, name: str, workflow: WorkflowSpec) -> Graph:
        """Runs of one definition share a graph; the cache is dropped when it grows too large."""
        graph = self._graphs.get(name)
        if graph is None:
            if len(self._graphs) >= 100:
                self._graphs.clear()
            graph = self._graphs[name] = Graph(workflow)
        return graph

    def _missing(self, workflow: WorkflowSpec) -> dict[str, str]:
        """Agents that nobody has, each with what to do about it."""
        found: dict[str, str] = {}
        for agent in agents_of(workflow):
            try:
                self.agents.find(agent)
            except AgentUnavailable as error:
                found[agent.name] = f"{error.message}. {error.hint}".strip()
        return found

    @property
    def _live(self) -> EmbeddedRuntime:
        if self._runtime is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._runtime

    @property
    def _stored(self) -> Store:
        if self._store is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._store

    @property
    def _reader(self) -> Archive:
        if self._archive is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._archive


@asynccontextmanager
async def reading(home: Path) -> AsyncIterator[Archive]:
    """The journal of a home for reading only, beside whoever owns it; empty if there is none.

    Makes nothing on disk. Raises StoreUnavailable or StoreFailed if it cannot be opened.
    """
    found = Home(home)
    found.check()
    store = open_store(found if found.journal.exists() else None, owner=False)
    try:
        yield Archive(store)
    finally:
        await store.close()


def bound(workflow: WorkflowSpec, given: JSONObject) -> tuple[WorkflowSpec, JSONObject]:
    """The workflow with its inputs checked and filled in, and the inputs."""
    inputs = check_inputs(workflow, given)
    return (bind_inputs(workflow, inputs) if inputs else workflow), inputs


def plain(said: str) -> str:
    """Never text that a journal cannot hold, such as half of a surrogate pair."""
    return said.encode(errors="backslashreplace").decode()


def open_store(home: Home | None, *, owner: bool) -> Store:
    if home is None:
        return MemoryStore()
    from agenthive.stores.sqlite import SqliteStore

    return SqliteStore.open(home.journal, room=owner)
