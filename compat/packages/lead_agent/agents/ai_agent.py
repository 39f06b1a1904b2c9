"""`lead_agent.agents.ai_agent` of the Lead Agent design: names of agenthive."""

from agenthive.facades.agent_kinds import AIAgent

__all__ = [
    "AIAgent",
]
