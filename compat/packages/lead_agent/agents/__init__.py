"""`lead_agent.agents` of the Lead Agent design: names of agenthive."""

from agenthive.facades.agent_kinds import AIAgent, HTTPAPIAgent, MCPServerAgent
from agenthive.facades.lead_agent import AgentFactory, BaseAgent

__all__ = [
    "AIAgent",
    "AgentFactory",
    "BaseAgent",
    "HTTPAPIAgent",
    "MCPServerAgent",
]
