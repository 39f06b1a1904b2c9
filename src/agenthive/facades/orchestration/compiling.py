"""From a workflow of this design to one of agenthive: an agent and a task for each agent.

Everything is checked at once, by the rules of agenthive for names and graphs. Prompts, tools and
settings are passed on unchanged: nothing in them is an expression. Never here: when a task starts.
To pass on another field: here, and in the tables of ranges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agenthive.authoring.checks.graph import Mention, TaskDraft, check_graph
from agenthive.authoring.dialect.names import name_fault, title_fault
from agenthive.authoring.readers.nodes import NOWHERE
from agenthive.authoring.readers.problems import Problems
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    FailureStrategy,
    InputSpec,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import JSONObject, to_nano_usd
from agenthive.errors import InvalidValue
from agenthive.facades.orchestration.agents import Agent, DefaultNumber
from agenthive.facades.orchestration.workflows import Workflow

COMPLETE: Final = "complete"
TEMPERATURE: Final = 0.7
#: Used, like `TEMPERATURE`, where ``llm_config`` has no value.
MAX_TOKENS: Final = 1000
_RESERVED_KEYS: Final = ("prompt", "messages", "tools", "shared")
#: These options would make a response more expensive than ``max_tokens`` allows.
_COSTLY_KEYS: Final = ("max_completion_tokens", "max_output_tokens", "n", "best_of")
_Range = tuple[float, float, bool]
_WORKFLOW_RANGES: Final[dict[str, _Range]] = {
    "max_parallel_agents": (1, 10_000, True),
    "cost_budget": (0, 1e9, False),
    "timeout": (1e-3, 1e9, False),
}
#: Field -> its minimum, its maximum, and whether it is a whole number.
_AGENT_RANGES: Final[dict[str, _Range]] = {
    "max_retries": (0, 1000, True),
    "timeout": (1e-3, 1e9, False),
    "cost_limit": (0, 1e9, False),
    "priority": (1, 10, True),
}


def check_workflow(workflow: Workflow) -> None:
    """Check whether a workflow can run. Raises InvalidValue with every problem."""
    problems = Problems(f"workflow {workflow.name!r}")
    for path, reason in _find_faults(workflow):
        problems.add(NOWHERE, path, reason)
    check_graph([_build_draft(i, agent) for i, agent in enumerate(workflow.agents)], problems)
    if problems.count:
        error = problems.build_error()
        raise InvalidValue(error.message, hint="Correct these values.", problems=error.problems)


def compile_workflow(
    workflow: Workflow,
    kind: str,
    retry: RetryPolicy,
    limit: RateLimit,
    inputs: Mapping[str, Any],
) -> WorkflowSpec:
    """The same workflow for agenthive. ``kind`` is that of the agents that call the client."""
    partial = workflow.allow_partial_completion
    return WorkflowSpec(
        name=workflow.name,
        description=workflow.description,
        dialect=1,
        agents=tuple(_build_agent(agent, kind, limit) for agent in workflow.agents),
        tasks=tuple(_build_task(agent, retry, bool(inputs)) for agent in workflow.agents),
        max_parallel=workflow.max_parallel_agents,
        failure_strategy=FailureStrategy.PARTIAL if partial else FailureStrategy.STOP,
        timeout=workflow.timeout,
        inputs={name: InputSpec() for name in inputs},
        budget=BudgetSpec(limit=to_nano_usd(workflow.cost_budget)),
    )


def _build_agent(agent: Agent, kind: str, limit: RateLimit) -> AgentSpec:
    return AgentSpec(
        name=agent.name,
        type=kind,
        endpoint=kind,
        timeout=agent.timeout,
        rate_limit=limit,
        custom_params={"module": _escape_expressions(agent.module)},
    )


def _build_task(agent: Agent, retry: RetryPolicy, shares: bool) -> TaskSpec:
    request = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS, **agent.llm_config}
    request |= {"prompt": agent.prompt_template, "tools": agent.tools or None}
    parameters = _escape_expressions(msgspec.to_builtins(request))
    return TaskSpec(
        name=agent.name,
        agent=agent.name,
        action=COMPLETE,
        description=agent.description,
        parameters=parameters | ({"shared": "{{ inputs }}"} if shares else {}),
        depends_on=tuple(dict.fromkeys(agent.dependencies)),
        retry=_build_retry(agent, retry),
        priority=agent.priority,
        cost_limit=to_nano_usd(agent.cost_limit),
    )


def _build_retry(agent: Agent, default: RetryPolicy) -> RetryPolicy:
    """The policy of the engine, with the number of retries of the agent."""
    attempts = None if isinstance(agent.max_retries, DefaultNumber) else agent.max_retries + 1
    return RetryPolicy(
        max_attempts=default.max_attempts if attempts is None else attempts,
        strategy=default.strategy,
        initial_delay=default.initial_delay,
        max_delay=default.max_delay,
        exponential_base=default.exponential_base,
        jitter=default.jitter,
    )


def _escape_expressions(value: Any) -> Any:
    """A JSON value in which agenthive finds no expressions."""
    if isinstance(value, str):
        return value.replace("{{", "{{{{")
    if isinstance(value, dict):
        return {key: _escape_expressions(item) for key, item in value.items()}
    return [_escape_expressions(item) for item in value] if isinstance(value, list) else value


def _build_draft(i: int, agent: Agent) -> TaskDraft:
    path = f"agents[{i}]"
    mentions = [
        Mention(name=name, place=NOWHERE, path=f"{path}.dependencies[{n}]")
        for n, name in enumerate(agent.dependencies)
    ]
    return TaskDraft(name=agent.name, place=NOWHERE, path=path, depends_on=mentions, reads=())


def _find_faults(workflow: Workflow) -> Iterator[tuple[str, str]]:
    if fault := title_fault(workflow.name):
        yield "name", fault
    if not workflow.agents:
        yield "agents", "there is none"
    yield from _check_numbers(workflow, "", _WORKFLOW_RANGES)
    for i, agent in enumerate(workflow.agents):
        path = f"agents[{i}]."
        if fault := name_fault(agent.name):
            yield f"{path}name", fault
        yield from _check_numbers(agent, path, _AGENT_RANGES)
        for key, reason in _check_llm_config(agent):
            yield path + key, reason


def _check_numbers(
    owner: object, path: str, ranges: Mapping[str, _Range]
) -> Iterator[tuple[str, str]]:
    for name, (minimum, maximum, whole) in ranges.items():
        value = getattr(owner, name)
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not minimum <= value <= maximum:
            kind = "a whole number" if whole else "a number"
            yield path + name, f"must be {kind} from {minimum:g} to {maximum:g}, not {value!r}"


def _check_llm_config(agent: Agent) -> Iterator[tuple[str, str]]:
    config: JSONObject = agent.llm_config
    if not isinstance(agent.prompt_template, str):
        yield "prompt_template", "must be text"
    if not isinstance(config.get("model"), str) or not config["model"]:
        yield "llm_config.model", "must name a model"
    max_tokens = config.get("max_tokens", MAX_TOKENS)
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        yield "llm_config.max_tokens", f"must be a whole number from 1, not {max_tokens!r}"
    if not isinstance(config.get("inputs", {}), dict):
        yield "llm_config.inputs", "must be a map of names to values"
    for name in _RESERVED_KEYS:
        if name in config:
            yield f"llm_config.{name}", "cannot be set here"
    for name in _COSTLY_KEYS:
        if name in config:
            yield f"llm_config.{name}", "cannot be set: max_tokens limits the cost of a call"
    try:
        msgspec.json.encode([config, agent.tools])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        yield "llm_config", f"and tools must be JSON: {error}"
