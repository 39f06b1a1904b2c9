"""`lead_agent.agents.mcp_server` of the Lead Agent design: names of agenthive."""

from agenthive.facades.agent_kinds import MCPServerAgent

__all__ = [
    "MCPServerAgent",
]
