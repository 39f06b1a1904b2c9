"""One task as the machine sees it: its steps in order, defaults resolved, expressions compiled.

Compiled once from a `TaskSpec`. A task that is done for each item, or in rounds, has an ``inner``
node: the pattern of the tasks that are made for them. To add something that stands around a call:
a `Step` here, where it comes in `_steps`, and what it leads to in `rules/flow.py`.
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
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import JSONObject, JSONValue, Micros, to_micros
from agenthive.errors import ConfigurationError

COMPENSATION_SUFFIX = "#undo"
"""What the key of a compensation ends in; no task name may contain a #."""
RECONCILE_SUFFIX = "#reconcile"
"""What stands between the key of a task and the number of the call that asks what came of it."""

NO_AGENT: Final = AgentSpec(name="", type="", endpoint="", timeout=None)
"""The agent of a task that calls none."""
_DEFAULT_RETRY: Final = RetryPolicy()


class Step(StrEnum):
    """What a task goes through before it has ended; the last one is its body."""

    WHEN = "when"
    TIMER = "timer"
    SIGNAL = "signal"
    APPROVAL = "approval"
    EACH = "each"
    REPEAT = "repeat"
    CHILD = "child"
    TURNS = "turns"
    CALL = "call"
    END = "end"


EVALUATED: Final = frozenset({Step.WHEN, Step.TIMER, Step.APPROVAL, Step.EACH, Step.CHILD})
"""Steps that begin with an expression."""


class ControlFlow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What stands around the call of a task, compiled."""

    when: Expression | None = None
    delay: Template | None = None
    until: Template | None = None
    wait: WaitSpec | None = None
    approval: ApprovalSpec | None = None
    message: Template | None = None
    payload: Template | None = None
    each: EachSpec | None = None
    items: Template | None = None
    label: Expression | None = None
    repeat: RepeatSpec | None = None
    round_end: Expression | None = None
    workflow: WorkflowSpec | None = None


class Node(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One task, with every default resolved.

    ``compensates`` is the index of the task that a compensation belongs to.

    ``steps`` is what it goes through; ``inner`` the pattern of its items or rounds; ``undo`` and
    ``reconcile`` those of what may have to be done about it. ``voices`` are the patterns of its
    turns, one for each model that may have to speak, ``tools`` those of what they may ask for, and
    ``offers`` what they are told of that. ``recorded_first``: what leads to its call, a yes of
    people or the question of a turn, is on disk before it is called. Another life of the turn may
    ask for another tool in the same place, and so under the same key.
    """

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
    steps: tuple[Step, ...] = (Step.CALL,)
    control_flow: ControlFlow | None = None
    inner: Node | None = None
    undo: Node | None = None
    reconcile: Node | None = None
    schema: JSONObject | None = None
    heartbeat: Micros | None = None
    cached: bool = False
    task: TaskSpec | None = None
    compensates: int | None = None
    recorded_first: bool = False
    voices: tuple[Node, ...] = ()
    tools: tuple[Node, ...] = ()
    offers: tuple[Tool, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is a call and nothing else."""
        return self.steps is PLAIN

    @property
    def wait(self) -> WaitSpec:
        """The signal it waits for."""
        assert self.control_flow is not None
        assert self.control_flow.wait is not None
        return self.control_flow.wait

    @property
    def approval(self) -> ApprovalSpec:
        """The approval it needs."""
        assert self.control_flow is not None
        assert self.control_flow.approval is not None
        return self.control_flow.approval

    @property
    def each(self) -> EachSpec:
        """How it is done for every item."""
        assert self.control_flow is not None
        assert self.control_flow.each is not None
        return self.control_flow.each

    @property
    def repeat(self) -> RepeatSpec:
        """How it is repeated."""
        assert self.control_flow is not None
        assert self.control_flow.repeat is not None
        return self.control_flow.repeat

    def iter_patterns(self) -> Iterator[Node]:
        """This node and all that may be made from it."""
        yield self
        for pattern in (self.inner, self.undo, self.reconcile, *self.voices, *self.tools):
            if pattern is not None:
                yield from pattern.iter_patterns()


PLAIN: Final = (Step.CALL,)


def build_task_node(task: TaskSpec, agents: Mapping[str, AgentSpec]) -> Node:
    """The node of a task. Raises ConfigurationError if it names an agent that is not there."""
    if not _has_control_flow(task):
        return _build_inner_node(task, agents, PLAIN, None)
    layers = _split_layers(task)
    node = _build_inner_node(task, agents, layers[-1], _compile_control_flow(task))
    if layers[-1][-1] is Step.TURNS:
        node = _add_turns(node, task, agents)
    for steps in reversed(layers[:-1]):
        node = msgspec.structs.replace(node, steps=steps, inner=node, undo=None, reconcile=None)
    return node


def _split_layers(task: TaskSpec) -> list[tuple[Step, ...]]:
    """The steps of the task, of its items, and of their rounds, as far as there are such."""
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
    """A task whose body is turns: each is a call of its own, and so is each tool."""
    tools = tuple([_build_tool_node(task, tool, agents) for tool in task.tools])
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
    """The same turn of another model."""
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
        task=msgspec.structs.replace(task, max_cost=None),
    )


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
        retry=tool.retry or agent.retry or _DEFAULT_RETRY,
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
    """A bare text is an expression; a list may hold some."""
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
    return _build_side_node(task, call, agent, f"what came of {task.name}", RECONCILE_SUFFIX, names)


def _build_side_node(
    task: TaskSpec,
    call: CompensationSpec,
    agent: AgentSpec,
    description: str,
    suffix: str,
    names: frozenset[str],
) -> Node:
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
    """The tasks whose results a node and its patterns read by name, but for its compensation."""
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
    """The tasks that compensations of items or rounds read by name."""
    inner = node.inner
    if inner is None:
        return frozenset()
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
    """The secret references that stand anywhere in ``value``."""
    if isinstance(value, str):
        return frozenset(_REFERENCE.findall(value)) if "${" in value else _NO_REFERENCES
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    reference_sets = [references for part in parts if (references := find_secret_references(part))]
    return frozenset[str]().union(*reference_sets) if reference_sets else _NO_REFERENCES
