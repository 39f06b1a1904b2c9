"""Plans compared with what their workflows then cost, in simulated runs at their worst.

Random workflows whose calls have a declared cost are run again and again: once with every call made
as often as it may be and as dear as it may be, once more so that all of it is undone as well, and
with random trouble. A plan must never be below what a run cost, nor far above the dearest one.
Nothing here knows how a plan is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Final

import msgspec

from agenthive.core.engine.driver import Driver
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.control_flow import RepeatSpec
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import AgentSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.core.values import SECOND, JSONObject, JSONValue, Micros, NanoUSD
from agenthive.insights.cost_bounds import Bound, worst_case
from agenthive.simulation.ports import Answer, Faults
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore
from tests.fuzz.random_flow import Features, with_flow
from tests.fuzz.random_workflows import random_workflow

RUN: Final = "run"
CALL: Final[NanoUSD] = 1000
ITEMS: Final = 3
LATE: Final[Micros] = 100_000 * SECOND
RANDOM_RUNS: Final = 8
"""Runs of one workflow with random trouble, besides the two at its worst."""
FEATURES: Final = Features(
    when=True, timer=False, signal=False, approval=False, each=True, rounds=True, child=True,
    reconcile=False, faulty=False,
)  # fmt: skip

Planner = Callable[[WorkflowSpec], Bound]


def usual(spec: WorkflowSpec) -> Bound:
    """What the house says."""
    return worst_case(spec, None, {})


class Compared(msgspec.Struct, frozen=True):
    """A workflow's plan (None: no bound), and what its runs cost; nano-dollars.

    ``sound``: it can go well, so that its worst can come about. Random workflows may read what is
    not there.
    """

    seed: int
    worst: NanoUSD | None
    costs: tuple[NanoUSD, ...]
    sound: bool

    @property
    def below(self) -> bool:
        """Whether some run cost more than planned."""
        return self.worst is not None and max(self.costs) > self.worst

    @property
    def ratio(self) -> float | None:
        """The plan by the dearest run; None if nothing cost anything, or can go well."""
        dearest = max(self.costs)
        none = self.worst is None or not dearest or not self.sound
        return None if none or self.worst is None else self.worst / dearest


def compare(seeds: Iterable[int], planner: Planner = usual) -> list[Compared]:
    """One workflow a seed: its plan, and its runs."""
    return [_compared(seed, planner) for seed in seeds]


def _compared(seed: int, planner: Planner) -> Compared:
    spec = workflow(seed)
    rough = [Rough(Random(f"{seed} {n}")) for n in range(RANDOM_RUNS)]
    worlds: list[Dear | Rough] = [Dear(None), Dear(_last(spec)), *rough]
    ended = [cost_of(spec, world) for world in worlds]
    sound = ended[0][1] is RunStatus.COMPLETED
    return Compared(seed, planner(spec).cost, tuple([cost for cost, _ in ended]), sound)


def workflow(seed: int) -> WorkflowSpec:
    """A random workflow whose every call has a declared cost; nothing in it waits for people."""
    rng = Random(f"plan {seed}")
    spec = _priced(rng, with_flow(rng, random_workflow(rng, most=7), FEATURES))
    if _last(spec) is not None:
        return spec
    # Nobody can fail after all the others: then nothing is ever undone.
    tasks = tuple([msgspec.structs.replace(task, compensate=None) for task in spec.tasks])
    return msgspec.structs.replace(spec, tasks=tasks)


def _priced(rng: Random, spec: WorkflowSpec) -> WorkflowSpec:
    agents = tuple(
        [
            msgspec.structs.replace(
                one, max_cost=rng.randint(0, CALL), circuit_breaker=None,
                cost_limit=rng.choice((None, None, 20 * CALL)),
            )
            for one in spec.agents
        ]
    )  # fmt: skip
    tasks = tuple([_task(rng, one) for one in spec.tasks])
    return msgspec.structs.replace(spec, agents=agents, tasks=tasks, timeout=None)


def _task(rng: Random, task: TaskSpec) -> TaskSpec:
    """As it is, with a last round that is known, few items, and nothing that waits."""
    changes: dict[str, object] = {"timeout": None, "continue_on_failure": False}
    if task.repeat_until is not None:
        most = task.repeat_until.max_rounds
        changes["repeat_until"] = RepeatSpec(until=f"round >= {most}", max_rounds=most)
    if task.for_each is not None:
        changes["for_each"] = msgspec.structs.replace(task.for_each, max_items=_most(task))
    if task.workflow is not None:
        changes["workflow"] = _priced(rng, task.workflow)
    if task.effect is Effect.ONCE and rng.random() < 0.5:
        changes["effect"] = Effect.ANY
    return msgspec.structs.replace(task, **changes)


def _most(task: TaskSpec) -> int:
    assert task.for_each is not None
    items = task.for_each.items
    return max(ITEMS, len(items) if isinstance(items, list) else 0)


def _last(spec: WorkflowSpec) -> str | None:
    """A task that nothing depends on, to fail when all else is done."""
    needed = {name for task in spec.tasks for name in task.depends_on}
    ends = [t.name for t in spec.tasks if t.name not in needed and t.agent]
    done = [t.name for t in spec.tasks if t.name in ends and t.when in ("", "true")]
    return next(iter(reversed(done)), None)


class Dear:
    """Every call costs what it may, fails as often as it may, and then goes well.

    But for the task ``doomed``, which goes on failing, after everybody else.
    """

    def __init__(self, doomed: str | None) -> None:
        self._doomed = doomed
        self.spec_of: Callable[[str], WorkflowSpec]

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """A failure, or the end."""
        name, undo = _of(call)
        most = _most_attempts(name, undo, self.spec_of(call.run))
        doomed = call.run == RUN and name == self._doomed and not undo
        used = Usage(model="m", cost=agent.max_cost)
        took = LATE if doomed else SECOND
        if call.attempt < most or doomed:
            again = call.attempt < most
            fault = Fault(kind="agent_error", message="no", retriable=again, counts=False)
            return Answer(reply=Reply(fault=fault, usage=used), acts=took, replies=(took,))
        reply = Reply(result=_result(2, ITEMS), usage=used)
        return Answer(reply=reply, acts=took, replies=(took,))


class Rough:
    """Calls fail at random and cost something."""

    def __init__(self, rng: Random) -> None:
        self._rng, self._fail = rng, rng.choice((0.0, 0.1, 0.4))
        self.spec_of: Callable[[str], WorkflowSpec]

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """Well or not."""
        rng = self._rng
        used = Usage(model="m", cost=rng.randint(0, agent.max_cost or 0))
        if rng.random() < self._fail:
            kind = rng.choice(("agent_error", "refused"))
            fault = Fault(kind=kind, message="no", retriable=rng.random() < 0.8, counts=False)
            reply = Reply(fault=fault, usage=rng.choice((used, None)))
        else:
            reply = Reply(result=_result(rng.randint(0, 9), rng.randint(0, ITEMS)), usage=used)
        took = rng.randrange(1, 9) * SECOND
        return Answer(reply=reply, acts=took, replies=(took,))


def _result(number: int, items: int) -> JSONObject:
    """What random workflows read of a result."""
    found: list[JSONValue] = [f"item {n}" for n in range(items)]
    return {"n": number, "missing": 0, "items": found, "stop": False}


def _of(call: Call) -> tuple[str, bool]:
    """The name of the task that a call is of, and whether it is to undo it."""
    key, _, what = call.task.partition("#")
    return key.partition("[")[0].partition("~")[0], what == "undo"


def _most_attempts(name: str, undo: bool, spec: WorkflowSpec) -> int:
    """How often a call of that task may be made; 1 of what acts once."""
    task = next(task for task in spec.tasks if task.name == name)
    own = task.compensate if undo else task
    if own is None or own.effect is Effect.ONCE or own.retry is None:
        return 1
    return own.retry.max_attempts


def cost_of(spec: WorkflowSpec, world: Dear | Rough) -> tuple[NanoUSD, RunStatus]:
    """What one run cost, with all that belongs to it, and how it ended."""
    store = MemoryStore()

    class Nobody:
        def saw(self, now: Micros, what: str, data: object) -> None:
            """Nothing is observed."""

    runtime = SimulatedRuntime(1, store, world, Nobody(), Faults(), Driver)
    world.spec_of = lambda run: runtime.graph_of(run).spec
    runtime.submit(0, RUN, spec, {})
    if not runtime.run():
        raise RuntimeError("the run did not end")
    cost = next((one.captured for one in store.accounts() if one.scope == f"run {RUN}"), 0)
    return cost, RunStatus(next(row.status for row in store.rows() if row.run == RUN))
