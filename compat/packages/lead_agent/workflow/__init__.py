"""`lead_agent.workflow` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import TaskExecutor, WorkflowEngine, WorkflowStateMachine

__all__ = [
    "TaskExecutor",
    "WorkflowEngine",
    "WorkflowStateMachine",
]
