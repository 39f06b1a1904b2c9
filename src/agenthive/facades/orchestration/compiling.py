"""From a workflow of this design to one of the house: an agent and a task for each agent.

Everything is checked at once, by the house's own rules for names and graphs. Prompts, tools and
settings are handed on as they are: nothing in them is an expression. Never here: what is done when.
To hand on another field: here, and in the table of what numbers may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agenthive.authoring.checks.graph import Draft, Mention, check_graph
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
from agenthive.core.values import JSONObject, nano
from agenthive.errors import InvalidValue
from agenthive.facades.orchestration.agents import Agent, Unsaid
from agenthive.facades.orchestration.workflows import Workflow

COMPLETE: Final = "complete"
TEMPERATURE: Final = 0.7
MAX_TOKENS: Final = 1000
"""What is asked for where ``llm_config`` says nothing."""
_TAKEN: Final = ("prompt", "messages", "tools", "shared")
_COSTLY: Final = ("max_completion_tokens", "max_output_tokens", "n", "best_of")
"""With these an answer would cost more than ``max_tokens`` says."""
_Range = tuple[float, float, bool]
_WORKFLOW: Final[dict[str, _Range]] = {
    "max_parallel_agents": (1, 10_000, True),
    "cost_budget": (0, 1e9, False),
    "timeout": (1e-3, 1e9, False),
}
_AGENT: Final[dict[str, _Range]] = {
    "max_retries": (0, 1000, True),
    "timeout": (1e-3, 1e9, False),
    "cost_limit": (0, 1e9, False),
    "priority": (1, 10, True),
}
"""Field -> the least and the most it may be, and whether it is a whole number."""


def check(workflow: Workflow) -> None:
    """See whether a workflow can run. Raises InvalidValue with all that is wrong."""
    problems = Problems(f"workflow {workflow.name!r}")
    for path, what in _faults(workflow):
        problems.add(NOWHERE, path, what)
    check_graph([_draft(i, agent) for i, agent in enumerate(workflow.agents)], problems)
    if problems.count:
        found = problems.error()
        raise InvalidValue(found.message, hint="Correct these.", problems=found.problems)


def compiled(
    workflow: Workflow,
    kind: str,
    retry: RetryPolicy,
    limit: RateLimit,
    inputs: Mapping[str, Any],
) -> WorkflowSpec:
    """The same for the house. ``kind`` is that of the agents that ask the client."""
    partial = workflow.allow_partial_completion
    return WorkflowSpec(
        name=workflow.name,
        description=workflow.description,
        dialect=1,
        agents=tuple(_agent(agent, kind, limit) for agent in workflow.agents),
        tasks=tuple(_task(agent, retry, bool(inputs)) for agent in workflow.agents),
        max_parallel=workflow.max_parallel_agents,
        failure_strategy=FailureStrategy.PARTIAL if partial else FailureStrategy.STOP,
        timeout=workflow.timeout,
        inputs={name: InputSpec() for name in inputs},
        budget=BudgetSpec(limit=nano(workflow.cost_budget)),
    )


def _agent(agent: Agent, kind: str, limit: RateLimit) -> AgentSpec:
    return AgentSpec(
        name=agent.name,
        type=kind,
        endpoint=kind,
        timeout=agent.timeout,
        rate_limit=limit,
        custom_params={"module": _verbatim(agent.module)},
    )


def _task(agent: Agent, retry: RetryPolicy, shares: bool) -> TaskSpec:
    asked = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS, **agent.llm_config}
    asked |= {"prompt": agent.prompt_template, "tools": agent.tools or None}
    parameters = _verbatim(msgspec.to_builtins(asked))
    return TaskSpec(
        name=agent.name,
        agent=agent.name,
        action=COMPLETE,
        description=agent.description,
        parameters=parameters | ({"shared": "{{ inputs }}"} if shares else {}),
        depends_on=tuple(dict.fromkeys(agent.dependencies)),
        retry=_retry(agent, retry),
        priority=agent.priority,
        cost_limit=nano(agent.cost_limit),
    )


def _retry(agent: Agent, default: RetryPolicy) -> RetryPolicy:
    """The engine's policy, with as many tries as the agent itself says."""
    own = None if isinstance(agent.max_retries, Unsaid) else agent.max_retries + 1
    return RetryPolicy(
        max_attempts=default.max_attempts if own is None else own,
        strategy=default.strategy,
        initial_delay=default.initial_delay,
        max_delay=default.max_delay,
        exponential_base=default.exponential_base,
        jitter=default.jitter,
    )


def _verbatim(value: Any) -> Any:
    """A JSON value that stays as it is where the house looks for expressions."""
    if isinstance(value, str):
        return value.replace("{{", "{{{{")
    if isinstance(value, dict):
        return {key: _verbatim(item) for key, item in value.items()}
    return [_verbatim(item) for item in value] if isinstance(value, list) else value


def _draft(i: int, agent: Agent) -> Draft:
    path = f"agents[{i}]"
    mentions = [
        Mention(name=name, place=NOWHERE, path=f"{path}.dependencies[{n}]")
        for n, name in enumerate(agent.dependencies)
    ]
    return Draft(name=agent.name, place=NOWHERE, path=path, depends_on=mentions, reads=())


def _faults(workflow: Workflow) -> Iterator[tuple[str, str]]:
    if fault := title_fault(workflow.name):
        yield "name", fault
    if not workflow.agents:
        yield "agents", "there is none"
    yield from _numbers(workflow, "", _WORKFLOW)
    for i, agent in enumerate(workflow.agents):
        path = f"agents[{i}]."
        if fault := name_fault(agent.name):
            yield f"{path}name", fault
        yield from _numbers(agent, path, _AGENT)
        for key, what in _asked(agent):
            yield path + key, what


def _numbers(owner: object, path: str, ranges: Mapping[str, _Range]) -> Iterator[tuple[str, str]]:
    for name, (least, most, whole) in ranges.items():
        value = getattr(owner, name)
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            yield path + name, f"must be {kind} from {least:g} to {most:g}, not {value!r}"


def _asked(agent: Agent) -> Iterator[tuple[str, str]]:
    config: JSONObject = agent.llm_config
    if not isinstance(agent.prompt_template, str):
        yield "prompt_template", "must be text"
    if not isinstance(config.get("model"), str) or not config["model"]:
        yield "llm_config.model", "must name a model"
    most = config.get("max_tokens", MAX_TOKENS)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        yield "llm_config.max_tokens", f"must be a whole number from 1, not {most!r}"
    if not isinstance(config.get("inputs", {}), dict):
        yield "llm_config.inputs", "must be a map of names to values"
    for name in _TAKEN:
        if name in config:
            yield f"llm_config.{name}", "cannot be said here"
    for name in _COSTLY:
        if name in config:
            yield f"llm_config.{name}", "cannot be said: max_tokens bounds what a call costs"
    try:
        msgspec.json.encode([config, agent.tools])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        yield "llm_config", f"and tools must be JSON: {error}"
