"""The workflow as integers: indexes, dependents, ranks.

Compiled once from a `WorkflowSpec` and shared by all its runs; never changes afterwards. Each task
that declares a compensation gets a second node, ``NAME#undo``, which sleeps until it is needed. A
run that makes tasks of its own (items, rounds) gets a copy that grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from agenthive.core.expressions import names as roots
from agenthive.core.expressions.template import Template
from agenthive.core.graph.nodes import (
    COMPENSATION_SUFFIX,
    NO_AGENT,
    Node,
    build_task_node,
    collect_compensation_names,
    collect_task_names,
    find_secret_references,
)
from agenthive.core.model.workflow import AgentSpec, WorkflowSpec
from agenthive.errors import ConfigurationError

__all__ = [
    "COMPENSATION_SUFFIX",
    "Graph",
    "Node",
    "find_secret_references",
    "topological_order",
    "upward_rank",
]


MAX_SIMULATED_TASKS: Final = 2000
"""Tasks of a workflow whose declared durations are tried out before it is run."""


class Graph:
    """Nodes by index, and the edges between them.

    ``deps`` and ``dependents`` are direct edges; ``readers[i]`` counts the nodes that need the
    result of i; ``rank[i]`` is the longest way from i to the end in seconds (tasks without a
    declared duration count as ``unit``), or 0 everywhere if that is quicker; ``result_reads``
    are what the result of a run is made of; ``undo[i]`` is the index of i's compensation. Tasks
    of one agent and action are of one kind, numbered in ``kinds``. The first ``tasks`` nodes are
    the author's, those up to ``static`` their compensations. What a run makes of patterns (items,
    rounds, ...) is appended to a copy of its own: see `own`.
    """

    __slots__ = (
        "_lane_of",
        "compensations",
        "dependents",
        "deps",
        "grown",
        "index",
        "keys",
        "kind_count",
        "kinds",
        "lane_agents",
        "lanes",
        "nodes",
        "outputs",
        "owner",
        "rank",
        "readers",
        "reads",
        "result_reads",
        "spec",
        "static",
        "tasks",
    )

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec = spec
        self.tasks = len(spec.tasks)
        self.grown = False
        self.owner: list[int] = []
        agents = {agent.name: agent for agent in spec.agents}
        self.nodes: list[Node] = [build_task_node(task, agents) for task in spec.tasks]
        self.compensations: dict[int, int] = {}
        for i in range(self.tasks):
            pattern = self.nodes[i].undo
            if pattern is not None:
                self.compensations[i] = len(self.nodes)
                self.nodes.append(msgspec.structs.replace(pattern, compensates=i))
        self.static = len(self.nodes)
        self.keys = [node.key for node in self.nodes]
        self.index = {key: i for i, key in enumerate(self.keys)}
        if len(self.index) != len(self.nodes):
            raise ConfigurationError("Two tasks have the same name")
        self._lane_of, self.lane_agents = _assign_lanes(self.nodes)
        self.lanes = [self._lane_of[node.agent.name] for node in self.nodes]
        names = [(task.agent, task.action) for task in spec.tasks]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        self.kinds = [numbers[name] for name in names]
        self.kind_count = len(numbers)
        self._connect_nodes()
        self.outputs = (
            Template.compile(spec.outputs, roots.output_names()) if spec.outputs else None
        )
        self.result_reads = self._find_result_reads()
        durations = [task.estimated_duration for task in spec.tasks]
        self.rank = upward_rank(self.dependents, durations)
        if len(spec.tasks) <= MAX_SIMULATED_TASKS and None not in durations:
            self.rank = self._choose_ranks(self.rank, [duration or 0.0 for duration in durations])

    def _choose_ranks(self, rank: list[float], seconds: list[float]) -> list[float]:
        """The ranks, unless first come, first served is quicker with these durations.

        A list schedule by ranks is nearly always the better one, and sometimes an eleventh worse.
        """
        slots = self.spec.max_parallel
        if slots >= self.tasks:
            return rank
        flat_rank = [0.0] * len(rank)
        rank_makespan, fifo_makespan = (
            self._simulate_makespan(ranks, seconds, slots) for ranks in (rank, flat_rank)
        )
        return rank if rank_makespan <= fifo_makespan else flat_rank

    def _simulate_makespan(self, rank: list[float], seconds: list[float], slots: int) -> float:
        """How long a list schedule takes that starts ready tasks by rank, then by their turn."""
        pending = [len(deps) for deps in self.deps[: self.tasks]]
        ready = [(-rank[i], i, i) for i in range(self.tasks) if not pending[i]]
        heapify(ready)
        running: list[tuple[float, int, int]] = []
        now, arrival = 0.0, self.tasks
        while ready or running:
            while ready and len(running) < slots:
                _, _, task = heappop(ready)
                heappush(running, (now + seconds[task], arrival, task))
                arrival += 1
            now, _, ended = heappop(running)
            for dependent in self.dependents[ended]:
                pending[dependent] -= 1
                if not pending[dependent]:
                    heappush(ready, (-rank[dependent], arrival, dependent))
                    arrival += 1
        return now

    def _connect_nodes(self) -> None:
        size = len(self.nodes)
        self.deps: list[tuple[int, ...]] = [()] * size
        self.dependents: list[Sequence[int]] = [[] for _ in range(size)]
        self.reads: list[tuple[int, ...]] = [()] * size
        self.readers = [0] * size
        for i, task in enumerate(self.spec.tasks):
            if task.depends_on:
                self.deps[i] = self._find_indexes(task.name, task.depends_on)
                for dep in self.deps[i]:
                    self.dependents[dep].append(i)  # type: ignore[attr-defined]
        for i, node in enumerate(self.nodes):
            self.reads[i] = self.deps[i]
            is_plain = node.is_plain and node.reconcile is None
            names = node.parameters.task_names if is_plain else collect_task_names(node)
            if node.compensates is not None or names:
                compensated = () if node.compensates is None else (node.compensates,)
                named_tasks = self._find_indexes(node.key, names)
                self.reads[i] = tuple(dict.fromkeys((*self.deps[i], *named_tasks, *compensated)))
            for dep in self.reads[i]:
                self.readers[dep] += 1
            if not node.is_plain:
                for dep in self._find_indexes(node.key, collect_compensation_names(node)):
                    self.readers[dep] += 1

    def _find_result_reads(self) -> tuple[int, ...]:
        """The tasks that a run's own result is made of: those of its outputs, or its last ones."""
        if self.outputs is not None:
            return self._find_indexes("outputs", self.outputs.task_names)
        return tuple([i for i in range(self.tasks) if not self.dependents[i]])

    def _find_indexes(self, name: str, dependencies: Iterable[str]) -> tuple[int, ...]:
        index, tasks = self.index, self.tasks
        indexes = tuple([index.get(dependency, tasks) for dependency in dependencies])
        if max(indexes, default=-1) >= tasks:
            unknown = next(
                dependency for dependency in dependencies if index.get(dependency, tasks) >= tasks
            )
            raise ConfigurationError(f"Task '{name}' depends on undefined task '{unknown}'")
        return indexes

    # Growing, for one run.

    def ensure_growable(self) -> Graph:
        """This graph if it is one run's own already, else a copy that may grow."""
        if self.grown:
            return self
        copy = object.__new__(Graph)
        for name in Graph.__slots__:
            value = getattr(self, name)
            setattr(copy, name, value.copy() if isinstance(value, list | dict) else value)
        copy.grown = True
        return copy

    def add_node(self, owner: int, node: Node, key: str) -> int:
        """Add a node made from a pattern of ``owner``'s; its index."""
        index = len(self.nodes)
        self.nodes.append(node)
        self.keys.append(key)
        self.index[key] = index
        self.owner.append(owner)
        self.lanes.append(self._lane_of[node.agent.name])
        self.deps.append(())
        self.dependents.append(())
        self.reads.append(self.reads[owner])
        return index

    def owner_of(self, index: int) -> int | None:
        """The node from whose pattern this one was made; None for those of the definition."""
        return None if index < self.static else self.owner[index - self.static]

    def origin_of(self, index: int) -> int:
        """The node of the definition that this one goes back to."""
        while index >= self.static:
            index = self.owner[index - self.static]
        return index


def topological_order(dependents: Sequence[Sequence[int]]) -> list[int]:
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
    rank = [unit if duration is None else duration for duration in durations]
    rank += [unit] * (len(dependents) - len(rank))
    for i in reversed(topological_order(dependents)):
        successors = dependents[i]
        if successors:
            rank[i] += max([rank[j] for j in successors])
    return rank


def _assign_lanes(nodes: Sequence[Node]) -> tuple[dict[str, str], dict[str, AgentSpec]]:
    """For each agent's name the lane to it, and the agent of each lane.

    Equal agents share a lane in all runs, so that their slots and breakers are shared too.
    """
    names: dict[str, str] = {NO_AGENT.name: ""}
    agents: dict[str, AgentSpec] = {}
    for node in nodes:
        is_plain = node.is_plain and node.reconcile is None
        for agent in (
            (node.agent,) if is_plain else [pattern.agent for pattern in node.iter_patterns()]
        ):
            if agent.name not in names:
                digest = sha256(_canonical_bytes(agent)).hexdigest()[:16]
                names[agent.name] = f"{agent.name}-{digest}"
                agents[names[agent.name]] = agent
    return names, agents


def _canonical_bytes(agent: AgentSpec) -> bytes:
    """An agent as it comes back from the journal, where 9 seconds are 9.0."""
    stored_agent = msgspec.json.decode(msgspec.json.encode(agent), type=AgentSpec)
    return msgspec.json.encode(stored_agent)
