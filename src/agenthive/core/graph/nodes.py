"""One task as the machine sees it: its steps in order, defaults resolved, expressions compiled.

A node is compiled from a `TaskSpec` and never changes. A task with items or iterations has an
``inner`` node: the pattern from which the machine generates their tasks. Both at once nest: the
inner node of the items has an inner node for their iterations. To add something around a call: a
`Step` here, its place in `_split_layers`, and the guard that leads to its state in
`machine.guards.flow`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from agenthive.core.expressions import names as roots
from agenthive.core.expressions.template import Expression, Template, compile_expression
from agenthive.core.model.calls import Tool
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import (
    AgentSpec,
    CompensationSpec,
    Effect,
    FallbackSpec,
    TaskSpec,
    ToolSpec,
    WorkflowSpec,
)
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import JSONObject, JSONValue, Micros, to_micros
from agenthive.errors import ConfigurationError

COMPENSATION_SUFFIX = "#undo"
"""The end of the key of a compensation; no task name may contain a #."""
RECONCILE_SUFFIX = "#reconcile"
"""Follows the key of a task in the keys of its reconcile calls; the second call adds a number."""

NO_AGENT: Final = AgentSpec(name="", type="", endpoint="", timeout=None)
"""The agent of a task that makes no call."""
_DEFAULT_RETRY: Final = RetryPolicy()


class Step(StrEnum):
    """One step of a task. A task passes its steps in order; the last one is its body."""

    WHEN = "when"
    """Its condition is evaluated."""
    TIMER = "timer"
    """It waits for a time."""
    SIGNAL = "signal"
    """It waits for a signal."""
    APPROVAL = "approval"
    """It waits for an approval."""
    EACH = "each"
    """Body: its items."""
    REPEAT = "repeat"
    """Body: its iterations."""
    CHILD = "child"
    """Body: its child run."""
    TURNS = "turns"
    """Body: its model turns."""
    CALL = "call"
    """Body: its call."""
    END = "end"
    """Body: nothing; the task only waited."""


EVALUATED: Final = frozenset({Step.WHEN, Step.TIMER, Step.APPROVAL, Step.EACH, Step.CHILD})
"""Steps that begin with an expression, which the engine evaluates and journals as an event."""


class ControlFlow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The control flow around the call of a task, compiled. None: the task does not have it."""

    #: The condition of ``when``.
    when: Expression | None = None
    #: Seconds to wait.
    delay: Template | None = None
    #: The time to wait for.
    until: Template | None = None
    wait: WaitSpec | None = None
    approval: ApprovalSpec | None = None
    #: Message of the approval.
    message: Template | None = None
    #: Payload of the approval.
    payload: Template | None = None
    each: EachSpec | None = None
    #: The list of ``for_each``.
    items: Template | None = None
    #: The name of an item.
    label: Expression | None = None
    repeat: RepeatSpec | None = None
    #: The condition of ``repeat_until``.
    round_end: Expression | None = None
    #: The sub-workflow of the task.
    workflow: WorkflowSpec | None = None


class Node(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One task, or the pattern of generated tasks, with every default resolved."""

    #: Key of the task. In a pattern the name of its task: generated tasks have keys of their own.
    key: str
    #: The agent that is called; `NO_AGENT` for a task that makes no call.
    agent: AgentSpec
    action: str
    description: str
    #: Parameters of the call, or inputs of the child run.
    parameters: Template
    effect: Effect
    retry: RetryPolicy
    #: Microseconds for one call; None without a bound.
    timeout: Micros | None
    #: 1 (last) to 10 (first).
    priority: int
    #: Whether the run and the dependents continue when the task fails.
    tolerated: bool
    #: Calls with the same value share a circuit breaker and a rate limit.
    endpoint: str
    #: Secret references in the parameters of the definition: see `Call.references`.
    references: frozenset[str]
    #: What the task passes through, in order.
    steps: tuple[Step, ...] = (Step.CALL,)
    #: What the steps before the body need; None for a plain call.
    control_flow: ControlFlow | None = None
    #: Pattern of its items or iterations.
    inner: Node | None = None
    #: Pattern of its compensation.
    undo: Node | None = None
    #: Pattern of the reconcile calls of its calls of unknown outcome.
    reconcile: Node | None = None
    #: JSON Schema that the result must match.
    schema: JSONObject | None = None
    #: Microseconds that a call may be silent; None without a bound.
    heartbeat: Micros | None = None
    #: Whether a result of an equal call may be used.
    cached: bool = False
    #: The task of the definition; None for compensations and reconcile calls.
    task: TaskSpec | None = None
    #: For a compensation: the index of the task that it compensates.
    compensates: int | None = None
    #: Whether the events that led to the call must be on disk before it is made, even if it is a
    #: pure read. So it is for a call that was approved, and for a tool call: after a crash the
    #: model may request another tool in the same position, which would have the same key.
    recorded_first: bool = False
    #: Patterns of its model turns: the agent's, then one for each fallback.
    voices: tuple[Node, ...] = ()
    #: Patterns of its tool calls, one for each tool.
    tools: tuple[Node, ...] = ()
    #: The tools as a model sees them, in the order of ``tools``; set in ``voices``.
    offers: tuple[Tool, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the task is a call and nothing else."""
        return self.steps is PLAIN

    @property
    def wait(self) -> WaitSpec:
        """The signal that the task waits for; only for a task with that step."""
        assert self.control_flow is not None
        assert self.control_flow.wait is not None
        return self.control_flow.wait

    @property
    def approval(self) -> ApprovalSpec:
        """The approval that the task needs; only for a task with that step."""
        assert self.control_flow is not None
        assert self.control_flow.approval is not None
        return self.control_flow.approval

    @property
    def each(self) -> EachSpec:
        """The specification of its items; only for a task with that step."""
        assert self.control_flow is not None
        assert self.control_flow.each is not None
        return self.control_flow.each

    @property
    def repeat(self) -> RepeatSpec:
        """The specification of its iterations; only for a task with that step."""
        assert self.control_flow is not None
        assert self.control_flow.repeat is not None
        return self.control_flow.repeat

    def iter_patterns(self) -> Iterator[Node]:
        """This node and every pattern below it."""
        yield self
        for pattern in (self.inner, self.undo, self.reconcile, *self.voices, *self.tools):
            if pattern is not None:
                yield from pattern.iter_patterns()


PLAIN: Final = (Step.CALL,)
"""The steps of a plain call. One object, so that `Node.is_plain` is a comparison of identity."""


def build_task_node(task: TaskSpec, agents: Mapping[str, AgentSpec]) -> Node:
    """The node of a task. Raises ConfigurationError if it names an agent that is not declared."""
    if not _has_control_flow(task):
        return _build_inner_node(task, agents, PLAIN, None)
    layers = _split_layers(task)
    node = _build_inner_node(task, agents, layers[-1], _compile_control_flow(task))
    if layers[-1][-1] is Step.TURNS:
        node = _add_turns(node, task, agents)
    # The innermost layer keeps the compensation and the reconcile call: they belong to one call.
    for steps in reversed(layers[:-1]):
        node = msgspec.structs.replace(node, steps=steps, inner=node, undo=None, reconcile=None)
    return node


def _split_layers(task: TaskSpec) -> list[tuple[Step, ...]]:
    """The steps of the task, of its items, and of their iterations; without those it has not."""
    layers: list[tuple[Step, ...]] = []
    steps: list[Step] = []
    if task.when:
        steps.append(Step.WHEN)
    if task.delay is not None or task.until:
        steps.append(Step.TIMER)
    if task.wait_for is not None:
        steps.append(Step.SIGNAL)
    for spec, step in ((task.for_each, Step.EACH), (task.repeat_until, Step.REPEAT)):
        if spec is not None:
            layers.append((*steps, step))
            steps = []
    if task.approval is not None:
        steps.append(Step.APPROVAL)
    body = _body_step(task)
    layers.append((*steps, body) if steps or body is not Step.CALL else PLAIN)
    return layers


def _body_step(task: TaskSpec) -> Step:
    """The step that a task ends with, without items and iterations."""
    if not task.agent:
        return Step.CHILD if task.workflow is not None else Step.END
    return Step.TURNS if task.tools or task.fallback else Step.CALL


def _build_inner_node(
    task: TaskSpec,
    agents: Mapping[str, AgentSpec],
    steps: tuple[Step, ...],
    control_flow: ControlFlow | None,
) -> Node:
    agent = _resolve_agent(agents, task.name, task.agent) if task.agent else NO_AGENT
    return Node(
        key=task.name,
        agent=agent,
        action=task.action,
        description=task.description,
        parameters=_compile_template(task.parameters, roots.parameter_names(task))
        if task.parameters
        else _NO_PARAMETERS,
        effect=task.effect,
        retry=task.retry or agent.retry or _DEFAULT_RETRY,
        timeout=_resolve_timeout(task.timeout, agent),
        priority=task.priority,
        tolerated=task.continue_on_failure,
        endpoint=agent.endpoint_key,
        references=find_secret_references(task.parameters) if task.parameters else _NO_REFERENCES,
        steps=steps,
        control_flow=control_flow,
        undo=_build_compensation_node(task, task.compensate, agents)
        if task.compensate is not None
        else None,
        reconcile=_build_reconcile_node(task, task.reconcile, agents, roots.parameter_names(task))
        if task.reconcile is not None
        else None,
        schema=task.output_schema,
        heartbeat=None if task.heartbeat_timeout is None else to_micros(task.heartbeat_timeout),
        cached=task.cache is not None,
        task=task,
        recorded_first=task.approval is not None,
    )


def _add_turns(node: Node, task: TaskSpec, agents: Mapping[str, AgentSpec]) -> Node:
    """Add the patterns of turns and tool calls to a task with model turns as its body."""
    tools = tuple([_build_tool_node(task, tool, agents) for tool in task.tools])
    # With tools a turn is one of several, and its result depends on theirs.
    cached = node.cached and not tools
    turn = msgspec.structs.replace(
        node, steps=PLAIN, control_flow=None, undo=None, cached=cached, offers=_list_offers(task)
    )
    voices = (
        turn,
        *[_build_fallback_turn(turn, task, fallback, agents) for fallback in task.fallback],
    )
    return msgspec.structs.replace(node, reconcile=None, voices=voices, tools=tools)


def _list_offers(task: TaskSpec) -> tuple[Tool, ...]:
    return tuple(
        [
            Tool(name=tool.name, description=tool.description, schema=tool.input_schema)
            for tool in task.tools
        ]
    )


def _build_fallback_turn(
    turn: Node, task: TaskSpec, fallback: FallbackSpec, agents: Mapping[str, AgentSpec]
) -> Node:
    """The pattern of a turn of a fallback: ``turn`` with another agent and model."""
    agent = _resolve_agent(agents, task.name, fallback.agent)
    model_override = {"model": fallback.model} if fallback.model else {}
    parameters = {
        name: value for name, value in task.parameters.items() if name != "model"
    } | model_override
    return msgspec.structs.replace(
        turn,
        agent=agent,
        parameters=_compile_template(parameters, roots.parameter_names(task)),
        retry=task.retry or agent.retry or _DEFAULT_RETRY,
        timeout=_resolve_timeout(task.timeout, agent),
        endpoint=agent.endpoint_key,
        references=find_secret_references(parameters),
        # ``max_cost`` was declared for the calls of the task's own agent.
        task=msgspec.structs.replace(task, max_cost=None),
    )


def _tool_retry(retry: RetryPolicy) -> RetryPolicy:
    """The policy without retries after a bad end: the model hears of it at once, and decides."""
    if FaultClass.BAD_END not in retry.retry_on:
        return retry
    retry_on = tuple(cls for cls in retry.retry_on if cls is not FaultClass.BAD_END)
    return msgspec.structs.replace(retry, retry_on=retry_on)


def _build_tool_node(task: TaskSpec, tool: ToolSpec, agents: Mapping[str, AgentSpec]) -> Node:
    agent = _resolve_agent(agents, task.name, tool.agent)
    names, approval = roots.tool_names(task), tool.approval
    parameters: JSONValue = "{{ arguments }}" if tool.parameters is None else tool.parameters
    control_flow = None
    if approval is not None:
        message, payload = (
            Template.compile(text, names) for text in (approval.message, approval.payload)
        )
        control_flow = ControlFlow(approval=approval, message=message, payload=payload)
    reconcile = tool.reconcile
    return Node(
        key=task.name,
        agent=agent,
        action=tool.action,
        description=tool.description,
        parameters=Template.compile(parameters, names),
        effect=tool.effect,
        retry=_tool_retry(tool.retry or agent.retry or _DEFAULT_RETRY),
        timeout=_resolve_timeout(tool.timeout, agent),
        priority=task.priority,
        tolerated=False,
        endpoint=agent.endpoint_key,
        references=find_secret_references(parameters),
        steps=PLAIN if control_flow is None else (Step.APPROVAL, Step.CALL),
        control_flow=control_flow,
        recorded_first=True,
        reconcile=None
        if reconcile is None
        else _build_reconcile_node(task, reconcile, agents, names),
        task=msgspec.structs.replace(task, max_cost=tool.max_cost),
    )


def _compile_control_flow(task: TaskSpec) -> ControlFlow:
    condition_names, each, repeat = roots.condition_names(task), task.for_each, task.repeat_until
    return ControlFlow(
        when=compile_expression(task.when, condition_names) if task.when else None,
        delay=None if task.delay is None else Template.compile(task.delay, condition_names),
        until=Template.compile(task.until, condition_names) if task.until else None,
        wait=task.wait_for,
        approval=task.approval,
        message=Template.compile(task.approval.message, roots.approval_names(task))
        if task.approval
        else None,
        payload=Template.compile(task.approval.payload, roots.approval_names(task))
        if task.approval
        else None,
        each=each,
        items=_compile_items(each.items, task) if each else None,
        label=compile_expression(each.label, roots.label_names(task))
        if each and each.label
        else None,
        repeat=repeat,
        round_end=compile_expression(repeat.until, roots.round_end_names(task)) if repeat else None,
        workflow=task.workflow,
    )


def _has_control_flow(task: TaskSpec) -> bool:
    waits = task.delay is not None or task.until or task.wait_for or task.approval
    parts = task.for_each or task.repeat_until or task.tools or task.fallback
    return bool(task.when or waits or parts or not task.agent)


def _compile_items(items: JSONValue, task: TaskSpec) -> Template:
    """Compile the items of ``for_each``: a text without braces is an expression as a whole."""
    if isinstance(items, str) and "{{" not in items:
        items = "{{" + items + "}}"
    return Template.compile(items, roots.for_each_names(task))


def _build_compensation_node(
    task: TaskSpec, compensation: CompensationSpec, agents: Mapping[str, AgentSpec]
) -> Node:
    agent = _resolve_agent(agents, task.name, compensation.agent)
    description = f"compensation of {task.name}"
    return _build_side_node(
        task, compensation, agent, description, COMPENSATION_SUFFIX, roots.compensation_names(task)
    )


def _build_reconcile_node(
    task: TaskSpec, reconcile: ReconcileSpec, agents: Mapping[str, AgentSpec], names: frozenset[str]
) -> Node:
    agent = _resolve_agent(agents, task.name, reconcile.agent)
    call = CompensationSpec(
        agent=reconcile.agent,
        action=reconcile.action,
        parameters=reconcile.parameters,
        timeout=reconcile.timeout,
        effect=Effect.NONE,
    )
    description = f"outcome of {task.name}"
    return _build_side_node(task, call, agent, description, RECONCILE_SUFFIX, names)


def _build_side_node(
    task: TaskSpec,
    call: CompensationSpec,
    agent: AgentSpec,
    description: str,
    suffix: str,
    names: frozenset[str],
) -> Node:
    """A node for a call about a task: its compensation or a reconcile call."""
    return Node(
        key=task.name + suffix,
        agent=agent,
        action=call.action,
        description=description,
        parameters=_compile_template(call.parameters, names),
        effect=call.effect,
        retry=call.retry or agent.retry or _DEFAULT_RETRY,
        timeout=_resolve_timeout(call.timeout, agent),
        priority=task.priority,
        tolerated=False,
        endpoint=agent.endpoint_key,
        references=find_secret_references(call.parameters),
    )


def collect_task_names(node: Node) -> frozenset[str]:
    """The tasks that the expressions of a node and its patterns name, without compensations."""
    names = set(node.parameters.task_names)
    control_flow = node.control_flow
    if control_flow is not None:
        parts = (
            control_flow.when,
            control_flow.delay,
            control_flow.until,
            control_flow.message,
            control_flow.payload,
            control_flow.items,
            control_flow.round_end,
        )
        for part in parts:
            if part is not None:
                names |= part.task_names
    for inner in (node.inner, node.reconcile, *node.voices, *node.tools):
        if inner is not None:
            names |= collect_task_names(inner)
    return frozenset(names)


def collect_compensation_names(node: Node) -> frozenset[str]:
    """The tasks that the expressions of compensations of items or iterations name."""
    inner = node.inner
    if inner is None:
        return frozenset()
    # Its own name means the item or the iteration; the machine keeps that result by itself.
    own_names = (
        inner.undo.parameters.task_names - {node.key} if inner.undo is not None else frozenset()
    )
    return own_names | collect_compensation_names(inner)


def _resolve_agent(agents: Mapping[str, AgentSpec], task: str, name: str) -> AgentSpec:
    if name not in agents:
        raise ConfigurationError(f"Task '{task}' references undefined agent '{name}'")
    return agents[name]


def _compile_template(parameters: JSONObject, names: frozenset[str]) -> Template:
    return Template.compile(parameters, names) if parameters else _NO_PARAMETERS


_NO_PARAMETERS: Final = Template.compile({})


def _resolve_timeout(timeout: float | None, agent: AgentSpec) -> Micros | None:
    seconds = timeout if timeout is not None else agent.timeout
    return None if seconds is None else to_micros(seconds)


_NO_REFERENCES: Final[frozenset[str]] = frozenset()
_REFERENCE: Final = re.compile(r"\$\{(?:env|file|secret):[^}]{1,512}\}")


def find_secret_references(value: JSONValue) -> frozenset[str]:
    """All secret references in ``value``, such as ``${env:NAME}``, at any depth."""
    if isinstance(value, str):
        return frozenset(_REFERENCE.findall(value)) if "${" in value else _NO_REFERENCES
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    reference_sets = [references for part in parts if (references := find_secret_references(part))]
    return frozenset[str]().union(*reference_sets) if reference_sets else _NO_REFERENCES
