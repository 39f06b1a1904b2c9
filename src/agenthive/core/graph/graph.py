"""A workflow as integers: indexes, edges, ranks.

Compiled from a `WorkflowSpec` and shared by all runs of the definition; never changes afterwards.
Each task that declares a compensation gets a second node, ``NAME#undo``, which is dormant until it
is needed. A run that generates tasks (items, iterations, turns) gets a copy to which it appends. To
add an attribute: a name in ``__slots__``, its value in ``__init__`` and, if it is by node, a line
in `Graph.add_node`.
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
"""The order of a workflow with more tasks is not simulated before it runs."""


class Graph:
    """Nodes by index, and the edges between them.

    The first ``tasks`` nodes are those of the definition, in its order; up to ``static`` come their
    compensations; after that the generated nodes of one run (see `ensure_growable`).

    Raises ConfigurationError for a duplicate name, an unknown dependency or agent, or a cycle.
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
        #: Number of tasks of the definition.
        self.tasks = len(spec.tasks)
        #: Whether this is the copy of one run, to which nodes may be appended.
        self.grown = False
        #: For each generated node, from ``static`` on, the node with the pattern of it.
        self.owner: list[int] = []
        agents = {agent.name: agent for agent in spec.agents}
        self.nodes: list[Node] = [build_task_node(task, agents) for task in spec.tasks]
        #: Index of a task -> index of its compensation.
        self.compensations: dict[int, int] = {}
        for i in range(self.tasks):
            pattern = self.nodes[i].undo
            if pattern is not None:
                self.compensations[i] = len(self.nodes)
                self.nodes.append(msgspec.structs.replace(pattern, compensates=i))
        #: Number of nodes that follow from the definition.
        self.static = len(self.nodes)
        #: Key of each node; events name tasks by it.
        self.keys = [node.key for node in self.nodes]
        #: Index of each key.
        self.index = {key: i for i, key in enumerate(self.keys)}
        if len(self.index) != len(self.nodes):
            raise ConfigurationError("Two tasks have the same name")
        #: Lane of each agent by name, and the agent of each lane.
        self._lane_of, self.lane_agents = _assign_lanes(self.nodes)
        #: Lane of each node: calls of one lane share the slots of an agent.
        self.lanes = [self._lane_of[node.agent.name] for node in self.nodes]
        names = [(task.agent, task.action) for task in spec.tasks]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        #: Kind of each task: equal for tasks of one agent and action.
        self.kinds = [numbers[name] for name in names]
        #: Number of kinds.
        self.kind_count = len(numbers)
        self._connect_nodes()
        #: The outputs of the workflow, compiled; None if it declares none.
        self.outputs = (
            Template.compile(spec.outputs, roots.output_names()) if spec.outputs else None
        )
        #: Tasks that the result of the run is built from.
        self.result_reads = self._find_result_reads()
        durations = [task.estimated_duration for task in spec.tasks]
        #: Seconds of the longest path from the start of each node to the end; of two ready tasks
        #: of equal priority the one with the higher rank starts first.
        self.rank = upward_rank(self.dependents, durations)
        if len(spec.tasks) <= MAX_SIMULATED_TASKS and None not in durations:
            self.rank = self._choose_ranks(self.rank, [duration or 0.0 for duration in durations])

    def _choose_ranks(self, rank: list[float], seconds: list[float]) -> list[float]:
        """The ranks, or zeros (first come, first served) if that is faster with these durations.

        A list schedule by ranks is nearly always the faster one, but it can be a tenth slower.
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
        """Seconds of a list schedule that starts ready tasks by rank, then in order of arrival."""
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
        #: Direct dependencies of each node.
        self.deps: list[tuple[int, ...]] = [()] * size
        #: Direct dependents of each node.
        self.dependents: list[Sequence[int]] = [[] for _ in range(size)]
        #: For each node the results that it may read: of its dependencies, and of tasks that its
        #: expressions name.
        self.reads: list[tuple[int, ...]] = [()] * size
        #: Number of nodes that may read the result of each node; it is dropped when all have ended.
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
            # Compensations of items and iterations are generated and have no reads of their own
            # here. They may run at the very end, so what they read is never dropped.
            if not node.is_plain:
                for dep in self._find_indexes(node.key, collect_compensation_names(node)):
                    self.readers[dep] += 1

    def _find_result_reads(self) -> tuple[int, ...]:
        """The tasks of the run's result: those that its outputs name, else those at the end."""
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
        """This graph if it belongs to one run already, else a copy that may grow."""
        if self.grown:
            return self
        copy = object.__new__(Graph)
        for name in Graph.__slots__:
            value = getattr(self, name)
            setattr(copy, name, value.copy() if isinstance(value, list | dict) else value)
        copy.grown = True
        return copy

    def add_node(self, owner: int, node: Node, key: str) -> int:
        """Append a node made from a pattern of ``owner``; returns its index."""
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
        """The node with the pattern of a generated node; None for a node of the definition."""
        return None if index < self.static else self.owner[index - self.static]

    def origin_of(self, index: int) -> int:
        """The node of the definition from which a node was made, over any number of steps."""
        while index >= self.static:
            index = self.owner[index - self.static]
        return index


def topological_order(dependents: Sequence[Sequence[int]]) -> list[int]:
    """The indexes in an order in which every node comes after its dependencies.

    ``dependents[i]`` are the nodes that depend on node i. Raises ConfigurationError if there is a
    cycle. A. B. Kahn, "Topological sorting of large networks", CACM 5(11), 1962.
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
    """For each node, the seconds of the longest path from its start to the end of the graph:

        rank(i) = duration(i) + max(rank(j) for each dependent j of i, or 0)

    Nodes without a duration count as ``unit`` seconds. H. Topcuoglu et al., "Performance-effective
    and low-complexity task scheduling for heterogeneous computing", IEEE TPDS 13(3), 2002.
    """
    rank = [unit if duration is None else duration for duration in durations]
    rank += [unit] * (len(dependents) - len(rank))
    for i in reversed(topological_order(dependents)):
        successors = dependents[i]
        if successors:
            rank[i] += max([rank[j] for j in successors])
    return rank


def _assign_lanes(nodes: Sequence[Node]) -> tuple[dict[str, str], dict[str, AgentSpec]]:
    """For each agent by name its lane, and for each lane its agent.

    A lane is named by the digest of its agent, so that equal agents share one lane, and with it
    their slots, in all runs of a home.
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
    """An agent as it is read back from the journal, where a time-out of 9 is 9.0."""
    stored_agent = msgspec.json.decode(msgspec.json.encode(agent), type=AgentSpec)
    return msgspec.json.encode(stored_agent)
