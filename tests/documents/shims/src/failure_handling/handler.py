"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import FailureHandler, RetryPolicy, RetryStrategy

__all__ = ["FailureHandler", "RetryPolicy", "RetryStrategy"]
