"""`external_api.models` of the Agent Hive API: names of agenthive."""

from agenthive.errors import APIError, LeanVibeError
from agenthive.facades.patterns import CircuitBreaker, CircuitBreakerConfig

__all__ = [
    "APIError",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "LeanVibeError",
]
