"""`lead_agent.workflow.engine` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import WorkflowEngine

__all__ = [
    "WorkflowEngine",
]
