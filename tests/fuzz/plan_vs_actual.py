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
from agenthive.simulation.ports import Faults, SimulatedReply
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore
from tests.fuzz.random_flow import Features, with_flow
from tests.fuzz.random_workflows import random_workflow

RUN: Final = "run"
CALL: Final[NanoUSD] = 1000
ITEMS: Final = 3
LATE: Final[Micros] = 100_000 * SECOND
RANDOM_RUNS_A_WORKFLOW: Final = 8
"""Runs of one workflow with random trouble, besides the two at its worst."""
FEATURES: Final = Features(
    when=True,
    timer=False,
    signal=False,
    approval=False,
    each=True,
    rounds=True,
    child=True,
    reconcile=False,
    faulty=False,
)

Planner = Callable[[WorkflowSpec], Bound]


def plan_by_default(spec: WorkflowSpec) -> Bound:
    """What the house says."""
    return worst_case(spec, None, {})


class PlanComparison(msgspec.Struct, frozen=True):
    """A workflow's plan (None: no bound), and what its runs cost; nano-dollars.

    ``sound``: it can go well, so that its worst can come about. Random workflows may read what is
    not there.
    """

    seed: int
    planned: NanoUSD | None
    costs: tuple[NanoUSD, ...]
    sound: bool

    @property
    def is_below(self) -> bool:
        """Whether some run cost more than planned."""
        return self.planned is not None and max(self.costs) > self.planned

    @property
    def ratio(self) -> float | None:
        """The plan by the dearest run; None if nothing cost anything, or can go well."""
        dearest = max(self.costs)
        unusable = self.planned is None or not dearest or not self.sound
        return None if unusable or self.planned is None else self.planned / dearest


def compare_plans(seeds: Iterable[int], planner: Planner = plan_by_default) -> list[PlanComparison]:
    """One workflow a seed: its plan, and its runs."""
    return [_compare_seed(seed, planner) for seed in seeds]


def _compare_seed(seed: int, planner: Planner) -> PlanComparison:
    spec = make_workflow(seed)
    random_worlds = [RandomCostWorld(Random(f"{seed} {n}")) for n in range(RANDOM_RUNS_A_WORKFLOW)]
    worlds: list[WorstCaseWorld | RandomCostWorld] = [
        WorstCaseWorld(None),
        WorstCaseWorld(_find_last_task(spec)),
        *random_worlds,
    ]
    results = [cost_of(spec, world) for world in worlds]
    sound = results[0][1] is RunStatus.COMPLETED
    return PlanComparison(seed, planner(spec).cost, tuple([cost for cost, _ in results]), sound)


def make_workflow(seed: int) -> WorkflowSpec:
    """A random workflow whose every call has a declared cost; nothing in it waits for people."""
    rng = Random(f"plan {seed}")
    spec = _add_prices(rng, with_flow(rng, random_workflow(rng, max_tasks=7), FEATURES))
    if _find_last_task(spec) is not None:
        return spec
    # Nobody can fail after all the others: then nothing is ever undone.
    tasks = tuple([msgspec.structs.replace(task, compensate=None) for task in spec.tasks])
    return msgspec.structs.replace(spec, tasks=tasks)


def _add_prices(rng: Random, spec: WorkflowSpec) -> WorkflowSpec:
    agents = tuple(
        [
            msgspec.structs.replace(
                item,
                max_cost=rng.randint(0, CALL),
                circuit_breaker=None,
                cost_limit=rng.choice((None, None, 20 * CALL)),
            )
            for item in spec.agents
        ]
    )
    tasks = tuple([_bound_task(rng, item) for item in spec.tasks])
    return msgspec.structs.replace(spec, agents=agents, tasks=tasks, timeout=None)


def _bound_task(rng: Random, task: TaskSpec) -> TaskSpec:
    """As it is, with a last round that is known, few items, and nothing that waits."""
    changes: dict[str, object] = {"timeout": None, "continue_on_failure": False}
    if task.repeat_until is not None:
        max_rounds = task.repeat_until.max_rounds
        changes["repeat_until"] = RepeatSpec(until=f"round >= {max_rounds}", max_rounds=max_rounds)
    if task.for_each is not None:
        changes["for_each"] = msgspec.structs.replace(task.for_each, max_items=_max_items(task))
    if task.workflow is not None:
        changes["workflow"] = _add_prices(rng, task.workflow)
    if task.effect is Effect.ONCE and rng.random() < 0.5:
        changes["effect"] = Effect.ANY
    return msgspec.structs.replace(task, **changes)


def _max_items(task: TaskSpec) -> int:
    assert task.for_each is not None
    items = task.for_each.items
    return max(ITEMS, len(items) if isinstance(items, list) else 0)


def _find_last_task(spec: WorkflowSpec) -> str | None:
    """A task that nothing depends on, to fail when all else is done."""
    needed = {name for task in spec.tasks for name in task.depends_on}
    end_names = [t.name for t in spec.tasks if t.name not in needed and t.agent]
    runnable = [t.name for t in spec.tasks if t.name in end_names and t.when in ("", "true")]
    return next(iter(reversed(runnable)), None)


class WorstCaseWorld:
    """Every call costs what it may, fails as often as it may, and then goes well.

    But for the task ``doomed``, which goes on failing, after everybody else.
    """

    def __init__(self, doomed: str | None) -> None:
        self._doomed = doomed
        self.spec_of: Callable[[str], WorkflowSpec]

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """A failure, or the end."""
        name, is_compensation = _task_of(call)
        max_attempts = _max_attempts(name, is_compensation, self.spec_of(call.run))
        doomed = call.run == RUN and name == self._doomed and not is_compensation
        usage = Usage(model="m", cost=agent.max_cost)
        duration = LATE if doomed else SECOND
        if call.attempt < max_attempts or doomed:
            may_retry = call.attempt < max_attempts
            fault = Fault(kind="agent_error", message="no", retriable=may_retry, counts=False)
            return SimulatedReply(
                reply=Reply(fault=fault, usage=usage),
                acts_after=duration,
                replies_after=(duration,),
            )
        reply = Reply(result=_make_result(2, ITEMS), usage=usage)
        return SimulatedReply(reply=reply, acts_after=duration, replies_after=(duration,))


class RandomCostWorld:
    """Calls fail at random and cost something."""

    def __init__(self, rng: Random) -> None:
        self._rng, self._fail = rng, rng.choice((0.0, 0.1, 0.4))
        self.spec_of: Callable[[str], WorkflowSpec]

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """Well or not."""
        rng = self._rng
        usage = Usage(model="m", cost=rng.randint(0, agent.max_cost or 0))
        if rng.random() < self._fail:
            kind = rng.choice(("agent_error", "refused"))
            fault = Fault(kind=kind, message="no", retriable=rng.random() < 0.8, counts=False)
            reply = Reply(fault=fault, usage=rng.choice((usage, None)))
        else:
            reply = Reply(
                result=_make_result(rng.randint(0, 9), rng.randint(0, ITEMS)), usage=usage
            )
        duration = rng.randrange(1, 9) * SECOND
        return SimulatedReply(reply=reply, acts_after=duration, replies_after=(duration,))


def _make_result(number: int, items: int) -> JSONObject:
    """What random workflows read of a result."""
    values: list[JSONValue] = [f"item {n}" for n in range(items)]
    return {"n": number, "missing": 0, "items": values, "stop": False}


def _task_of(call: Call) -> tuple[str, bool]:
    """The name of the task that a call is of, and whether it is to undo it."""
    key, _, mark = call.task.partition("#")
    return key.partition("[")[0].partition("~")[0], mark == "undo"


def _max_attempts(name: str, is_compensation: bool, spec: WorkflowSpec) -> int:
    """How often a call of that task may be made; 1 of what acts once."""
    task = next(task for task in spec.tasks if task.name == name)
    owner = task.compensate if is_compensation else task
    if owner is None or owner.effect is Effect.ONCE or owner.retry is None:
        return 1
    return owner.retry.max_attempts


def cost_of(
    spec: WorkflowSpec, world: WorstCaseWorld | RandomCostWorld
) -> tuple[NanoUSD, RunStatus]:
    """What one run cost, with all that belongs to it, and how it ended."""
    store = MemoryStore()

    class Nobody:
        def observe(self, now: Micros, kind: str, data: object) -> None:
            """Nothing is observed."""

    runtime = SimulatedRuntime(1, store, world, Nobody(), Faults(), Driver)
    world.spec_of = lambda run: runtime.find_graph(run).spec
    runtime.submit(0, RUN, spec, {})
    if not runtime.run():
        raise RuntimeError("the run did not end")
    cost = next(
        (account.captured for account in store.accounts() if account.scope == f"run {RUN}"), 0
    )
    return cost, RunStatus(next(row.status for row in store.rows() if row.run == RUN))
