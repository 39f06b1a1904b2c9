"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import RateLimitConfig, RateLimiter

__all__ = ["RateLimitConfig", "RateLimiter"]
