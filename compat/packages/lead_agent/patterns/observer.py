"""`lead_agent.patterns.observer` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import Observer, Subject

__all__ = [
    "Observer",
    "Subject",
]
