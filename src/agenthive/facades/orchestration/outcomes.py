"""Converts the journal of a run to the statuses and results of this design.

While a workflow runs, its events update the statuses; at its end the report of the run decides.
Reads only its arguments, calls nothing and decides nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agenthive.core.budget.holds import BUDGET_EXCEEDED
from agenthive.core.history.report import RunReport, TaskReport
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.values import SECOND, Micros
from agenthive.facades.orchestration.agents import Agent, AgentResult, AgentStatus
from agenthive.facades.orchestration.workflows import Workflow, WorkflowStatus
from agenthive.queries.journal_reader import EventView

#: All other states are running.
_RUN_STATUSES: Final = {
    RunStatus.QUEUED: WorkflowStatus.PENDING,
    RunStatus.COMPLETED: WorkflowStatus.COMPLETED,
    RunStatus.PARTIALLY_COMPLETED: WorkflowStatus.PARTIALLY_COMPLETED,
    RunStatus.FAILED: WorkflowStatus.FAILED,
    RunStatus.CANCELLED: WorkflowStatus.CANCELLED,
}
_EVENT_STATUSES: Final = {
    "task.started": AgentStatus.RUNNING,
    "task.succeeded": AgentStatus.COMPLETED,
    "task.cancelled": AgentStatus.CANCELLED,
}
#: All other states have not started.
_TASK_STATUSES: Final = {
    TaskState.SUCCEEDED: AgentStatus.COMPLETED,
    TaskState.FAILED: AgentStatus.FAILED,
    TaskState.UNKNOWN_OUTCOME: AgentStatus.FAILED,
    TaskState.SKIPPED: AgentStatus.CANCELLED,
    TaskState.CANCELLED: AgentStatus.CANCELLED,
    TaskState.RUNNING: AgentStatus.RUNNING,
    TaskState.BACKING_OFF: AgentStatus.RUNNING,
}
#: All other kinds of fault are failures.
_FAULT_STATUSES: Final = {
    BUDGET_EXCEEDED: AgentStatus.BUDGET_EXCEEDED,
    "rate_limited": AgentStatus.RATE_LIMITED,
    "overloaded": AgentStatus.RATE_LIMITED,
}


class Progress:
    """The progress of a workflow, from the events of its run."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._agents = {agent.name: agent for agent in workflow.agents}
        self._faults: dict[str, Any] = {}

    def on_event(self, event: EventView) -> None:
        """Apply one event."""
        if event.type == "run.started":
            self._workflow.status = WorkflowStatus.RUNNING
        data = msgspec.json.decode(event.data)
        agent = self._agents.get(data.get("task"))
        if agent is None:
            return
        if "fault" in data:
            self._faults[agent.name] = data["fault"]
            agent.status = self._failed_status(agent)
        agent.status = _EVENT_STATUSES.get(event.type, agent.status)

    def finish(self, report: RunReport, notes: dict[str, dict[str, Any]]) -> None:
        """Apply the report of the run; ``notes`` by agent go into the metadata of the results."""
        self._workflow.status = _RUN_STATUSES.get(RunStatus(report.status), WorkflowStatus.RUNNING)
        for name, agent in self._agents.items():
            task = report.tasks[name]
            agent.status = _TASK_STATUSES.get(TaskState(task.status), AgentStatus.PENDING)
            if agent.status is AgentStatus.FAILED:
                agent.status = self._failed_status(agent)
            fault = self._faults.get(name) if agent.status is not AgentStatus.COMPLETED else None
            agent.result = _build_result(agent, task, fault, notes.get(name, {}))

    def _failed_status(self, agent: Agent) -> AgentStatus:
        kind = self._faults.get(agent.name, {}).get("kind", "")
        return _FAULT_STATUSES.get(kind, AgentStatus.FAILED)


def _build_result(agent: Agent, task: TaskReport, fault: Any, notes: dict[str, Any]) -> AgentResult:
    output: Any = None if task.result is msgspec.UNSET else task.result
    metadata = {"module": agent.module, **notes}
    if fault is not None:
        metadata |= {"fault": fault["kind"], "retriable": fault.get("retriable", True)}
    return AgentResult(
        agent_id=agent.name,
        status=agent.status,
        output=output if isinstance(output, dict | None) else {"content": output},
        error=None if task.error is msgspec.UNSET else task.error,
        tokens_used=task.tokens,
        cost=task.cost_usd,
        execution_time=((task.ended or 0) - (task.started or 0)) / SECOND,
        started_at=_to_datetime(task.started),
        completed_at=_to_datetime(task.ended),
        retry_count=max(task.attempts - 1, 0),
        metadata=metadata,
    )


def _to_datetime(at: Micros | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at / SECOND, UTC)
