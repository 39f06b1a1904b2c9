"""What a workflow can cost at most, before it runs: all calls that it may make, each at its worst.

The cost of a call is bounded by the hold that is made before it: ``max_cost`` of its task or agent,
else the price of its prompt and of a reply of full length (`Quoter.estimate_max_cost`). The number
of calls is bounded by attempts, items, iterations, turns and compensations.

A prompt of unknown size has no bound: it contains a result, an item of a result, or a signal. Then
only a limit bounds the cost: ``cost_limit`` of the task or agent, or a budget. Attempts that are
repeated after a process ended are not counted, because their number is not known.

Never calls an agent. To add a part of a task that makes calls: a case in `_BoundCalculator`'s
`_bound_node`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from agenthive.core.engine.reply_validation import MAX_MESSAGE_LENGTH
from agenthive.core.expressions.template import compile_expression
from agenthive.core.graph.graph import Graph, topological_order
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.machine.state_actions import MAX_RECONCILE_CALLS
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import Effect, TaskSpec, WorkflowSpec
from agenthive.core.ports import Quoter
from agenthive.core.values import JSONObject, JSONValue, NanoUSD
from agenthive.errors import ExpressionError
from agenthive.insights.known_calls import RUN_ID, build_known_call

LONG: Final = "x" * 4096
"""A sample result: if it makes a call dearer, the prompt of the call contains results."""
COMPLAINT: Final = "x" * MAX_MESSAGE_LENGTH
"""The longest complaint about a reply that is sent with the request to repair it."""


class CallBound(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one agent that a task may make."""

    agent: str
    #: Calls at most.
    calls: int
    #: Nano-dollars of all these calls at most; None if nothing bounds it.
    cost: NanoUSD | None
    #: What is unknown, if ``cost`` is None.
    why: str = ""
    #: Whether the ``cost_limit`` of the task applies to these calls.
    own: bool = True
    #: One of the calls, if its parameters are known before the run.
    call: Call | None = None
    #: Nano-dollars of one call at most, as far as its prompt is known; None if it is unknown.
    call_cost: NanoUSD | None = None


class TaskBound(msgspec.Struct, frozen=True, kw_only=True):
    """What a task can cost at most."""

    task: str
    #: Calls at most.
    calls: int
    #: Nano-dollars; None if nothing bounds it.
    cost: NanoUSD | None
    #: Whether ``cost_limit`` of the task is the bound.
    limit: bool
    parts: tuple[CallBound, ...]

    @property
    def why(self) -> str:
        """What is unknown about its calls; empty if all are bounded."""
        return next((part.why for part in self.parts if part.why), "")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow can cost at most."""

    #: Nano-dollars; None if nothing bounds it.
    cost: NanoUSD | None
    #: The tightest bound: ``calls``, ``budget``, or another limit; empty if there is none.
    by: str
    tasks: tuple[TaskBound, ...]


def worst_case(
    spec: WorkflowSpec,
    quoter: Quoter | None,
    inputs: JSONObject,
    limits: Mapping[str, NanoUSD] | None = None,
) -> Bound:
    """The bound of a workflow with these inputs.

    ``quoter`` knows prices; without one, calls without ``max_cost`` count as free. ``limits`` are
    the limits of scopes of all runs (nano-dollars). Raises ConfigurationError.
    """
    graph = Graph(spec)
    calculator = _BoundCalculator(spec, graph, quoter, inputs)
    never_done = unreachable(spec, graph, inputs)
    tasks = tuple(
        [
            calculator.bound_task(index, is_reachable=spec.tasks[index].name not in never_done)
            for index in range(graph.tasks)
        ]
    )
    parts = [part for task in tasks for part in task.parts]
    bounds = [
        ("calls", sum_bounds(task.cost for task in tasks)),
        ("the agents' cost_limit", _sum_by_agent(spec, parts)),
        ("budget", None if spec.budget is None else spec.budget.limit),
    ]
    bounds += [(name, limits[name]) for name in ("tenant",) if limits and name in limits]
    known_bounds = [(cost, name) for name, cost in bounds if cost is not None]
    tightest = min(known_bounds, key=lambda bound: bound[0], default=(None, ""))
    return Bound(cost=tightest[0], by=tightest[1], tasks=tasks)


def sum_bounds(costs: Iterable[NanoUSD | None]) -> NanoUSD | None:
    """The sum of costs; None if one of them has no bound."""
    bounds = list(costs)
    return None if None in bounds else sum(cost for cost in bounds if cost is not None)


def smaller_bound(first: NanoUSD | None, second: NanoUSD | None) -> NanoUSD | None:
    """The smaller of two bounds; None is no bound."""
    return first if second is None else second if first is None else min(first, second)


def _sum_by_agent(spec: WorkflowSpec, parts: list[CallBound]) -> NanoUSD | None:
    """The sum over agents, each at most its ``cost_limit``; None if no agent has one."""
    limits = {agent.name: agent.cost_limit for agent in spec.agents}
    if not any(limit is not None for limit in limits.values()):
        return None
    sums = {name: sum_bounds(p.cost for p in parts if p.agent == name) for name in limits}
    other_cost = sum_bounds(part.cost for part in parts if part.agent not in limits)
    return sum_bounds([other_cost, *(smaller_bound(sums[name], limits[name]) for name in limits)])


class _BoundCalculator:
    """Bounds the tasks of one workflow with given inputs."""

    def __init__(
        self, spec: WorkflowSpec, graph: Graph, quoter: Quoter | None, inputs: JSONObject
    ) -> None:
        self._spec, self._graph, self._quoter, self._inputs = spec, graph, quoter, inputs

    def bound_task(self, index: int, *, is_reachable: bool) -> TaskBound:
        task, node = self._spec.tasks[index], self._graph.nodes[index]
        parts = tuple(self._bound_node(task, node, 1, ({},))) if is_reachable else ()
        limited_cost = sum_bounds(part.cost for part in parts if part.own)
        unlimited_cost = sum_bounds(part.cost for part in parts if not part.own)
        capped = smaller_bound(limited_cost, task.cost_limit)
        return TaskBound(
            task=task.name,
            calls=sum(part.calls for part in parts),
            cost=sum_bounds([capped, unlimited_cost]),
            limit=capped != limited_cost,
            parts=parts,
        )

    def _bound_node(
        self, task: TaskSpec, node: Node, times: int, scopes: tuple[JSONObject, ...]
    ) -> Iterator[CallBound]:
        """The calls of a node that runs ``times`` times; ``scopes`` are the known names."""
        last = node.steps[-1]
        if last is Step.EACH:
            assert node.inner is not None
            items = self._render_items(node)
            width = node.each.max_items if items is None else len(items)
            item_scopes: tuple[JSONObject, ...] = ()
            if items is not None:
                item_scopes = tuple(
                    [{"item": item, "index": index} for index, item in enumerate(items)]
                )
            yield from self._bound_node(task, node.inner, times * width, item_scopes)
        elif last is Step.REPEAT:
            assert node.inner is not None
            # The longest number that an iteration may have, so that no prompt is longer.
            iteration_scopes = ({**scope, "round": 10_000} for scope in scopes)
            yield from self._bound_node(
                task, node.inner, times * node.repeat.max_rounds, tuple(iteration_scopes)
            )
        elif last is Step.CHILD:
            yield from self._bound_child(task, node, times)
        elif last is Step.TURNS:
            yield from self._bound_turns(task, node, times, scopes)
        elif last is Step.CALL:
            yield self._bound_calls(task, node, times, scopes)
        yield from self._bound_recovery(task, node, times)

    def _bound_recovery(self, task: TaskSpec, node: Node, times: int) -> Iterator[CallBound]:
        """The calls that compensate a task or find out its outcome."""
        if node.inner is not None:
            return
        if node.undo is not None:
            part = self._bound_calls(task, node.undo, times, ())
            yield msgspec.structs.replace(part, own=False)
        reconcile = node.reconcile
        if reconcile is not None and node.effect is Effect.ONCE:
            part = self._bound_calls(task, reconcile, times * MAX_RECONCILE_CALLS, ())
            yield msgspec.structs.replace(part, own=False)

    def _bound_turns(
        self, task: TaskSpec, node: Node, times: int, scopes: tuple[JSONObject, ...]
    ) -> Iterator[CallBound]:
        """All turns of each model, and the tools that they may call."""
        for voice in node.voices:
            turns = task.max_turns if task.tools else 1
            part = self._bound_calls(task, voice, times * turns, scopes)
            if task.tools and part.call is not None and part.cost:
                yield CallBound(
                    agent=part.agent,
                    calls=part.calls,
                    cost=None,
                    call_cost=part.call_cost,
                    why="the length of its conversation is not known",
                )
            else:
                yield part
            yield from self._bound_recovery(task, voice, times * turns)
        for tool in node.tools:
            for part in (
                self._bound_calls(task, tool, times, ()),
                *self._bound_recovery(task, tool, times),
            ):
                is_free = part.cost == 0
                why = "" if is_free else "the number of its tool calls is not known"
                yield CallBound(
                    agent=part.agent, calls=part.calls, cost=0 if is_free else None, why=why
                )

    def _bound_child(self, task: TaskSpec, node: Node, times: int) -> Iterator[CallBound]:
        assert task.workflow is not None
        parameters = self._render_parameters(node, ({},))
        inputs = parameters[0] if parameters else {}
        child_bound = worst_case(task.workflow, self._quoter, inputs)
        why = ""
        if child_bound.cost is None:
            unbounded = next(
                (task_bound for task_bound in child_bound.tasks if task_bound.cost is None), None
            )
            why = "" if unbounded is None else f"{unbounded.task}: {unbounded.why}"
        cost = None if child_bound.cost is None else child_bound.cost * times
        calls = times * sum(task_bound.calls for task_bound in child_bound.tasks)
        yield CallBound(agent=task.workflow.name, calls=calls, cost=cost, why=why)

    def _bound_calls(
        self, task: TaskSpec, node: Node, times: int, scopes: tuple[JSONObject, ...]
    ) -> CallBound:
        tries, calls = count_attempts(node), times * count_attempts(node)
        agent = node.agent
        task_cost = None if node.task is None else node.task.max_cost
        declared = agent.max_cost if task_cost is None else task_cost
        if declared is not None:
            return CallBound(
                agent=agent.name, calls=calls, cost=declared * calls, call_cost=declared
            )
        if self._quoter is None or not self._quoter.is_priced(agent):
            return CallBound(agent=agent.name, calls=calls, cost=0, call_cost=0)
        parameter_sets = self._render_parameters(node, scopes)
        if parameter_sets is None:
            known_call = build_known_call(node, self._inputs, self._spec.name)
            why = (known_call and self._quoter.explain_unpriced(agent, known_call)) or (
                "its prompt contains a value that is not known before the run"
            )
            return CallBound(agent=agent.name, calls=calls, cost=None, why=why)
        samples = [self._build_call(task, node, item) for item in parameter_sets]
        first_cost = self._quote_dearest(node, samples)
        repair_cost = first_cost
        if node.schema is not None:
            repair_calls = [msgspec.structs.replace(item, complaint=COMPLAINT) for item in samples]
            repair_cost = self._quote_dearest(node, repair_calls)
        if first_cost is None or repair_cost is None:
            why = self._explain_unpriced(node, samples)
            return CallBound(agent=agent.name, calls=calls, cost=None, why=why)
        if self._holds_results(task, node, samples, first_cost):
            dependencies = ", ".join(f"'{name}'" for name in task.depends_on[:3])
            why = f"its prompt contains the result of {dependencies}"
            return CallBound(
                agent=agent.name, calls=calls, cost=None, why=why, call_cost=first_cost
            )
        cost = times * (first_cost + (tries - 1) * repair_cost)
        return CallBound(
            agent=agent.name, calls=calls, cost=cost, call=samples[0], call_cost=first_cost
        )

    def _quote_dearest(self, node: Node, calls: list[Call]) -> NanoUSD | None:
        """Nano-dollars of the dearest of these calls at most; None if a price is not known."""
        assert self._quoter is not None
        costs = [self._quoter.estimate_max_cost(node.agent, call) for call in calls]
        return None if None in costs else max(cost for cost in costs if cost is not None)

    def _explain_unpriced(self, node: Node, calls: list[Call]) -> str:
        assert self._quoter is not None
        reasons = [self._quoter.explain_unpriced(node.agent, call) for call in calls]
        return next(filter(None, reasons), f"the price of agent '{node.agent.name}' is not known")

    def _holds_results(
        self, task: TaskSpec, node: Node, samples: list[Call], first_cost: NanoUSD
    ) -> bool:
        """Whether the calls get dearer with longer results of the dependencies."""
        results = dict.fromkeys(task.depends_on, LONG)
        longer = [msgspec.structs.replace(call, dependencies=results) for call in samples]
        return bool(results) and self._quote_dearest(node, longer) != first_cost

    def _build_call(self, task: TaskSpec, node: Node, parameters: JSONObject) -> Call:
        return Call(
            run=RUN_ID,
            task=task.name,
            attempt=1,
            key="",
            agent=node.agent.name,
            action=node.action,
            parameters=parameters,
            description=node.description,
            references=node.references,
            output_schema=node.schema,
            tools=node.offers,
        )

    def _render_parameters(
        self, node: Node, scopes: tuple[JSONObject, ...]
    ) -> list[JSONObject] | None:
        """The parameters in each of the scopes; None if they are not known before the run."""
        template = node.parameters
        if template.task_names:
            return None
        parameter_sets = []
        for scope in scopes or ({},):
            names: JSONObject = {
                "inputs": self._inputs,
                "run": {"id": RUN_ID, "name": self._spec.name},
                **scope,
            }
            try:
                value = template.render(names)
            except (ExpressionError, KeyError):
                return None
            assert isinstance(value, dict)
            parameter_sets.append(value)
        return parameter_sets

    def _render_items(self, node: Node) -> list[JSONValue] | None:
        """The items to map over; None if they are not known before the run."""
        assert node.control_flow is not None
        assert node.control_flow.items is not None
        if node.control_flow.items.task_names:
            return None
        names: JSONObject = {
            "inputs": self._inputs,
            "run": {"id": RUN_ID, "name": self._spec.name},
        }
        try:
            items = node.control_flow.items.render(names)
        except (ExpressionError, KeyError):
            return None
        return items[: node.each.max_items] if isinstance(items, list) else None


def count_attempts(node: Node) -> int:
    """How many calls with a cost one execution of a node makes at most.

    A call with ``effect: once`` is repeated only if it was not sent (then it cost nothing), or if a
    reconcile call finds that it has not acted. A model with an output schema gets one more call to
    repair a reply that does not fit.
    """
    if node.effect is Effect.ONCE:
        return 1 + (MAX_RECONCILE_CALLS if node.reconcile is not None else 0)
    repair = node.schema is not None and node.agent.type == "ai_agent"
    return node.retry.max_attempts + repair


# Tasks that never run.


def order_tasks(graph: Graph) -> list[int]:
    """The tasks of the workflow in topological order."""
    dependents = [[d for d in graph.dependents[i] if d < graph.tasks] for i in range(graph.tasks)]
    return topological_order(dependents)


def unreachable(spec: WorkflowSpec, graph: Graph, inputs: JSONObject) -> dict[str, str]:
    """Tasks that never run with these inputs, and why."""
    reasons: dict[str, str] = {}
    for index in order_tasks(graph):
        task = spec.tasks[index]
        if task.when and never_holds(task.when, inputs):
            reasons[task.name] = f"its condition is always false: {task.when}"
        elif task.depends_on and all(name in reasons for name in task.depends_on):
            reasons[task.name] = "none of its dependencies ever runs"
    return reasons


def never_holds(when: str, inputs: JSONObject) -> bool:
    """Whether a condition refers to no task and is false with these inputs."""
    try:
        expression = compile_expression(when)
        return not expression.task_names and not expression.evaluate({"inputs": inputs})
    except (ExpressionError, KeyError):
        return False
