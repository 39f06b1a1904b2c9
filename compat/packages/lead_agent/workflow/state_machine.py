"""`lead_agent.workflow.state_machine` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import TaskStatus, WorkflowStateMachine, WorkflowStatus

__all__ = [
    "TaskStatus",
    "WorkflowStateMachine",
    "WorkflowStatus",
]
