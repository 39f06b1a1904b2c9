"""`external_api` of the Agent Hive API: names of agenthive."""

from agenthive.errors import APIError, LeanVibeError
from agenthive.facades.patterns import CircuitBreaker

__all__ = [
    "APIError",
    "CircuitBreaker",
    "LeanVibeError",
]
