"""`lead_agent.agents.http_api` of the Lead Agent design: names of agenthive."""

from agenthive.facades.agent_kinds import HTTPAPIAgent

__all__ = [
    "HTTPAPIAgent",
]
