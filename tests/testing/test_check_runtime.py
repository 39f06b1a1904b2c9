"""The kit for runtimes: the shipped ones pass, and each planted bad one is caught.

The faults are planted at the seams a runtime has: its journal, its agents, its driver, its clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine.driver import Driver
from agenthive.core.journal.records import Batch
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.ports import Agent, Agents
from agenthive.core.values import SECOND, Micros
from agenthive.runtimes.embedded import EmbeddedRuntime
from agenthive.stores.memory import MemoryStore
from agenthive.stores.sqlite import SqliteStore
from agenthive.testing import NotConforming, check_runtime, embedded_stage, simulated_stage
from agenthive.testing.runtime_scenarios import SCENARIOS, Scenario
from agenthive.testing.runtime_stages import MakeRuntime, ScenarioOutcome

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""


def in_memory() -> Callable[[str], Store]:
    """Journals that outlive their runtimes."""
    kept: dict[str, Store] = {}
    return lambda name: kept.setdefault(name, MemoryStore())


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_simulated_passes(seed: int) -> None:
    await check_runtime(simulated_stage(seed))


async def test_embedded_passes_in_memory() -> None:
    await check_runtime(embedded_stage(in_memory()))


async def test_embedded_passes_on_sqlite(tmp_path: Path) -> None:
    await check_runtime(
        embedded_stage(lambda name: SqliteStore.open(tmp_path / name / "journal.db"))
    )


def test_scenarios_have_names_of_their_own() -> None:
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS) >= 15


class Hasty:
    """Acknowledges before it has written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = store.read
        self._last: asyncio.Future[None] | None = None

    async def append(self, batch: Batch) -> None:
        before = self._last

        async def later() -> None:
            if before is not None:
                await before
            await asyncio.sleep(0.02)
            await self._store.append(batch)

        self._last = asyncio.ensure_future(later())


class Between:
    """Agents whose calls and answers somebody tampers with."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def find_agent(self, spec: AgentSpec) -> Agent:
        self._agent = self._agents.find_agent(spec)
        return self

    async def perform(self, call: Call) -> Reply:
        return await self._agent.perform(call)

    async def close(self) -> None:
        await self._agents.close()


class NewKeys(Between):
    async def perform(self, call: Call) -> Reply:
        return await super().perform(msgspec.structs.replace(call, key=f"{call.attempt}"))


class Twice(Between):
    async def perform(self, call: Call) -> Reply:
        first = await super().perform(call)
        return first if first.fault else await super().perform(call)


class Hopeful(Between):
    """Sees no failure."""

    async def perform(self, call: Call) -> Reply:
        return msgspec.structs.replace(await super().perform(call), fault=None)


class Impatient(Between):
    """Does not hear how long it should wait."""

    async def perform(self, call: Call) -> Reply:
        reply = await super().perform(call)
        if reply.fault is None:
            return reply
        fault = msgspec.structs.replace(reply.fault, retry_after=None)
        return msgspec.structs.replace(reply, fault=fault)


class Shields(Between):
    """Lets calls go on that were given up."""

    async def perform(self, call: Call) -> Reply:
        return await asyncio.shield(super().perform(call))


class Spends(Between):
    """Forgets what was used."""

    async def perform(self, call: Call) -> Reply:
        return msgspec.structs.replace(await super().perform(call), usage=None)


def agents(kind: type[Between]) -> MakeRuntime:
    return lambda driver, store, agents, clock: EmbeddedRuntime(driver, store, kind(agents), clock)


def acting(change: Callable[[act.Action], act.Action | None]) -> MakeRuntime:
    """A runtime that carries out something else than it was told."""

    def make(driver: Driver, store: Store, agents: Agents, clock: Callable[[], Micros]) -> Any:
        committed = driver.confirm_commit
        driver.confirm_commit = lambda now: [  # type: ignore[method-assign]
            changed for action in committed(now) if (changed := change(action)) is not None
        ]
        return EmbeddedRuntime(driver, store, agents, clock)

    return make


def unbounded(action: act.Action) -> act.Action:
    return bounded_by(action, None) if isinstance(action, act.PerformCall) else action


def hurried(action: act.Action) -> act.Action:
    bounded = isinstance(action, act.PerformCall) and action.timeout and action.timeout < SECOND
    return bounded_by(action, 10_000) if bounded else action


def bounded_by(action: act.Action, timeout: Micros | None) -> act.Action:
    assert isinstance(action, act.PerformCall)
    return act.PerformCall(action.call, action.agent, timeout)


def never_stops(action: act.Action) -> act.Action | None:
    return None if isinstance(action, act.CancelCall) else action


def first_come(
    driver: Driver, store: Store, agents: Agents, clock: Callable[[], Micros]
) -> EmbeddedRuntime:
    """Knows no priorities."""
    offer = driver.queue.offer_task
    driver.queue.offer_task = lambda run, task, lane, priority, rank: offer(  # type: ignore[method-assign]
        run, task, lane, 5, 0.0
    )
    return EmbeddedRuntime(driver, store, agents, clock)


def steps_back(
    driver: Driver, store: Store, agents: Agents, clock: Callable[[], Micros]
) -> EmbeddedRuntime:
    """Has a clock that goes back all the time."""
    left = iter(range(10**6, 0, -1))
    return EmbeddedRuntime(driver, store, agents, lambda: clock() + next(left) * 1_000_000)


def hasty(
    driver: Driver, store: Store, agents: Agents, clock: Callable[[], Micros]
) -> EmbeddedRuntime:
    return EmbeddedRuntime(driver, Hasty(store), agents, clock)  # type: ignore[arg-type]


class FindsEverybody(EmbeddedRuntime):
    """Does not mind who is missing."""

    def recover(self, states: Iterable[tuple[RunState, dict[str, str]]]) -> None:
        super().recover([(state, {}) for state, _ in states])


class StartsAnew(EmbeddedRuntime):
    """Takes nothing over."""

    def recover(self, states: Iterable[tuple[RunState, dict[str, str]]]) -> None:
        pass


@pytest.mark.parametrize(
    ("runtime", "scenario", "says"),
    [
        (hasty, "success", "before the intent was on disk"),
        (agents(NewKeys), "success", "the calls differ"),
        (agents(Twice), "success", "the calls differ"),
        (agents(Hopeful), "continue on failure", "the run ended completed|calls differ"),
        (agents(Impatient), "retries, after", "differs|did not end within"),
        (agents(Shields), "a run that is cancelled", "calls were cancelled"),
        (agents(Spends), "success", "the journal of the run differs"),
        (acting(unbounded), "a task that times out", "did not end within"),
        (acting(hurried), "a task that times out", "did not wait"),
        (acting(never_stops), "a run that is cancelled", "did not end within"),
        (first_come, "priorities", "the journal of the run differs"),
        (steps_back, "success", "the journal of the run differs"),
        (FindsEverybody, "an agent that is missing", "the journal of the run differs"),
        (StartsAnew, "a call that is cut off", "did not end within"),
    ],
)
async def test_planted_fault_is_caught(runtime: MakeRuntime, scenario: str, says: str) -> None:
    one = next(one for one in SCENARIOS if one.name.startswith(scenario))
    with pytest.raises(NotConforming, match=f"{one.name}: .*({says})"):
        await check_runtime(embedded_stage(in_memory(), runtime, patience=1.5), [one])
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def tampered(change: Callable[[ScenarioOutcome], None]) -> Callable[[Scenario], Any]:
    """A stage that plays well but tells it wrong."""
    stage = simulated_stage()

    async def play(scenario: Scenario) -> ScenarioOutcome:
        played = await stage(scenario)
        change(played)
        return played

    return play


def edit(played: ScenarioOutcome) -> None:
    played.run[1] = msgspec.structs.replace(played.run[1], actor="somebody else")


def lose_the_end(played: ScenarioOutcome) -> None:
    played.run.pop()


def lose_the_hive(played: ScenarioOutcome) -> None:
    played.hive.pop()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edit, "chain breaks"),
        (lose_the_end, "the run ended running"),
        (lose_the_hive, "of the hive"),
    ],
)
async def test_tampered_journal_is_caught(
    change: Callable[[ScenarioOutcome], None], says: str
) -> None:
    with pytest.raises(NotConforming, match=says):
        await check_runtime(tampered(change), SCENARIOS[:1])
