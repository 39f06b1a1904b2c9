"""The document's import path; the names live in agenthive.facades."""

from agenthive.facades.lead_agent import TaskStatus, WorkflowStateMachine, WorkflowStatus  # noqa: F401
