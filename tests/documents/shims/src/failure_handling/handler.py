"""The document's import path; the names live in agenthive.facades."""

from agenthive.facades.orchestration import FailureHandler, RetryPolicy, RetryStrategy  # noqa: F401
