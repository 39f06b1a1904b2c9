"""Random budgets and costs: limits at every scope, calls of declared cost, bills that come late.

Draws nothing but from the generator it is given. What a call costs is decided when it is made, and
remembered as `BillingWorld.charges`, so that a judge can compare what was paid with what was
booked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    Effect,
    OnExceeded,
    TaskSpec,
    ToolSpec,
    WorkflowSpec,
)
from agenthive.core.values import Micros, NanoUSD
from agenthive.simulation.ports import SimulatedReply, World

_TOOL: Final = re.compile(r".+~\d+\[\d+\]")
"""The key of a tool that a model has asked for."""
CALL: Final[NanoUSD] = 100
"""What a call costs at most, give or take."""


def random_limits(rng: Random) -> dict[str, NanoUSD]:
    """Limits of all runs."""
    limits: dict[str, NanoUSD] = {}
    for name in ("tenant", "day", "agent a0"):
        if rng.random() < 0.3:
            limits[name] = CALL * rng.randint(1, 12)
    return limits


def with_budgets(rng: Random, spec: WorkflowSpec) -> WorkflowSpec:
    """The workflow with budgets and declared costs here and there, in what is within it too."""
    agents = tuple(_price_agent(rng, item) for item in spec.agents)
    tasks = tuple(_price_task(rng, item) for item in spec.tasks)
    budget = None
    if rng.random() < 0.6:
        on_exceeded = rng.choice(list(OnExceeded))
        budget = BudgetSpec(
            limit=CALL * rng.randint(0, 8) + rng.randint(0, 50), on_exceeded=on_exceeded
        )
    return msgspec.structs.replace(spec, agents=agents, tasks=tasks, budget=budget)


def _price_agent(rng: Random, agent: AgentSpec) -> AgentSpec:
    cost = rng.choice((None, 0, CALL, CALL, rng.randint(1, 2 * CALL)))
    limit = CALL * rng.randint(1, 4) if rng.random() < 0.2 else None
    return msgspec.structs.replace(agent, max_cost=cost, cost_limit=limit)


def _price_task(rng: Random, task: TaskSpec) -> TaskSpec:
    changes: dict[str, Any] = {}
    if task.agent and rng.random() < 0.2:
        changes["max_cost"] = rng.randint(0, CALL)
    if rng.random() < 0.2:
        changes["cost_limit"] = CALL * rng.randint(1, 4)
    if task.workflow is not None:
        changes["workflow"] = with_budgets(rng, task.workflow)
    return msgspec.structs.replace(task, **changes)


class BillingWorld:
    """A world whose calls cost something: at most what was declared, or more if it is ``greedy``.

    ``spec_of`` gives the workflow of a run, which says what its calls cost at most.
    """

    def __init__(self, rng: Random, world: World, spec_of: Callable[[str], WorkflowSpec]) -> None:
        self._rng, self._world, self._spec_of = rng, world, spec_of
        self.greedy = rng.random() < 0.15
        self._silent = rng.choice((0.0, 0.3))
        self.charges: dict[tuple[str, str, int], NanoUSD] = {}
        self._keys: dict[str, NanoUSD] = {}

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """As the world's, with what it cost."""
        response = self._world.answer(call, agent, now)
        if response.acts_after is None:
            return response  # what was not carried out is not charged
        keyed = self._find_effect(call) is Effect.KEYED
        cost = self._draw_cost(call, agent)
        if keyed:
            # Who honours keys charges a call once, and says the same each time.
            cost = self._keys.setdefault(call.key, cost)
            for earlier in [key for key in self.charges if key[:2] == (call.run, call.task)]:
                del self.charges[earlier]
        self.charges[call.run, call.task, call.attempt] = cost
        usage = response.reply.usage
        if usage is None or self._rng.random() < self._silent:
            return response
        reported = msgspec.structs.replace(usage, cost=cost)
        return msgspec.structs.replace(
            response, reply=msgspec.structs.replace(response.reply, usage=reported)
        )

    def _draw_cost(self, call: Call, agent: AgentSpec) -> NanoUSD:
        declared = self._declared_cost(call)
        maximum = agent.max_cost if declared is None else declared
        if maximum is None:
            return CALL // 2 if self.greedy else 0
        return self._rng.randint(0, maximum * (2 if self.greedy else 1))

    def _find_effect(self, call: Call) -> Effect:
        task, role = self._find_task(call)
        if role == "tool":
            return self._find_tool(call, task).effect
        if not role:
            return task.effect
        compensation = task.compensate if role == "undo" else None
        return Effect.ANY if compensation is None else compensation.effect

    def _declared_cost(self, call: Call) -> NanoUSD | None:
        """What the workflow says of this call, besides what it says of its agent."""
        task, role = self._find_task(call)
        if role == "tool":
            return self._find_tool(call, task).max_cost
        # What is said of a task is said of its own agent, not of who goes on with it.
        return task.max_cost if not role and call.agent == task.agent else None

    def _find_tool(self, call: Call, task: TaskSpec) -> ToolSpec:
        return next(tool for tool in task.tools if call.action == f"act {tool.name}")

    def _find_task(self, call: Call) -> tuple[TaskSpec, str]:
        """The task a call is of, and what is done about it; empty if it is the task itself."""
        key, _, role = call.task.partition("#")
        if _TOOL.fullmatch(call.task):
            role = "tool"
        name = key.partition("[")[0].partition("~")[0]
        tasks = self._spec_of(call.run).tasks
        return next(task for task in tasks if task.name == name), role
