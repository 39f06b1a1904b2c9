"""What a workflow can cost at most, before it is run: every call it may make, at its worst.

A call costs at most what is held before it: what its task or its agent declares, else what the
list of prices says of its question and an answer of full length. Of a question whose size is not
known before (it holds a result, an item that comes from one, a signal) nobody can say; then only a
limit bounds it. Attempts that are lost when a process ends come on top: nobody can say how often
that happens. To add something that makes calls: a line in `_parts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from agenthive.core.engine.reply_validation import LONGEST_MESSAGE
from agenthive.core.expressions.template import compile_expression
from agenthive.core.graph.graph import Graph, topological
from agenthive.core.graph.nodes import Node, Step
from agenthive.core.machine.state_actions import MOST_QUESTIONS
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import Effect, TaskSpec, WorkflowSpec
from agenthive.core.ports import Quoter
from agenthive.core.values import JSONObject, JSONValue, NanoUSD
from agenthive.errors import ExpressionError

RUN_ID: Final = "0" * 36
LONG: Final = "x" * 4096
"""Stands for a result, to see whether a question holds it."""
COMPLAINT: Final = "x" * LONGEST_MESSAGE


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one agent that a task may make: at most so many, each of at most so much.

    ``cost`` is nano-dollars for all of them, None if nothing bounds it; then ``why`` says what is
    not known. ``own``: the task's ``cost_limit`` is for them. ``call`` is one of them, if that can
    be made already; ``one`` is what one costs at most as far as its question is known before, None
    if nothing is.
    """

    agent: str
    calls: int
    cost: NanoUSD | None
    why: str = ""
    own: bool = True
    call: Call | None = None
    one: NanoUSD | None = None


class TaskBound(msgspec.Struct, frozen=True, kw_only=True):
    """What a task can cost at most; ``limit`` if it is its ``cost_limit`` that says so."""

    task: str
    calls: int
    cost: NanoUSD | None
    limit: bool
    parts: tuple[Part, ...]

    @property
    def why(self) -> str:
        """What is not known of it, where nothing bounds it."""
        return next((part.why for part in self.parts if part.why), "")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole workflow can cost at most (nano-dollars), and what says so.

    ``by`` is ``calls``, ``budget`` or another limit; empty if nothing does.
    """

    cost: NanoUSD | None
    by: str
    tasks: tuple[TaskBound, ...]


def worst_case(
    spec: WorkflowSpec,
    quoter: Quoter | None,
    inputs: JSONObject,
    limits: Mapping[str, NanoUSD] | None = None,
) -> Bound:
    """The bound of a workflow with these inputs. ``limits`` are those of all runs.

    Raises ConfigurationError.
    """
    graph = Graph(spec)
    book = _Book(spec, graph, quoter, inputs)
    never = unreachable(spec, graph, inputs)
    tasks = tuple(
        [
            book.bound(index, done=spec.tasks[index].name not in never)
            for index in range(graph.tasks)
        ]
    )
    parts = [part for task in tasks for part in task.parts]
    bounds = [
        ("calls", total(task.cost for task in tasks)),
        ("the agents' cost_limit", _by_agents(spec, parts)),
        ("budget", None if spec.budget is None else spec.budget.limit),
    ]
    bounds += [(name, limits[name]) for name in ("tenant",) if limits and name in limits]
    known = [(cost, name) for name, cost in bounds if cost is not None]
    least = min(known, key=lambda one: one[0], default=(None, ""))
    return Bound(cost=least[0], by=least[1], tasks=tasks)


def total(costs: Iterable[NanoUSD | None]) -> NanoUSD | None:
    """The sum; None if one of them is not bounded."""
    found = list(costs)
    return None if None in found else sum(cost for cost in found if cost is not None)


def least(one: NanoUSD | None, other: NanoUSD | None) -> NanoUSD | None:
    """The smaller of two bounds."""
    return one if other is None else other if one is None else min(one, other)


def _by_agents(spec: WorkflowSpec, parts: list[Part]) -> NanoUSD | None:
    """The sum over agents, each at most its ``cost_limit``; None if no agent has one."""
    limits = {agent.name: agent.cost_limit for agent in spec.agents}
    if not any(limit is not None for limit in limits.values()):
        return None
    sums = {name: total(p.cost for p in parts if p.agent == name) for name in limits}
    inner = total(part.cost for part in parts if part.agent not in limits)
    return total([inner, *(least(sums[name], limits[name]) for name in limits)])


class _Book:
    def __init__(
        self, spec: WorkflowSpec, graph: Graph, quoter: Quoter | None, inputs: JSONObject
    ) -> None:
        self._spec, self._graph, self._quoter, self._inputs = spec, graph, quoter, inputs

    def bound(self, index: int, *, done: bool) -> TaskBound:
        task, node = self._spec.tasks[index], self._graph.nodes[index]
        parts = tuple(self._parts(task, node, 1, ({},))) if done else ()
        own = total(part.cost for part in parts if part.own)
        beside = total(part.cost for part in parts if not part.own)
        capped = least(own, task.cost_limit)
        return TaskBound(
            task=task.name,
            calls=sum(part.calls for part in parts),
            cost=total([capped, beside]),
            limit=capped != own,
            parts=parts,
        )

    def _parts(
        self, task: TaskSpec, node: Node, times: int, scopes: tuple[JSONObject, ...]
    ) -> Iterator[Part]:
        """All calls of a node, done ``times``; ``scopes`` are what is known of its items."""
        last = node.steps[-1]
        if last is Step.EACH:
            assert node.inner is not None
            items = self._items(node)
            width = node.each.max_items if items is None else len(items)
            known: tuple[JSONObject, ...] = ()
            if items is not None:
                known = tuple([{"item": item, "index": at} for at, item in enumerate(items)])
            yield from self._parts(task, node.inner, times * width, known)
        elif last is Step.REPEAT:
            assert node.inner is not None
            again = ({**one, "round": 10_000} for one in scopes)
            yield from self._parts(task, node.inner, times * node.repeat.max_rounds, tuple(again))
        elif last is Step.CHILD:
            yield from self._child(task, node, times)
        elif last is Step.TURNS:
            yield from self._turns(task, node, times, scopes)
        elif last is Step.CALL:
            yield self._calls(task, node, times, scopes)
        yield from self._beside(task, node, times)

    def _beside(self, task: TaskSpec, node: Node, times: int) -> Iterator[Part]:
        """What may have to be done about a task."""
        if node.inner is not None:
            return
        if node.undo is not None:
            part = self._calls(task, node.undo, times, ())
            yield msgspec.structs.replace(part, own=False)
        asks = node.reconcile
        if asks is not None and node.effect is Effect.ONCE:
            part = self._calls(task, asks, times * MOST_QUESTIONS, ())
            yield msgspec.structs.replace(part, own=False)

    def _turns(
        self, task: TaskSpec, node: Node, times: int, scopes: tuple[JSONObject, ...]
    ) -> Iterator[Part]:
        """A model may have all its turns, and each other one that goes on one more."""
        for voice in node.voices:
            turns = task.max_turns if task.tools else 1
            part = self._calls(task, voice, times * turns, scopes)
            if task.tools and part.call is not None and part.cost:
                yield Part(agent=part.agent, calls=part.calls, cost=None, one=part.one,
                           why="how long its conversation gets is not known")  # fmt: skip
            else:
                yield part
            yield from self._beside(task, voice, times * turns)
        for tool in node.tools:
            for part in (self._calls(task, tool, times, ()), *self._beside(task, tool, times)):
                free = part.cost == 0
                why = "" if free else "how often its tools are called is not known"
                yield Part(agent=part.agent, calls=part.calls, cost=0 if free else None, why=why)

    def _child(self, task: TaskSpec, node: Node, times: int) -> Iterator[Part]:
        assert task.workflow is not None
        given = self._given(node, ({},))
        inputs = given[0] if given else {}
        found = worst_case(task.workflow, self._quoter, inputs)
        why = ""
        if found.cost is None:
            inner = next((one for one in found.tasks if one.cost is None), None)
            why = "" if inner is None else f"{inner.task}: {inner.why}"
        cost = None if found.cost is None else found.cost * times
        calls = times * sum(one.calls for one in found.tasks)
        yield Part(agent=task.workflow.name, calls=calls, cost=cost, why=why)

    def _calls(
        self, task: TaskSpec, node: Node, times: int, scopes: tuple[JSONObject, ...]
    ) -> Part:
        tries, calls = attempts(node), times * attempts(node)
        agent = node.agent
        own = None if node.task is None else node.task.max_cost
        declared = agent.max_cost if own is None else own
        if declared is not None:
            return Part(agent=agent.name, calls=calls, cost=declared * calls, one=declared)
        if self._quoter is None or not self._quoter.priced(agent):
            return Part(agent=agent.name, calls=calls, cost=0, one=0)
        given = self._given(node, scopes)
        if given is None:
            why = "its question holds what is not known before"
            return Part(agent=agent.name, calls=calls, cost=None, why=why)
        made = [self._call(task, node, one) for one in given]
        first = self._quoted(node, made)
        again = first
        if node.schema is not None:
            complained = [msgspec.structs.replace(one, complaint=COMPLAINT) for one in made]
            again = self._quoted(node, complained)
        if first is None or again is None:
            why = f"nobody knows the price of agent '{agent.name}'"
            return Part(agent=agent.name, calls=calls, cost=None, why=why)
        if self._holds_results(task, node, made, first):
            deps = ", ".join(f"'{name}'" for name in task.depends_on[:3])
            why = f"its question holds the result of {deps}"
            return Part(agent=agent.name, calls=calls, cost=None, why=why, one=first)
        cost = times * (first + (tries - 1) * again)
        return Part(agent=agent.name, calls=calls, cost=cost, call=made[0], one=first)

    def _quoted(self, node: Node, calls: list[Call]) -> NanoUSD | None:
        """What the dearest of these costs at most."""
        assert self._quoter is not None
        costs = [self._quoter.worst(node.agent, call) for call in calls]
        return None if None in costs else max(cost for cost in costs if cost is not None)

    def _holds_results(self, task: TaskSpec, node: Node, made: list[Call], first: NanoUSD) -> bool:
        """Whether a call is dearer when what its task depends on has given more."""
        given = dict.fromkeys(task.depends_on, LONG)
        longer = [msgspec.structs.replace(call, dependencies=given) for call in made]
        return bool(given) and self._quoted(node, longer) != first

    def _call(self, task: TaskSpec, node: Node, parameters: JSONObject) -> Call:
        return Call(
            run=RUN_ID, task=task.name, attempt=1, key="", agent=node.agent.name,
            action=node.action, parameters=parameters, description=node.description,
            references=node.references, output_schema=node.schema, tools=node.offers,
        )  # fmt: skip

    def _given(self, node: Node, scopes: tuple[JSONObject, ...]) -> list[JSONObject] | None:
        """The parameters, for each of the scopes; None if they are not known before."""
        template = node.parameters
        if template.task_names:
            return None
        found = []
        for scope in scopes or ({},):
            names: JSONObject = {
                "inputs": self._inputs,
                "run": {"id": RUN_ID, "name": self._spec.name}, **scope,
            }  # fmt: skip
            try:
                value = template.render(names)
            except (ExpressionError, KeyError):
                return None
            assert isinstance(value, dict)
            found.append(value)
        return found

    def _items(self, node: Node) -> list[JSONValue] | None:
        """The items, if they are known before."""
        assert node.around is not None
        assert node.around.items is not None
        if node.around.items.task_names:
            return None
        names: JSONObject = {
            "inputs": self._inputs, "run": {"id": RUN_ID, "name": self._spec.name},
        }  # fmt: skip
        try:
            items = node.around.items.render(names)
        except (ExpressionError, KeyError):
            return None
        return items[: node.each.max_items] if isinstance(items, list) else None


def attempts(node: Node) -> int:
    """How many calls that may have cost something are made for one success or failure.

    What acts once is called again only if it has certainly not acted, or if the outside world says
    so that is asked about it; a model may be asked once more for an answer that fits its schema.
    """
    if node.effect is Effect.ONCE:
        return 1 + (MOST_QUESTIONS if node.reconcile is not None else 0)
    repair = node.schema is not None and node.agent.type == "ai_agent"
    return node.retry.max_attempts + repair


# What is never done.


def in_order(graph: Graph) -> list[int]:
    """The author's tasks, each after what it depends on."""
    dependents = [[d for d in graph.dependents[i] if d < graph.tasks] for i in range(graph.tasks)]
    return topological(dependents)


def unreachable(spec: WorkflowSpec, graph: Graph, inputs: JSONObject) -> dict[str, str]:
    """Tasks that are never done with these inputs: by their own condition, or all before them."""
    found: dict[str, str] = {}
    for index in in_order(graph):
        task = spec.tasks[index]
        if task.when and never_holds(task.when, inputs):
            found[task.name] = f"its condition never holds: {task.when}"
        elif task.depends_on and all(name in found for name in task.depends_on):
            found[task.name] = "all that it depends on is never done"
    return found


def never_holds(when: str, inputs: JSONObject) -> bool:
    """Whether a condition that reads no task is false with these inputs."""
    try:
        expression = compile_expression(when)
        return not expression.task_names and not expression.evaluate({"inputs": inputs})
    except (ExpressionError, KeyError):
        return False
