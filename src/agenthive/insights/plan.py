"""The plan of a workflow, before it runs: its cost, time, throughput, and the tasks to review.

The worst cost is the one of `worst_case`. Typical figures come from the journal if it has such
calls (`Fit`), else from what the workflow declares, else they are guesses by kind of agent; each
task names the source. Times do not include waiting for approvals and signals; a call without a
time-out has no worst time.

Never calls an agent. To add something to review: a field of `Plan`, computed in `plan_workflow`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.model.workflow import Effect, TaskSpec, WorkflowSpec
from agenthive.core.ports import Quoter
from agenthive.core.values import SECOND, JSONObject, NanoUSD
from agenthive.insights.agent_statistics import Fit
from agenthive.insights.cost_bounds import (
    Bound,
    CallBound,
    TaskBound,
    order_tasks,
    smaller_bound,
    sum_bounds,
    unreachable,
    worst_case,
)

GUESSES: Final = {"ai_agent": 4.0, "mcp_server": 1.0, "http_api": 0.5, "custom": 0.2}
"""Typical seconds of a call by kind of agent, if the journal and the workflow have no figure."""
GUESS: Final = 1.0
"""The same for all other kinds of agent."""
TYPICAL_SHARE: Final = 0.5
"""Typical share of the worst cost of a call, if the journal has no figure."""
TYPICAL_TURNS: Final = 3
"""Typical number of turns of a model with tools."""


class TaskPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one task."""

    task: str
    #: The agent, or the workflow of a sub-workflow task.
    agent: str
    #: Calls at most.
    calls: int
    #: Nano-dollars at most; None if nothing bounds it.
    worst: NanoUSD | None
    #: Typical nano-dollars; None if there is not even a guess.
    typical: NanoUSD | None
    #: Seconds at most; None if a call has no time-out.
    worst_seconds: float | None
    typical_seconds: float
    #: Where the typical time is from.
    source: str
    #: Whether ``cost_limit`` of the task is the bound of its cost.
    limit: bool = False
    #: What is unknown, if ``worst`` is None.
    why: str = ""


class Throughput(msgspec.Struct, frozen=True):
    """The number of runs that the tightest rate limit allows."""

    runs_per_minute: float
    #: The agent that has the limit.
    agent: str
    #: The field of `RateLimitSpec`, such as ``requests_per_minute``.
    tier: str


class Concern(msgspec.Struct, frozen=True):
    """A task that the author should review, and why."""

    task: str
    why: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a workflow."""

    name: str
    #: Nano-dollars at most; None if nothing bounds it.
    worst: NanoUSD | None
    #: What bounds the cost: ``calls``, ``budget`` or another limit; empty if nothing does.
    by: str
    #: Typical nano-dollars; None if a task has no typical cost.
    typical: NanoUSD | None
    #: Seconds at most; None if nothing bounds it.
    worst_seconds: float | None
    typical_seconds: float
    #: The critical path by typical times.
    path: tuple[str, ...]
    #: None if no rate limit applies.
    throughput: Throughput | None
    tasks: tuple[TaskPlan, ...]
    #: Tasks whose own cost has no bound.
    unbounded: tuple[Concern, ...]
    #: Tasks that act outside without approval and without compensation.
    irreversible: tuple[Concern, ...]
    #: Tasks that never run with these inputs.
    unreachable: tuple[Concern, ...]


def plan_workflow(
    spec: WorkflowSpec,
    quoter: Quoter | None = None,
    inputs: JSONObject | None = None,
    *,
    fit: Fit | None = None,
    limits: Mapping[str, NanoUSD] | None = None,
) -> Plan:
    """Plan a workflow with these inputs. Raises ConfigurationError.

    ``quoter`` knows prices, ``fit`` what the journal has recorded, ``limits`` are the limits of
    scopes of all runs (nano-dollars).
    """
    given_inputs = inputs or {}
    graph, bound = Graph(spec), worst_case(spec, quoter, given_inputs, limits)
    unreachable_tasks = unreachable(spec, graph, given_inputs)
    tasks = tuple(
        [
            _plan_task(
                task,
                graph.nodes[index],
                bound.tasks[index],
                spec,
                fit,
                skipped=task.name in unreachable_tasks,
            )
            for index, task in enumerate(spec.tasks)
        ]
    )
    typical = [task.typical_seconds for task in tasks]
    worst_seconds = [task.worst_seconds for task in tasks]
    return Plan(
        name=spec.name,
        worst=bound.cost,
        by=bound.by,
        typical=_cap_cost(sum_bounds(task.typical for task in tasks), bound.cost),
        worst_seconds=_worst_makespan(spec, graph, worst_seconds),
        typical_seconds=_typical_makespan(graph, typical, spec.max_parallel),
        path=tuple([spec.tasks[index].name for index in _longest_path(graph, typical)]),
        throughput=_find_throughput(spec, tasks, bound, quoter),
        tasks=tasks,
        unbounded=_find_unbounded(bound),
        irreversible=tuple(_find_irreversible(spec)),
        unreachable=tuple([Concern(name, why) for name, why in unreachable_tasks.items()]),
    )


def _cap_cost(cost: NanoUSD | None, bound: NanoUSD | None) -> NanoUSD | None:
    """A typical cost, at most the worst one."""
    return None if cost is None else smaller_bound(cost, bound)


# One task.


def _plan_task(
    task: TaskSpec,
    node: Node,
    bound: TaskBound,
    spec: WorkflowSpec,
    fit: Fit | None,
    *,
    skipped: bool,
) -> TaskPlan:
    seconds, source, times = _typical_seconds(node, task, spec, fit)
    worst = _worst_seconds(node, spec)
    return TaskPlan(
        task=task.name,
        agent=task.agent or (task.workflow.name if task.workflow is not None else ""),
        calls=bound.calls,
        worst=bound.cost,
        typical=0 if skipped else _typical_cost(bound, node, fit, times),
        worst_seconds=worst,
        typical_seconds=0.0 if skipped else seconds,
        source=source,
        limit=bound.limit,
        why=bound.why if bound.cost is None else "",
    )


def _typical_counts(node: Node) -> tuple[int, int, Node]:
    """Typical number of parallel calls of a task and of sequential ones, and the node of a call."""
    width, rounds = 1, 1
    while node.inner is not None:
        if node.steps[-1] is Step.EACH:
            items = node.each.items
            width = max(1, len(items)) if isinstance(items, list) else 1
        else:
            rounds = ceil(node.repeat.max_rounds / 2)
        node = node.inner
    if node.voices:
        rounds *= TYPICAL_TURNS if node.tools else 1
        node = node.voices[0]
    return width, rounds, node


def _typical_seconds(
    node: Node, task: TaskSpec, spec: WorkflowSpec, fit: Fit | None
) -> tuple[float, str, int]:
    """Typical seconds of a task, their source, and the typical number of its calls."""
    width, rounds, leaf = _typical_counts(node)
    if task.workflow is not None:
        child_plan = plan_workflow(task.workflow, None, {}, fit=fit)
        return (
            child_plan.typical_seconds * width * rounds,
            "the plan of its workflow",
            width * rounds,
        )
    if not leaf.agent.name:
        return _delay_seconds(task), "calls no agent", 0
    estimate = fit.estimate_call(leaf.agent, leaf.action) if fit is not None else None
    if estimate is not None and estimate.time is not None:
        call_seconds, source = estimate.time.quantile(0.5), f"the journal, {estimate.calls:,} calls"
    elif task.estimated_duration is not None:
        call_seconds, source = task.estimated_duration, "estimated_duration"
    else:
        call_seconds, source = GUESSES.get(leaf.agent.type, GUESS), f"a guess for {leaf.agent.type}"
    parallel = spec.max_parallel
    if task.for_each is not None and task.for_each.max_parallel is not None:
        parallel = min(parallel, task.for_each.max_parallel)
    return (
        call_seconds * rounds * ceil(width / parallel) + _delay_seconds(task),
        source,
        width * rounds,
    )


def _delay_seconds(task: TaskSpec) -> float:
    """Seconds of a constant ``delay`` of a task; one that is computed counts as 0."""
    return float(task.delay) if isinstance(task.delay, int | float) else 0.0


def _typical_cost(bound: TaskBound, node: Node, fit: Fit | None, times: int) -> NanoUSD | None:
    _, _, leaf = _typical_counts(node)
    estimate = None
    if fit is not None and leaf.agent.name:
        estimate = fit.estimate_call(leaf.agent, leaf.action)
    if estimate is not None and estimate.cost is not None:
        # The expected number of attempts, if each fails with the same probability.
        tries = 1 / max(0.05, 1 - estimate.fail)
        return _cap_cost(round(estimate.cost.quantile(0.5) * tries * times), bound.cost)
    first = next((part for part in bound.parts if part.own), None)
    if first is None:
        return 0
    is_child = node.control_flow is not None and node.control_flow.workflow is not None
    cost = first.cost if is_child else first.call_cost
    if cost is None:
        return None
    return _cap_cost(round(cost * TYPICAL_SHARE * (1 if is_child else times)), bound.cost)


def _worst_seconds(node: Node, spec: WorkflowSpec) -> float | None:
    """Seconds if every attempt times out, with the longest delays; None if a call has no limit."""
    task = node.task
    assert task is not None
    if task.workflow is not None:
        child_seconds = plan_workflow(task.workflow).worst_seconds
        width, rounds = _max_counts(node)
        return None if child_seconds is None else child_seconds * width * rounds
    times, rounds = _max_counts(node)
    _, _, leaf = _typical_counts(node)
    leaves = leaf_nodes(node)
    if not leaf.agent.name:
        return _delay_seconds(task)
    if any(call_node.timeout is None for call_node in leaves):
        return None
    calls = max(_longest_call_seconds(call_node) for call_node in leaves) * max(1, len(leaves))
    return calls * times * rounds + _delay_seconds(task)


def leaf_nodes(node: Node) -> list[Node]:
    """The nodes of the calls that a task may consist of."""
    while node.inner is not None:
        node = node.inner
    return [*node.voices, *node.tools] or [node]


def _max_counts(node: Node) -> tuple[int, int]:
    """As `_typical_counts`, but at most."""
    width, rounds = 1, 1
    while node.inner is not None:
        if node.steps[-1] is Step.EACH:
            items = node.each.items
            width = len(items) if isinstance(items, list) else node.each.max_items
        else:
            rounds = node.repeat.max_rounds
        node = node.inner
    if node.tools and node.task is not None:
        rounds *= node.task.max_turns
    return width, rounds


def _longest_call_seconds(node: Node) -> float:
    assert node.timeout is not None
    tries = node.retry.max_attempts + 1
    return tries * node.timeout / SECOND + sum(node.retry.delay_ceiling(n) for n in range(1, tries))


# The whole.


def _longest_path(graph: Graph, seconds: Sequence[float]) -> list[int]:
    """The tasks of the path through the graph that takes longest."""
    length: list[float] = [0.0] * graph.tasks
    predecessors: list[int | None] = [None] * graph.tasks
    for index in order_tasks(graph):
        for dep in graph.deps[index]:
            if predecessors[index] is None or length[dep] > length[predecessors[index] or 0]:
                predecessors[index] = dep
        first = predecessors[index]
        length[index] = seconds[index] + (0.0 if first is None else length[first])
    current: int | None = max(range(graph.tasks), key=lambda i: (length[i], -i), default=None)
    path: list[int] = []
    while current is not None:
        path.append(current)
        current = predecessors[current]
    return path[::-1]


def _typical_makespan(graph: Graph, seconds: Sequence[float], slots: int) -> float:
    """A lower bound of the seconds of a run: its longest path, or its work divided by the slots."""
    path = sum(seconds[index] for index in _longest_path(graph, seconds))
    return max(path, sum(seconds) / slots)


def _worst_makespan(
    spec: WorkflowSpec, graph: Graph, seconds: Sequence[float | None]
) -> float | None:
    """An upper bound of the seconds of a run: ``work / slots + (1 - 1 / slots) * longest path``.

    No list schedule takes longer (R. Graham, "Bounds on multiprocessing timing anomalies", SIAM J.
    Appl. Math. 17, 1969), and no run longer than its time-out. None if a task has no bound.
    """
    durations = [duration for duration in seconds if duration is not None]
    if len(durations) < len(seconds):
        return spec.timeout
    path = sum(durations[index] for index in _longest_path(graph, durations))
    slots = spec.max_parallel
    makespan = sum(durations) / slots + (1 - 1 / slots) * path
    return makespan if spec.timeout is None else min(makespan, spec.timeout)


def _find_throughput(
    spec: WorkflowSpec, tasks: Sequence[TaskPlan], bound: Bound, quoter: Quoter | None
) -> Throughput | None:
    """The rate limit that allows the fewest runs, given the typical calls of a run."""
    graph = Graph(spec)
    calls: dict[str, float] = {}
    tokens: dict[str, float] = {}
    busy: dict[str, float] = {}
    for index, task in enumerate(tasks):
        width, rounds, leaf = _typical_counts(graph.nodes[index])
        name = leaf.agent.name
        calls[name] = calls.get(name, 0) + width * rounds
        busy[name] = busy.get(name, 0) + task.typical_seconds
        size = _call_tokens(bound.tasks[index].parts, spec, quoter)
        tokens[name] = tokens.get(name, 0) + size * width * rounds
    candidates = []
    for agent in spec.agents:
        limit = agent.rate_limit
        if limit is None or not calls.get(agent.name):
            continue
        tiers = (
            ("requests_per_minute", limit.requests_per_minute, calls[agent.name]),
            ("requests_per_hour", limit.requests_per_hour, 60 * calls[agent.name]),
            ("requests_per_day", limit.requests_per_day, 1440 * calls[agent.name]),
            ("tokens_per_minute", limit.tokens_per_minute, tokens[agent.name]),
            ("concurrent_requests", limit.concurrent_requests, busy[agent.name] / 60),
        )
        candidates += [
            Throughput(allowed / needed, agent.name, tier)
            for tier, allowed, needed in tiers
            if allowed is not None and needed > 0
        ]
    return min(candidates, key=lambda limit: limit.runs_per_minute, default=None)


def _call_tokens(parts: Sequence[CallBound], spec: WorkflowSpec, quoter: Quoter | None) -> int:
    """Tokens of the first call that is known before the run; 0 if there is none."""
    part = next((part for part in parts if part.call is not None), None)
    if part is None or part.call is None or quoter is None:
        return 0
    agent = next(agent for agent in spec.agents if agent.name == part.agent)
    return quoter.estimate_tokens(agent, part.call)


# What to review.


def _find_unbounded(bound: Bound) -> tuple[Concern, ...]:
    return tuple([Concern(task.task, task.why) for task in bound.tasks if task.cost is None])


def _find_irreversible(spec: WorkflowSpec) -> list[Concern]:
    """Tasks and tools that act outside without an approval before or a compensation after.

    A call of a model with the default effect does not count: it acts only through its tools.
    """
    models = {agent.name for agent in spec.agents if agent.type == "ai_agent"}
    concerns = []
    for task in spec.tasks:
        is_model_call = task.agent in models and task.effect is Effect.ANY
        acts_outside = task.effect is not Effect.NONE and bool(task.agent) and not is_model_call
        if acts_outside and task.approval is None and task.compensate is None and not task.tools:
            concerns.append(Concern(task.name, _describe_effect(task.effect)))
        concerns += [
            Concern(f"{task.name}: {tool.name}", _describe_effect(tool.effect))
            for tool in task.tools
            if tool.effect is not Effect.NONE and tool.approval is None
        ]
        if task.workflow is not None:
            child_concerns = _find_irreversible(task.workflow)
            concerns += [
                Concern(f"{task.name}/{concern.task}", concern.why) for concern in child_concerns
            ]
    return concerns


def _describe_effect(effect: Effect) -> str:
    if effect is Effect.ANY:
        return "it may act outside (effect any); declare effect: none if it only reads"
    return f"it acts outside (effect {effect}), without approval and without compensate"
