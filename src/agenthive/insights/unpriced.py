"""Calls whose cost nothing bounds although a limit applies to them, before a workflow runs.

The engine admits no such call (`core.engine.admission`). Here the same is found from the workflow
alone, so that a run that cannot succeed does not begin: `hive` refuses it, ``validate`` warns.
Parameters that are not known before the run are left to the engine.

Never calls an agent. To look at another part of a task: `Node.iter_patterns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from agenthive.core.expressions.template import Template
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.ports import Quoter
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.insights.cost_bounds import unreachable
from agenthive.insights.known_calls import build_known_call, render_known


class UnpricedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task with a call whose cost nothing bounds, under a limit."""

    #: Name of the task; in a sub-workflow, after the names of the tasks above it.
    task: str
    agent: str
    #: What has the limit.
    limit: str
    #: Why the cost is unknown, and what to do.
    why: str

    def __str__(self) -> str:
        return (
            f"task '{self.task}': the cost of a call of agent '{self.agent}' is unknown, and "
            f"{self.limit} has a limit: {self.why}"
        )


def find_unpriced_tasks(
    spec: WorkflowSpec,
    graph: Graph,
    quoter: Quoter,
    inputs: JSONObject,
    limits: Mapping[str, NanoUSD | None],
) -> list[UnpricedTask]:
    """The tasks of a workflow that cannot be called under their limits, with these inputs.

    ``limits`` are those of scopes of all runs, by the names of the settings: ``tenant``, ``day``,
    ``agent NAME``. One call is named for each task.
    """
    shared = frozenset([name for name, limit in limits.items() if limit is not None])
    return list(_Search(quoter, shared).walk(spec, graph, inputs))


class _Search:
    """Looks through a workflow and its sub-workflows."""

    def __init__(self, quoter: Quoter, shared: frozenset[str]) -> None:
        self._quoter = quoter
        #: The scopes of all runs that have a limit.
        self._shared = shared

    def walk(
        self,
        spec: WorkflowSpec,
        graph: Graph,
        inputs: JSONObject,
        above: str = "",
        prefix: str = "",
    ) -> Iterator[UnpricedTask]:
        """``above`` has a limit for the whole workflow, if not empty."""
        # Most workflows have nothing to find: then no task is looked at.
        priced = [agent for agent in spec.agents if self._quoter.is_priced(agent)]
        children = [task for task in spec.tasks if task.workflow is not None]
        if not priced and not children:
            return
        if spec.budget is not None:
            above = above or f"workflow '{spec.name}'"
        never_done = unreachable(spec, graph, inputs)
        for index, task in enumerate(spec.tasks):
            if task.name in never_done:
                continue
            limit = above if task.cost_limit is None else f"task '{task.name}'"
            for node in graph.nodes[index].iter_patterns():
                unpriced = self._judge_node(node, inputs, limit, spec.name)
                if unpriced is not None:
                    yield msgspec.structs.replace(unpriced, task=f"{prefix}{task.name}")
                    break
            if task.workflow is not None:
                child_inputs = render_known(graph.nodes[index].parameters, inputs, spec.name)
                child_graph, names = Graph(task.workflow), f"{prefix}{task.name}/"
                yield from self.walk(task.workflow, child_graph, child_inputs, limit, names)

    def _judge_node(
        self, node: Node, inputs: JSONObject, limit: str, workflow: str
    ) -> UnpricedTask | None:
        agent = node.agent
        task_cost = None if node.task is None else node.task.max_cost
        declared_cost = agent.max_cost if task_cost is None else task_cost
        limit = limit or self._name_limit(node)
        if node.steps[-1] is not Step.CALL or declared_cost is not None or not limit:
            return None
        # The agents of a sub-workflow may depend on inputs that it does not have yet.
        is_known = Template.compile([agent.endpoint, agent.custom_params]).constant
        if not is_known or not self._quoter.is_priced(agent):
            return None
        call = build_known_call(node, inputs, workflow)
        why = "" if call is None else self._quoter.explain_unpriced(agent, call)
        if not why:
            return None
        return UnpricedTask(task="", agent=agent.name, limit=limit, why=why)

    def _name_limit(self, node: Node) -> str:
        """What limits the calls of an agent, in this run or in all runs; empty if nothing does."""
        name = node.agent.name
        if node.agent.cost_limit is not None or f"agent {name}" in self._shared:
            return f"agent '{name}'"
        if "tenant" in self._shared:
            return "the tenant"
        return "the day" if "day" in self._shared else ""
