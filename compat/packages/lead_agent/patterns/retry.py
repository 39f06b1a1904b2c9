"""`lead_agent.patterns.retry` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import RetryConfig, retry

__all__ = [
    "RetryConfig",
    "retry",
]
