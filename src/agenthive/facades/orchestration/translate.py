"""Between this document's workflows and the house's: a spec before a run, results after it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

from agenthive.core.money import EXCEEDED
from agenthive.core.ports import Fault
from agenthive.core.report import NANO, RunReport, TaskReport
from agenthive.core.run_state import RunState
from agenthive.core.spec import AgentSpec, BudgetSpec, FailureStrategy, TaskSpec, WorkflowSpec
from agenthive.core.spending import UNPRICED
from agenthive.core.states import TaskState
from agenthive.core.values import JSONObject
from agenthive.errors import ConfigurationError
from agenthive.facades.orchestration.calls import KIND
from agenthive.facades.orchestration.clients import MAX_TOKENS, TEMPERATURE
from agenthive.facades.orchestration.failures import RetryPolicy
from agenthive.facades.orchestration.limiter import RateLimitConfig
from agenthive.facades.orchestration.values import (
    Agent,
    AgentResult,
    AgentStatus,
    Workflow,
    WorkflowStatus,
)

CLIENT: Final = "client"
_SETTINGS: Final = ("model", "temperature", "max_tokens")
_STATUS: Final[dict[str, AgentStatus]] = {
    TaskState.SUCCEEDED: AgentStatus.COMPLETED,
    TaskState.FAILED: AgentStatus.FAILED,
    TaskState.UNKNOWN_OUTCOME: AgentStatus.FAILED,
    TaskState.RUNNING: AgentStatus.RUNNING,
    TaskState.BACKING_OFF: AgentStatus.RUNNING,
    TaskState.CANCELLED: AgentStatus.CANCELLED,
    TaskState.SKIPPED: AgentStatus.CANCELLED,
}
_BY_FAULT: Final[dict[str, AgentStatus]] = {
    EXCEEDED: AgentStatus.BUDGET_EXCEEDED,
    UNPRICED: AgentStatus.BUDGET_EXCEEDED,
    "rate_limited": AgentStatus.RATE_LIMITED,
}


def spec_of(
    workflow: Workflow, policy: RetryPolicy, limits: RateLimitConfig, endpoint: str
) -> WorkflowSpec:
    """The workflow as a hive runs it. Raises ConfigurationError."""
    _check(workflow)
    agent = AgentSpec(
        name=CLIENT, type=KIND, endpoint=endpoint, timeout=None, rate_limit=limits.native()
    )
    partial = workflow.allow_partial_completion
    return WorkflowSpec(
        name=workflow.name,
        description=workflow.description,
        agents=(agent,),
        tasks=tuple([_task(one, policy) for one in workflow.agents]),
        max_parallel=workflow.max_parallel_agents,
        failure_strategy=FailureStrategy.PARTIAL if partial else FailureStrategy.STOP,
        timeout=workflow.timeout,
        budget=BudgetSpec(limit=round(workflow.cost_budget * NANO)),
    )


def _check(workflow: Workflow) -> None:
    names = Counter(agent.name for agent in workflow.agents)
    problems = [f"two agents are called '{name}'" for name, count in names.items() if count > 1]
    problems += [
        f"agent '{agent.name}' depends on '{name}', which is not there"
        for agent in workflow.agents
        for name in agent.dependencies or ()
        if name not in names
    ]
    problems += [
        f"agent '{agent.name}': llm_config names no model"
        for agent in workflow.agents
        if not agent.llm_config.get("model")
    ]
    if not 0 <= workflow.cost_budget < 1e9 or not workflow.timeout > 0:
        problems.append("cost_budget must be 0 or more dollars, timeout positive seconds")
    if workflow.max_parallel_agents < 1:
        problems.append("max_parallel_agents must be at least 1")
    if problems:
        raise ConfigurationError(
            f"workflow '{workflow.name}': {'; '.join(problems)}", problems=tuple(problems)
        )


def _task(agent: Agent, policy: RetryPolicy) -> TaskSpec:
    config = agent.llm_config
    more: JSONObject = {name: value for name, value in config.items() if name not in _SETTINGS}
    return TaskSpec(
        name=agent.name,
        agent=CLIENT,
        action="complete",
        description=agent.description,
        parameters={
            "prompt_template": agent.prompt_template.replace("{{", "{{{{"),
            "inputs": "{{ inputs }}",
            "model": config["model"],
            "temperature": config.get("temperature", TEMPERATURE),
            "max_tokens": config.get("max_tokens", MAX_TOKENS),
            "tools": list(agent.tools or ()) or None,
            **more,
        },
        depends_on=tuple(agent.dependencies or ()),
        timeout=agent.timeout,
        retry=policy.native(agent.max_retries),
        priority=agent.priority,
        cost_limit=round(agent.cost_limit * NANO),
    )


def tell(workflow: Workflow, report: RunReport, state: RunState) -> None:
    """Write what a run has come to into the workflow and its agents."""
    run = str(report.status)
    known = {status.value for status in WorkflowStatus}
    # A run that waits for somebody is under way to whoever knows fewer states.
    workflow.status = WorkflowStatus(run if run in known else "running")
    workflow.total_cost = report.cost_usd
    for agent in workflow.agents:
        fault = state.faults.get(state.graph.index[agent.name])
        agent.result = _result(agent, report.tasks[agent.name], fault)
        agent.status = agent.result.status


def _result(agent: Agent, task: TaskReport, fault: Fault | None) -> AgentResult:
    status = _STATUS.get(task.status, AgentStatus.PENDING)
    if status is AgentStatus.FAILED and fault is not None and fault.kind in _BY_FAULT:
        status = _BY_FAULT[fault.kind]
    output = task.result if isinstance(task.result, dict) else None
    took = (task.ended - task.started) / 1e6 if task.started and task.ended else 0.0
    about: dict[str, Any] = {"module": agent.module}
    if fault is not None:
        about |= {"fault": fault.kind, "retriable": fault.retriable}
    return AgentResult(
        agent_id=agent.name,
        status=status,
        output=output,
        error=task.error if isinstance(task.error, str) else None,
        tokens_used=task.tokens,
        cost=task.cost_usd,
        execution_time=took,
        started_at=_time(task.started),
        completed_at=_time(task.ended),
        retry_count=max(0, task.attempts - 1),
        metadata=about,
    )


def _time(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at / 1e6, UTC)
