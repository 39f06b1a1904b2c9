"""`lead_agent.agents.base` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import AgentFactory, AgentResponse, AgentType, BaseAgent

__all__ = [
    "AgentFactory",
    "AgentResponse",
    "AgentType",
    "BaseAgent",
]
