"""`lead_agent.workflow.executor` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import TaskExecutor

__all__ = [
    "TaskExecutor",
]
