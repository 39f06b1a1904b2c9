"""Where the scenarios of the kit for runtimes are played: on virtual time, or on an event loop.

`simulated()` gives the reference. `live(make)` plays on `EmbeddedRuntime`, or on whatever runtime
has its methods, with a new one, a new driver and the journal opened anew for each life of the
process. Never judges: that is the business of `runtimes`. A stage is a function of a `Scenario`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeAlias

import msgspec

from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import facts, replay
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
from agenthive.infra.clock import SteadyClock
from agenthive.runtimes.embedded import EmbeddedRuntime
from agenthive.simulation.ports import Answer, Faults
from agenthive.simulation.runtime import Crash, SimulatedRuntime
from agenthive.stores.memory import MemoryStore
from agenthive.testing.runtime_scenarios import CANCEL, CRASH, Scenario
from agenthive.testing.store_kit import Make

RUN = "run-1"
LACK = "not here: supply it"


class Played(msgspec.Struct, kw_only=True):
    """What came of a scenario: the journal, the calls that reached the world, what it gave up.

    ``unwritten`` names calls that were made though their intent was not on disk.
    """

    run: list[Record]
    hive: list[Record]
    calls: list[Call]
    given_up: int
    unwritten: list[str]


Stage: TypeAlias = Callable[[Scenario], Awaitable[Played]]


class Runtime(Protocol):
    """What `live` asks of a runtime: the methods of `EmbeddedRuntime`."""

    def start(self) -> None:
        """Begin to work."""
        ...

    def submit(self, event: ev.RunSubmitted, graph: Graph, body: bytes) -> Awaitable[None]:
        """Accept a run; it is on disk when this ends."""
        ...

    def cancel(self, run: str, actor: str, reason: str) -> Awaitable[None]:
        """Cancel an open run; that is on disk when this ends."""
        ...

    def recover(self, states: Iterable[tuple[RunState, dict[str, str]]]) -> None:
        """Take over open runs, with what agents are missing."""
        ...

    def ended(self, run: str) -> Awaitable[RunStatus]:
        """Ends when the run does, or when it needs somebody."""
        ...

    def stop(self) -> Awaitable[None]:
        """Stop at once; calls are cancelled."""
        ...


MakeRuntime: TypeAlias = Callable[[Driver, Store, Agents, Callable[[], Micros]], Runtime]


def live(make: Make, runtime: MakeRuntime = EmbeddedRuntime, *, patience: float = 20.0) -> Stage:
    """A stage on the running event loop. ``make(name)`` opens the journal of that name.

    No life of the process may take longer than ``patience`` seconds.
    """

    async def play(scenario: Scenario) -> Played:
        return await _Live(scenario, make, runtime, patience).play()

    return play


class _Live:
    """Plays one scenario. It is the directory of agents and every agent at the same time."""

    def __init__(
        self, scenario: Scenario, make: Make, runtime: MakeRuntime, patience: float
    ) -> None:
        self.scenario = scenario
        self._make, self._make_runtime, self._patience = make, runtime, patience
        self._clock = SteadyClock().now
        self._graph = Graph(scenario.spec)
        self._calls: list[Call] = []
        self._given_up = 0
        self._unwritten: list[str] = []
        self._wish: asyncio.Queue[str] = asyncio.Queue()
        self._store: Store

    async def play(self) -> Played:
        for lacking in (None, *self.scenario.lacking):
            self._store = await self._open()
            try:
                await self._live(lacking)
                played = await self._look()
            finally:
                await self._store.close()
        return played

    async def _open(self) -> Store:
        made = self._make(self.scenario.name)
        return await made if inspect.isawaitable(made) else made

    async def _live(self, lacking: frozenset[str] | None) -> None:
        """One life of the process; ``lacking`` is None in the first."""
        driver = Driver()
        driver.load_hive(await self._read(ev.HIVE))
        runtime = self._make_runtime(driver, self._store, self, self._clock)
        runtime.start()
        try:
            ended = asyncio.ensure_future(runtime.ended(RUN))
            await asyncio.wait_for(self._work(runtime, ended, lacking), self._patience)
        except TimeoutError:
            raise AssertionError(f"it did not end within {self._patience} s") from None
        finally:
            await runtime.stop()
            ended.cancel()

    async def _work(
        self,
        runtime: Runtime,
        ended: asyncio.Future[RunStatus],
        lacking: frozenset[str] | None,
    ) -> None:
        """Until the run has ended or the process is to end, do what the turns wish for."""
        if lacking is None:
            await runtime.submit(*_submission(self.scenario, self._graph, self._clock()))
        else:
            state = replay(self._graph, await self._read(RUN))
            runtime.recover([(state, dict.fromkeys(lacking, LACK))])
        while not ended.done():
            wish = asyncio.ensure_future(self._wish.get())
            either: set[asyncio.Future[Any]] = {ended, wish}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                wish.cancel()
            if wish.done() and not wish.cancelled():
                if wish.result() == CRASH:
                    return
                await runtime.cancel(RUN, "kit", "enough")

    async def _read(self, stream: str) -> list[Record]:
        return [record async for record in self._store.read(stream)]

    async def _look(self) -> Played:
        return Played(
            run=await self._read(RUN),
            hive=await self._read(ev.HIVE),
            calls=self._calls,
            given_up=self._given_up,
            unwritten=self._unwritten,
        )

    # The world.

    def find(self, spec: AgentSpec) -> _Live:
        return self

    async def close(self) -> None:
        pass

    async def perform(self, call: Call) -> Reply:
        self._calls.append(call)
        if not await self._intended(call):
            self._unwritten.append(f"{call.task}/{call.attempt}")
        turn = self.scenario.turn(call.task, call.attempt)
        if turn.then:
            self._wish.put_nowait(turn.then)
        if turn.reply is not None:
            return turn.reply
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._given_up += 1
            raise
        raise AssertionError

    async def _intended(self, call: Call) -> bool:
        if self._graph.nodes[self._graph.index[call.task]].effect == "none":
            return True
        return any(
            isinstance(event, ev.TaskStarted)
            and (event.task, event.attempt) == (call.task, call.attempt)
            for _, event in facts(await self._read(RUN))
        )


def _submission(
    scenario: Scenario, graph: Graph, now: Micros
) -> tuple[ev.RunSubmitted, Graph, bytes]:
    body = definition.encode(scenario.spec)
    event = ev.RunSubmitted(
        at=now, run=RUN, name=scenario.spec.name, definition=definition.digest(body),
        inputs=scenario.inputs,
    )  # fmt: skip
    return event, graph, body


def simulated(seed: int = 1) -> Stage:
    """The reference stage: `SimulatedRuntime` without faults of its own."""

    async def play(scenario: Scenario) -> Played:
        return _Simulated(scenario, seed).play()

    return play


class _Simulated:
    """Plays one scenario. It is the world and the observer at the same time."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._lacking = [frozenset[str](), *scenario.lacking]
        self._calls: list[Call] = []
        self._given_up = 0
        self._disk = MemoryStore()
        self._runtime = SimulatedRuntime(
            seed, self._disk, self, self, Faults(), lambda: _Lacking(self._lacking.pop(0))
        )

    def play(self) -> Played:
        self._runtime.submit(0, RUN, self.scenario.spec, self.scenario.inputs)
        ended = self._runtime.run()
        while self._lacking and ended:
            self._runtime.crash(SECOND)
            ended = self._runtime.run()
        if not ended:
            raise AssertionError("it does not end")
        return Played(
            run=self._disk.records(RUN),
            hive=self._disk.records(ev.HIVE),
            calls=self._calls,
            given_up=self._given_up,
            unwritten=[],
        )

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        self._calls.append(call)
        turn = self.scenario.turn(call.task, call.attempt)
        self._given_up += turn.reply is None
        if turn.then == CRASH:
            raise Crash
        if turn.then == CANCEL:
            self._runtime.cancel(1000, RUN, "kit", "enough")
        came = () if turn.reply is None else (1000,)
        return Answer(reply=turn.reply or Reply(), acts=None, replies=came)

    def saw(self, now: Micros, what: str, data: JSONObject) -> None:
        pass


class _Lacking(Driver):
    """A driver that finds some agents missing when it takes over."""

    def __init__(self, lacking: Iterable[str]) -> None:
        super().__init__()
        self._lack: dict[str, Any] = dict.fromkeys(lacking, LACK)

    def load(self, now: Micros, state: RunState, missing: dict[str, str]) -> None:
        super().load(now, state, self._lack)
