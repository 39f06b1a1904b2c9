"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import Agent, AgentResult, AgentStatus

__all__ = ["Agent", "AgentResult", "AgentStatus"]
