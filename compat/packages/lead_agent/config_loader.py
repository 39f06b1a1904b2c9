"""`lead_agent.config_loader` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import ConfigLoader, ConfigurationError

__all__ = [
    "ConfigLoader",
    "ConfigurationError",
]
