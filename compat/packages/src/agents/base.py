"""`src.agents.base` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import Agent, AgentResult, AgentStatus

__all__ = [
    "Agent",
    "AgentResult",
    "AgentStatus",
]
