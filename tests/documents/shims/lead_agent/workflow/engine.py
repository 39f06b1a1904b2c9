"""The document's import path; the names live in agenthive.facades."""

from agenthive.facades.lead_agent import WorkflowEngine  # noqa: F401
