"""`lead_agent.models` of the Lead Agent design: names of agenthive."""

from agenthive.facades.lead_agent import (
    AgentConfig,
    AgentResponse,
    AgentType,
    CircuitBreakerConfig,
    FailureStrategy,
    RetryConfig,
    TaskConfig,
    TaskExecution,
    TaskStatus,
    WorkflowConfig,
    WorkflowExecution,
    WorkflowStatus,
)

__all__ = [
    "AgentConfig",
    "AgentResponse",
    "AgentType",
    "CircuitBreakerConfig",
    "FailureStrategy",
    "RetryConfig",
    "TaskConfig",
    "TaskExecution",
    "TaskStatus",
    "WorkflowConfig",
    "WorkflowExecution",
    "WorkflowStatus",
]
