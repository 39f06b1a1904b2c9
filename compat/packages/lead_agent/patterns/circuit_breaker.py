"""`lead_agent.patterns.circuit_breaker` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import CircuitBreaker, CircuitBreakerConfig, CircuitState

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitState",
]
