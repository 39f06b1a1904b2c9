"""`src.failure_handling.handler` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import FailureHandler, RetryPolicy, RetryStrategy

__all__ = [
    "FailureHandler",
    "RetryPolicy",
    "RetryStrategy",
]
