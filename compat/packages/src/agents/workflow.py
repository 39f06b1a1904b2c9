"""`src.agents.workflow` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import Workflow, WorkflowStatus

__all__ = [
    "Workflow",
    "WorkflowStatus",
]
