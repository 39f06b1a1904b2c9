"""The document's import path; the names live in agenthive.facades."""

from agenthive.facades.orchestration import RateLimitConfig, RateLimiter  # noqa: F401
