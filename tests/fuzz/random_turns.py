"""Random tools and fallbacks for calls, and a world whose agents ask for them.

Draws nothing but from the generator it is given. What is asked for is unique, or the same again, so
that guards have something to find.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from agenthive.core.model.calls import Call, ToolCall
from agenthive.core.model.control_flow import ApprovalSpec, ReconcileSpec
from agenthive.core.model.workflow import (
    AgentSpec,
    Effect,
    FallbackSpec,
    TaskSpec,
    ToolSpec,
    WorkflowSpec,
)
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.values import JSONObject, Micros
from agenthive.simulation.ports import SimulatedReply, World

SHARE: Final = 0.3
"""How many of the simulations have tools, or others who go on."""
NO_SUCH: Final = "no_such_tool"


def has_turns(seed: int) -> bool:
    """Whether the agents of this seed may ask for tools."""
    return Random(f"turns of {seed}").random() < SHARE


def with_turns(rng: Random, spec: WorkflowSpec, *, people: bool) -> WorkflowSpec:
    """The workflow with tools and fallbacks here and there, in what is within it too.

    ``people``: there are some who may be asked about a tool.
    """
    tasks = tuple(_add_tools(rng, task, spec, people) for task in spec.tasks)
    return msgspec.structs.replace(spec, tasks=tasks)


def _add_tools(rng: Random, task: TaskSpec, spec: WorkflowSpec, people: bool) -> TaskSpec:
    if task.workflow is not None:
        child = with_turns(rng, task.workflow, people=people)
        return msgspec.structs.replace(task, workflow=child)
    if not task.agent or rng.random() < 0.4:
        return task
    changes: dict[str, Any] = {}
    if rng.random() < 0.8:
        changes["tools"] = tuple(
            _random_tool(rng, f"tool{i}", spec, people) for i in range(rng.randint(1, 3))
        )
        changes["max_turns"] = rng.randint(1, 5)
    if rng.random() < 0.4:
        other_agents = [agent.name for agent in spec.agents if agent.name != task.agent]
        names = rng.sample(other_agents, min(len(other_agents), rng.randint(1, 2)))
        changes["fallback"] = tuple(FallbackSpec(agent=name) for name in names)
    return msgspec.structs.replace(task, **changes)


def _random_tool(rng: Random, name: str, spec: WorkflowSpec, people: bool) -> ToolSpec:
    effect = rng.choice(list(Effect))
    is_once = effect is Effect.ONCE
    return ToolSpec(
        name=name,
        agent=rng.choice(spec.agents).name,
        action=f"act {name}",
        parameters={"n": "{{ arguments.n }}"} if rng.random() < 0.5 else None,
        effect=effect,
        timeout=rng.choice((5.0, 20.0)),
        retry=RetryPolicy(
            max_attempts=rng.randint(1, 3), strategy=RetryStrategy.IMMEDIATE, jitter=False
        ),
        approval=ApprovalSpec(message="may it?") if people and rng.random() < 0.3 else None,
        reconcile=_random_reconcile(rng, spec) if is_once and rng.random() < 0.5 else None,
        max_cost=rng.choice((None, None, 40)),
        repeats=rng.choice((1, 2, 5)),
    )


def _random_reconcile(rng: Random, spec: WorkflowSpec) -> ReconcileSpec:
    agent = rng.choice(spec.agents).name
    return ReconcileSpec(agent=agent, action="ask", parameters={"of": "{{ arguments }}"})


class ToolRequestingWorld:
    """A world whose agents ask for what they are told they may ask for, now and then."""

    def __init__(self, rng: Random, world: World) -> None:
        self._rng, self._world = rng, world
        self._eager = rng.choice((0.3, 0.6, 0.95))
        # Who asks much asks for the same: that is where the guard against loops is at work.
        self._novelty = 0.3 if self._eager > 0.9 else 0.7
        self._number = 0

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """As the world's; a good one may ask for tools instead of being the last."""
        response = self._world.answer(call, agent, now)
        if not call.tools or response.reply.fault is not None or self._rng.random() > self._eager:
            return response
        names = [tool.name for tool in call.tools] + [NO_SUCH] * (self._rng.random() < 0.2)
        requests = tuple(self._request_tool(names) for _ in range(self._rng.choice((1, 1, 2, 4))))
        return msgspec.structs.replace(
            response, reply=msgspec.structs.replace(response.reply, asks=requests)
        )

    def _request_tool(self, names: list[str]) -> ToolCall:
        self._number += 1
        arguments: JSONObject = {"n": self._number if self._rng.random() < self._novelty else 0}
        problem = "garbled" if self._rng.random() < 0.05 else ""
        name = self._rng.choice(names)
        return ToolCall(id=str(self._number), name=name, arguments=arguments, problem=problem)
