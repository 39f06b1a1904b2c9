"""The document's import path; the names live in agenthive.facades."""

from agenthive.facades.orchestration import Agent, AgentResult, AgentStatus  # noqa: F401
