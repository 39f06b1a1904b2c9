"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import Workflow, WorkflowStatus

__all__ = ["Workflow", "WorkflowStatus"]
