"""The workflow as integers: indexes, dependents, ranks.

Compiled once from a `WorkflowSpec` and shared by all its runs; never changes afterwards. Each task
that declares a compensation gets a second node, ``NAME#undo``, which sleeps until it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from agenthive.core.expressions import Template
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.spec import AgentSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue, Micros, micros
from agenthive.errors import ConfigurationError

UNDO = "#undo"
"""What the key of a compensation ends in; no task name may contain a #."""

_DEFAULT_RETRY = RetryPolicy()


class Node(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One task, with every default resolved. ``undoes`` is the index a compensation belongs to."""

    key: str
    agent: AgentSpec
    action: str
    description: str
    parameters: Template
    effect: Effect
    retry: RetryPolicy
    timeout: Micros | None
    priority: int
    tolerated: bool
    endpoint: str
    references: frozenset[str]
    undoes: int | None = None


class Graph:
    """Nodes by index, and the edges between them.

    ``deps`` and ``dependents`` are direct edges; ``readers[i]`` counts the nodes that need the
    result of i; ``rank[i]`` is the longest way from i to the end in seconds (tasks without a
    declared duration count as ``unit``); ``undo[i]`` is the index of i's compensation. Tasks of one
    agent and action are of one kind, numbered in ``kinds``.
    """

    __slots__ = (
        "dependents", "deps", "index", "keys", "kind_count", "kinds", "lane_agents", "lanes",
        "nodes", "rank", "readers", "reads", "spec", "tasks", "undo",
    )  # fmt: skip

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec = spec
        self.tasks = len(spec.tasks)
        agents = {agent.name: agent for agent in spec.agents}
        self.nodes: list[Node] = [_task_node(task, agents) for task in spec.tasks]
        self.undo: dict[int, int] = {}
        for i, task in enumerate(spec.tasks):
            if task.compensate is not None:
                self.undo[i] = len(self.nodes)
                self.nodes.append(_undo_node(i, task, agents))
        self.keys = [node.key for node in self.nodes]
        self.index = {key: i for i, key in enumerate(self.keys)}
        if len(self.index) != len(self.nodes):
            raise ConfigurationError("Two tasks have the same name")
        self.lanes, self.lane_agents = _lanes(self.nodes)
        names = [(task.agent, task.action) for task in spec.tasks]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        self.kinds = [numbers[name] for name in names]
        self.kind_count = len(numbers)
        self._connect()
        self.rank = upward_rank(self.dependents, [t.estimated_duration for t in spec.tasks])

    def _connect(self) -> None:
        size = len(self.nodes)
        self.deps: list[tuple[int, ...]] = [()] * size
        self.dependents: list[list[int]] = [[] for _ in range(size)]
        self.reads: list[tuple[int, ...]] = [()] * size
        self.readers = [0] * size
        for i, task in enumerate(self.spec.tasks):
            if task.depends_on:
                self.deps[i] = self._look_up(task.name, task.depends_on)
                for dep in self.deps[i]:
                    self.dependents[dep].append(i)
        for i, node in enumerate(self.nodes):
            self.reads[i] = self.deps[i]
            if node.undoes is not None or node.parameters.task_names:
                own = () if node.undoes is None else (node.undoes,)
                named = self._look_up(node.key, node.parameters.task_names)
                self.reads[i] = tuple(dict.fromkeys((*self.deps[i], *named, *own)))
            for dep in self.reads[i]:
                self.readers[dep] += 1

    def _look_up(self, name: str, others: Iterable[str]) -> tuple[int, ...]:
        index, tasks = self.index, self.tasks
        found = tuple([index.get(other, tasks) for other in others])
        if max(found, default=-1) >= tasks:
            unknown = next(other for other in others if index.get(other, tasks) >= tasks)
            raise ConfigurationError(f"Task '{name}' depends on undefined task '{unknown}'")
        return found


def _resolve(agents: dict[str, AgentSpec], task: str, name: str) -> AgentSpec:
    if name not in agents:
        raise ConfigurationError(f"Task '{task}' references undefined agent '{name}'")
    return agents[name]


def _task_node(task: TaskSpec, agents: dict[str, AgentSpec]) -> Node:
    agent = _resolve(agents, task.name, task.agent)
    return Node(
        key=task.name,
        agent=agent,
        action=task.action,
        description=task.description,
        parameters=_template(task.parameters),
        effect=task.effect,
        retry=task.retry or agent.retry or _DEFAULT_RETRY,
        timeout=_timeout(task.timeout, agent),
        priority=task.priority,
        tolerated=task.continue_on_failure,
        endpoint=agent.where,
        references=secret_references(task.parameters),
    )


def _undo_node(i: int, task: TaskSpec, agents: dict[str, AgentSpec]) -> Node:
    undo = task.compensate
    assert undo is not None
    agent = _resolve(agents, task.name, undo.agent)
    return Node(
        key=task.name + UNDO,
        agent=agent,
        action=undo.action,
        description=f"compensation of {task.name}",
        parameters=_template(undo.parameters),
        effect=undo.effect,
        retry=undo.retry or agent.retry or _DEFAULT_RETRY,
        timeout=_timeout(undo.timeout, agent),
        priority=task.priority,
        tolerated=False,
        endpoint=agent.where,
        references=secret_references(undo.parameters),
        undoes=i,
    )


def _template(parameters: JSONObject) -> Template:
    return Template.compile(parameters) if parameters else _NO_PARAMETERS


_NO_PARAMETERS: Final = Template.compile({})


def _timeout(own: float | None, agent: AgentSpec) -> Micros | None:
    seconds = own if own is not None else agent.timeout
    return None if seconds is None else micros(seconds)


_NO_REFERENCES: Final[frozenset[str]] = frozenset()
_REFERENCE: Final = re.compile(r"\$\{(?:env|file|secret):[^}]{1,512}\}")


def secret_references(value: JSONValue) -> frozenset[str]:
    """The secret references that stand anywhere in ``value``."""
    if isinstance(value, str):
        return frozenset(_REFERENCE.findall(value)) if "${" in value else _NO_REFERENCES
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [references for part in parts if (references := secret_references(part))]
    return frozenset[str]().union(*found) if found else _NO_REFERENCES


def topological(dependents: Sequence[Sequence[int]]) -> list[int]:
    """Indexes in an order that puts every node after what it depends on.

    Raises ConfigurationError if there is a cycle. A. B. Kahn, "Topological sorting of large
    networks", CACM 5(11), 1962.
    """
    pending = [0] * len(dependents)
    for targets in dependents:
        for target in targets:
            pending[target] += 1
    order = [i for i, count in enumerate(pending) if not count]
    for i in order:
        for target in dependents[i]:
            pending[target] -= 1
            if not pending[target]:
                order.append(target)
    if len(order) < len(dependents):
        raise ConfigurationError("Circular dependency detected in tasks")
    return order


def upward_rank(
    dependents: Sequence[Sequence[int]], durations: Sequence[float | None], unit: float = 1.0
) -> list[float]:
    """For each node, the length of the longest path from its start to the end (seconds).

    Nodes without a duration count as ``unit``. H. Topcuoglu et al., "Performance-effective and
    low-complexity task scheduling for heterogeneous computing", IEEE TPDS 13(3), 2002.
    """
    rank = [unit if own is None else own for own in durations]
    rank += [unit] * (len(dependents) - len(rank))
    for i in reversed(topological(dependents)):
        below = dependents[i]
        if below:
            rank[i] += max([rank[j] for j in below])
    return rank


def _lanes(nodes: Sequence[Node]) -> tuple[list[str], dict[str, AgentSpec]]:
    """For each node the lane it goes through, and the agent of each lane.

    Equal agents share a lane in all runs, so that their slots and breakers are shared too.
    """
    names: dict[str, str] = {}
    agents: dict[str, AgentSpec] = {}
    for agent in (node.agent for node in nodes):
        if agent.name not in names:
            digest = sha256(msgspec.json.encode(agent)).hexdigest()[:16]
            names[agent.name] = f"{agent.name}-{digest}"
            agents[names[agent.name]] = agent
    return [names[node.agent.name] for node in nodes], agents
