"""What is to be known of a workflow before it is run: cost, time, throughput, and what to look at.

The worst cost is `worst_case`'s. What is typical comes from a journal if there is one (`Fit`), from
what the file declares, or is a guess by kind of agent; each task says which. Time without a bound
is that of people and signals, which no plan counts, and of calls without a time-out. To add
something to look at: a field of `Plan`.
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
    Part,
    TaskBound,
    in_order,
    least,
    total,
    unreachable,
    worst_case,
)

GUESSES: Final = {"ai_agent": 4.0, "mcp_server": 1.0, "http_api": 0.5, "custom": 0.2}
"""Seconds that a call takes, if nothing better is known; `GUESS` for all other kinds."""
GUESS: Final = 1.0
TYPICAL_SHARE: Final = 0.5
"""What part of its worst case a call costs, if nothing better is known."""
TYPICAL_TURNS: Final = 3
"""Turns that a model with tools has, if nothing better is known."""


class TaskPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One task: calls and nano-dollars at most and usually, seconds likewise.

    None where nothing bounds it; ``why`` says what is not known then. ``source`` is where the
    typical figures are from; ``typical`` is None where not even a guess can be made.
    """

    task: str
    agent: str
    calls: int
    worst: NanoUSD | None
    typical: NanoUSD | None
    worst_seconds: float | None
    typical_seconds: float
    source: str
    limit: bool = False
    why: str = ""


class Throughput(msgspec.Struct, frozen=True):
    """How many runs a minute the limits of an agent allow, and which of them it is."""

    runs_per_minute: float
    agent: str
    tier: str


class Concern(msgspec.Struct, frozen=True):
    """A task that somebody should look at, and why."""

    task: str
    why: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``path`` is the critical path by typical times; ``by`` what bounds the cost."""

    name: str
    worst: NanoUSD | None
    by: str
    typical: NanoUSD | None
    worst_seconds: float | None
    typical_seconds: float
    path: tuple[str, ...]
    throughput: Throughput | None
    tasks: tuple[TaskPlan, ...]
    unbounded: tuple[Concern, ...]
    irreversible: tuple[Concern, ...]
    unreachable: tuple[Concern, ...]


def plan(
    spec: WorkflowSpec,
    quoter: Quoter | None = None,
    inputs: JSONObject | None = None,
    *,
    fit: Fit | None = None,
    limits: Mapping[str, NanoUSD] | None = None,
) -> Plan:
    """Look at a workflow with these inputs. Raises ConfigurationError."""
    given = inputs or {}
    graph, bound = Graph(spec), worst_case(spec, quoter, given, limits)
    never = unreachable(spec, graph, given)
    tasks = tuple(
        [
            _task(one, graph.nodes[index], bound.tasks[index], spec, fit, skipped=one.name in never)
            for index, one in enumerate(spec.tasks)
        ]
    )
    typical = [one.typical_seconds for one in tasks]
    at_worst = [one.worst_seconds for one in tasks]
    return Plan(
        name=spec.name,
        worst=bound.cost,
        by=bound.by,
        typical=_at_most(total(one.typical for one in tasks), bound.cost),
        worst_seconds=_longest(spec, graph, at_worst),
        typical_seconds=_makespan(graph, typical, spec.max_parallel),
        path=tuple([spec.tasks[index].name for index in _path(graph, typical)]),
        throughput=_throughput(spec, tasks, bound, quoter),
        tasks=tasks,
        unbounded=_unbounded(bound),
        irreversible=tuple(_irreversible(spec)),
        unreachable=tuple([Concern(name, why) for name, why in never.items()]),
    )


def _at_most(cost: NanoUSD | None, bound: NanoUSD | None) -> NanoUSD | None:
    """A typical cost, if there is one: it is not above the worst."""
    return None if cost is None else least(cost, bound)


# One task.


def _task(
    task: TaskSpec, node: Node, bound: TaskBound, spec: WorkflowSpec, fit: Fit | None,
    *, skipped: bool,
) -> TaskPlan:  # fmt: skip
    each, source, times = _seconds(node, task, spec, fit)
    worst = _worst_seconds(node, spec)
    return TaskPlan(
        task=task.name,
        agent=task.agent or (task.workflow.name if task.workflow is not None else ""),
        calls=bound.calls,
        worst=bound.cost,
        typical=0 if skipped else _typical_cost(bound, node, fit, times),
        worst_seconds=worst,
        typical_seconds=0.0 if skipped else each,
        source=source,
        limit=bound.limit,
        why=bound.why if bound.cost is None else "",
    )


def _times(node: Node) -> tuple[int, int, Node]:
    """How often a task's call is usually made, how many of them one after the other; its node."""
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


def _seconds(
    node: Node, task: TaskSpec, spec: WorkflowSpec, fit: Fit | None
) -> tuple[float, str, int]:
    """How long a task usually takes, where that is from, and how many calls it usually makes."""
    width, rounds, leaf = _times(node)
    if task.workflow is not None:
        inner = plan(task.workflow, None, {}, fit=fit)
        return inner.typical_seconds * width * rounds, "its own workflow", width * rounds
    if not leaf.agent.name:
        return _waits(task), "calls nobody", 0
    known = fit.known(leaf.agent, leaf.action) if fit is not None else None
    if known is not None and known.time is not None:
        one, source = known.time.at(0.5), f"the journal, {known.calls:,} calls"
    elif task.estimated_duration is not None:
        one, source = task.estimated_duration, "estimated_duration"
    else:
        one, source = GUESSES.get(leaf.agent.type, GUESS), f"a guess for {leaf.agent.type}"
    together = spec.max_parallel
    if task.for_each is not None and task.for_each.max_parallel is not None:
        together = min(together, task.for_each.max_parallel)
    return one * rounds * ceil(width / together) + _waits(task), source, width * rounds


def _waits(task: TaskSpec) -> float:
    """Seconds that a task waits first, as far as its file says."""
    return float(task.delay) if isinstance(task.delay, int | float) else 0.0


def _typical_cost(bound: TaskBound, node: Node, fit: Fit | None, times: int) -> NanoUSD | None:
    _, _, leaf = _times(node)
    known = None
    if fit is not None and leaf.agent.name:
        known = fit.known(leaf.agent, leaf.action)
    if known is not None and known.cost is not None:
        tries = 1 / max(0.05, 1 - known.fail)
        return _at_most(round(known.cost.at(0.5) * tries * times), bound.cost)
    first = next((part for part in bound.parts if part.own), None)
    if first is None:
        return 0
    child = node.around is not None and node.around.workflow is not None
    cost = first.cost if child else first.one
    if cost is None:
        return None
    return _at_most(round(cost * TYPICAL_SHARE * (1 if child else times)), bound.cost)


def _worst_seconds(node: Node, spec: WorkflowSpec) -> float | None:
    """Every attempt up to its time-out, with the longest pauses between them."""
    task = node.task
    assert task is not None
    if task.workflow is not None:
        inner = plan(task.workflow).worst_seconds
        width, rounds = _most_times(node)
        return None if inner is None else inner * width * rounds
    times, rounds = _most_times(node)
    _, _, leaf = _times(node)
    leaves = leaf_nodes(node)
    if not leaf.agent.name:
        return _waits(task)
    if any(one.timeout is None for one in leaves):
        return None
    calls = max(_longest_call(one) for one in leaves) * max(1, len(leaves))
    return calls * times * rounds + _waits(task)


def leaf_nodes(node: Node) -> list[Node]:
    """The calls that a task may consist of, one after the other."""
    while node.inner is not None:
        node = node.inner
    return [*node.voices, *node.tools] or [node]


def _most_times(node: Node) -> tuple[int, int]:
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


def _longest_call(node: Node) -> float:
    assert node.timeout is not None
    tries = node.retry.max_attempts + 1
    return tries * node.timeout / SECOND + sum(node.retry.ceiling(n) for n in range(1, tries))


# The whole.


def _path(graph: Graph, seconds: Sequence[float]) -> list[int]:
    """The longest way through the graph."""
    length: list[float] = [0.0] * graph.tasks
    before: list[int | None] = [None] * graph.tasks
    for index in in_order(graph):
        for dep in graph.deps[index]:
            if before[index] is None or length[dep] > length[before[index] or 0]:
                before[index] = dep
        first = before[index]
        length[index] = seconds[index] + (0.0 if first is None else length[first])
    at: int | None = max(range(graph.tasks), key=lambda i: (length[i], -i), default=None)
    found: list[int] = []
    while at is not None:
        found.append(at)
        at = before[at]
    return found[::-1]


def _makespan(graph: Graph, seconds: Sequence[float], slots: int) -> float:
    """At least so long: the longest way, or all the work shared by the slots."""
    path = sum(seconds[index] for index in _path(graph, seconds))
    return max(path, sum(seconds) / slots)


def _longest(spec: WorkflowSpec, graph: Graph, seconds: Sequence[float | None]) -> float | None:
    """No list schedule takes longer than this (R. Graham, "Bounds on multiprocessing timing
    anomalies", SIAM J. Appl. Math. 17, 1969); nor does a run take longer than its time-out.
    """
    known = [one for one in seconds if one is not None]
    if len(known) < len(seconds):
        return spec.timeout
    path = sum(known[index] for index in _path(graph, known))
    slots = spec.max_parallel
    found = sum(known) / slots + (1 - 1 / slots) * path
    return found if spec.timeout is None else min(found, spec.timeout)


def _throughput(
    spec: WorkflowSpec, tasks: Sequence[TaskPlan], bound: Bound, quoter: Quoter | None
) -> Throughput | None:
    """The tightest of the agents' rate limits, for the calls that a run usually makes."""
    graph = Graph(spec)
    calls: dict[str, float] = {}
    tokens: dict[str, float] = {}
    busy: dict[str, float] = {}
    for index, one in enumerate(tasks):
        width, rounds, leaf = _times(graph.nodes[index])
        name = leaf.agent.name
        calls[name] = calls.get(name, 0) + width * rounds
        busy[name] = busy.get(name, 0) + one.typical_seconds
        size = _tokens(bound.tasks[index].parts, spec, quoter)
        tokens[name] = tokens.get(name, 0) + size * width * rounds
    found = []
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
        found += [
            Throughput(most / need, agent.name, tier)
            for tier, most, need in tiers
            if most is not None and need > 0
        ]
    return min(found, key=lambda one: one.runs_per_minute, default=None)


def _tokens(parts: Sequence[Part], spec: WorkflowSpec, quoter: Quoter | None) -> int:
    part = next((one for one in parts if one.call is not None), None)
    if part is None or part.call is None or quoter is None:
        return 0
    agent = next(one for one in spec.agents if one.name == part.agent)
    return quoter.tokens(agent, part.call)


# What to look at.


def _unbounded(bound: Bound) -> tuple[Concern, ...]:
    return tuple([Concern(one.task, one.why) for one in bound.tasks if one.cost is None])


def _irreversible(spec: WorkflowSpec) -> list[Concern]:
    """What acts outside and can neither be refused by people beforehand nor be undone after.

    A question to a model acts on nothing, unless its author says so.
    """
    models = {agent.name for agent in spec.agents if agent.type == "ai_agent"}
    found = []
    for task in spec.tasks:
        asks = task.agent in models and task.effect is Effect.ANY
        acts = task.effect is not Effect.NONE and bool(task.agent) and not asks
        if acts and task.approval is None and task.compensate is None and not task.tools:
            found.append(Concern(task.name, _acts(task.effect)))
        found += [
            Concern(f"{task.name}: {tool.name}", _acts(tool.effect))
            for tool in task.tools
            if tool.effect is not Effect.NONE and tool.approval is None
        ]
        if task.workflow is not None:
            inner = _irreversible(task.workflow)
            found += [Concern(f"{task.name}/{one.task}", one.why) for one in inner]
    return found


def _acts(effect: Effect) -> str:
    if effect is Effect.ANY:
        return "may act outside (effect any); write effect: none if it only reads"
    return f"acts outside (effect {effect}), without approval and without compensate"
