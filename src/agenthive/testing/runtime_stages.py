"""Stages of the kit for runtimes: a stage runs a scenario on virtual time or on an event loop.

`simulated_stage()` gives the reference. `embedded_stage(make)` runs on `EmbeddedRuntime`, or on any
runtime with the same methods; each simulated process gets a new runtime, a new driver and a newly
opened journal. Never judges the outcome: `runtime_kit` does. A stage is a function of a `Scenario`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeAlias

import msgspec

from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import decode_events, replay
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.ports import Agents
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.infra.clock import SystemClock
from agenthive.runtimes.embedded import EmbeddedRuntime
from agenthive.simulation.ports import Faults, SimulatedReply
from agenthive.simulation.runtime import SimulatedCrash, SimulatedRuntime
from agenthive.stores.memory import MemoryStore
from agenthive.testing.runtime_scenarios import CANCEL, CRASH, Scenario
from agenthive.testing.store_kit import Make

RUN = "run-1"
MISSING_REASON = "not registered in this process"


class ScenarioOutcome(msgspec.Struct, kw_only=True):
    """The outcome of a scenario: the journal and the calls that reached the world."""

    #: The records of the run.
    run: list[Record]
    #: The records of the hive's own stream.
    hive: list[Record]
    #: The calls that reached the world, in order.
    calls: list[Call]
    #: How many calls the runtime cancelled.
    cancelled_calls: int
    #: Calls that were made before their intent was on disk.
    calls_without_intent: list[str]


Stage: TypeAlias = Callable[[Scenario], Awaitable[ScenarioOutcome]]


class Runtime(Protocol):
    """What `embedded_stage` requires of a runtime: the methods of `EmbeddedRuntime`."""

    def start(self) -> None:
        """Start working."""
        ...

    def submit(self, event: ev.RunSubmitted, graph: Graph, body: bytes) -> Awaitable[None]:
        """Accept a run; it is on disk when this returns."""
        ...

    def cancel(self, run: str, actor: str, reason: str) -> Awaitable[None]:
        """Cancel an open run; the request is on disk when this returns."""
        ...

    def recover(self, states: Iterable[tuple[RunState, dict[str, str]]]) -> None:
        """Take over open runs, each with its missing agents."""
        ...

    def ended(self, run: str) -> Awaitable[RunStatus]:
        """A future that completes when the run ends or waits for an external decision."""
        ...

    def stop(self) -> Awaitable[None]:
        """Stop at once and cancel all calls."""
        ...


MakeRuntime: TypeAlias = Callable[[Driver, Store, Agents, Callable[[], Micros]], Runtime]


def embedded_stage(
    make: Make, runtime: MakeRuntime = EmbeddedRuntime, *, patience: float = 20.0
) -> Stage:
    """A stage on the running event loop.

    ``make(name)`` opens the journal of that name. No process of a scenario may take longer than
    ``patience`` seconds.
    """

    async def play_scenario(scenario: Scenario) -> ScenarioOutcome:
        return await _EmbeddedPlayer(scenario, make, runtime, patience).play()

    return play_scenario


class _EmbeddedPlayer:
    """Runs one scenario; it is also the agent registry and every agent."""

    def __init__(
        self, scenario: Scenario, make: Make, runtime: MakeRuntime, patience: float
    ) -> None:
        self.scenario = scenario
        self._make, self._make_runtime, self._patience = make, runtime, patience
        self._clock = SystemClock().now
        self._graph = Graph(scenario.spec)
        self._calls: list[Call] = []
        self._cancelled_calls = 0
        self._calls_without_intent: list[str] = []
        self._requests: asyncio.Queue[str] = asyncio.Queue()
        self._store: Store

    async def play(self) -> ScenarioOutcome:
        for missing_agents in (None, *self.scenario.missing_agents):
            self._store = await self._open_store()
            try:
                await self._run_process(missing_agents)
                outcome = await self._collect_outcome()
            finally:
                await self._store.close()
        return outcome

    async def _open_store(self) -> Store:
        opened = self._make(self.scenario.name)
        return await opened if inspect.isawaitable(opened) else opened

    async def _run_process(self, missing_agents: frozenset[str] | None) -> None:
        """Run one process; ``missing_agents`` is None in the first."""
        driver = Driver()
        driver.load_hive(await self._read_records(ev.HIVE))
        runtime = self._make_runtime(driver, self._store, self, self._clock)
        runtime.start()
        try:
            end = asyncio.ensure_future(runtime.ended(RUN))
            await asyncio.wait_for(
                self._drive_runtime(runtime, end, missing_agents), self._patience
            )
        except TimeoutError:
            raise AssertionError(f"the run did not end within {self._patience} s") from None
        finally:
            await runtime.stop()
            end.cancel()

    async def _drive_runtime(
        self,
        runtime: Runtime,
        end: asyncio.Future[RunStatus],
        missing_agents: frozenset[str] | None,
    ) -> None:
        """Perform the requests of the scripted calls until the run or the process ends."""
        if missing_agents is None:
            await runtime.submit(*_build_submission(self.scenario, self._graph, self._clock()))
        else:
            state = replay(self._graph, await self._read_records(RUN))
            runtime.recover([(state, dict.fromkeys(missing_agents, MISSING_REASON))])
        while not end.done():
            request = asyncio.ensure_future(self._requests.get())
            either: set[asyncio.Future[Any]] = {end, request}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                request.cancel()
            if request.done() and not request.cancelled():
                if request.result() == CRASH:
                    return
                await runtime.cancel(RUN, "kit", "enough")

    async def _read_records(self, stream: str) -> list[Record]:
        return [record async for record in self._store.read(stream)]

    async def _collect_outcome(self) -> ScenarioOutcome:
        return ScenarioOutcome(
            run=await self._read_records(RUN),
            hive=await self._read_records(ev.HIVE),
            calls=self._calls,
            cancelled_calls=self._cancelled_calls,
            calls_without_intent=self._calls_without_intent,
        )

    # The world.

    def find_agent(self, spec: AgentSpec) -> _EmbeddedPlayer:
        return self

    async def close(self) -> None:
        pass

    async def perform(self, call: Call) -> Reply:
        self._calls.append(call)
        if not await self._has_intent(call):
            self._calls_without_intent.append(f"{call.task}/{call.attempt}")
        scripted_call = self.scenario.find_call(call.task, call.attempt)
        if scripted_call.then:
            self._requests.put_nowait(scripted_call.then)
        if scripted_call.reply is not None:
            return scripted_call.reply
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._cancelled_calls += 1
            raise
        raise AssertionError

    async def _has_intent(self, call: Call) -> bool:
        if self._graph.nodes[self._graph.index[call.task]].effect == "none":
            return True
        return any(
            isinstance(event, ev.TaskStarted)
            and (event.task, event.attempt) == (call.task, call.attempt)
            for _, event in decode_events(await self._read_records(RUN))
        )


def _build_submission(
    scenario: Scenario, graph: Graph, now: Micros
) -> tuple[ev.RunSubmitted, Graph, bytes]:
    body = definition.encode(scenario.spec)
    event = ev.RunSubmitted(
        at=now,
        run=RUN,
        name=scenario.spec.name,
        definition=definition.compute_digest(body),
        inputs=scenario.inputs,
    )
    return event, graph, body


def simulated_stage(seed: int = 1) -> Stage:
    """The reference stage: `SimulatedRuntime` without faults of its own."""

    async def play_scenario(scenario: Scenario) -> ScenarioOutcome:
        return _SimulatedPlayer(scenario, seed).play()

    return play_scenario


class _SimulatedPlayer:
    """Runs one scenario; it is also the world and the observer."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._missing_agents = [frozenset[str](), *scenario.missing_agents]
        self._calls: list[Call] = []
        self._cancelled_calls = 0
        self._disk = MemoryStore()
        self._runtime = SimulatedRuntime(
            seed,
            self._disk,
            self,
            self,
            Faults(),
            lambda: _DriverWithoutAgents(self._missing_agents.pop(0)),
        )

    def play(self) -> ScenarioOutcome:
        self._runtime.submit(0, RUN, self.scenario.spec, self.scenario.inputs)
        finished = self._runtime.run()
        while self._missing_agents and finished:
            self._runtime.schedule_crash(SECOND)
            finished = self._runtime.run()
        if not finished:
            raise AssertionError("the run does not end")
        return ScenarioOutcome(
            run=self._disk.records(RUN),
            hive=self._disk.records(ev.HIVE),
            calls=self._calls,
            cancelled_calls=self._cancelled_calls,
            calls_without_intent=[],
        )

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        self._calls.append(call)
        scripted_call = self.scenario.find_call(call.task, call.attempt)
        self._cancelled_calls += scripted_call.reply is None
        if scripted_call.then == CRASH:
            raise SimulatedCrash
        if scripted_call.then == CANCEL:
            self._runtime.cancel(1000, RUN, "kit", "enough")
        reply_times = () if scripted_call.reply is None else (1000,)
        return SimulatedReply(
            reply=scripted_call.reply or Reply(), acts_after=None, replies_after=reply_times
        )

    def observe(self, now: Micros, kind: str, data: JSONObject) -> None:
        pass


class _DriverWithoutAgents(Driver):
    """A driver that misses some agents when it takes over runs."""

    def __init__(self, missing_agents: Iterable[str]) -> None:
        super().__init__()
        self._missing: dict[str, Any] = dict.fromkeys(missing_agents, MISSING_REASON)

    def load_run(self, now: Micros, state: RunState, missing_agents: dict[str, str]) -> None:
        super().load_run(now, state, self._missing)
