"""`lead_agent.patterns` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    Observer,
    RetryConfig,
    Subject,
    retry,
)

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitState",
    "Observer",
    "RetryConfig",
    "Subject",
    "retry",
]
