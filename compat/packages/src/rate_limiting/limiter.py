"""`src.rate_limiting.limiter` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import RateLimitConfig, RateLimiter

__all__ = [
    "RateLimitConfig",
    "RateLimiter",
]
