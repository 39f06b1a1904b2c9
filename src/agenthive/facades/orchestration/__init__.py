"""The names of the Agent Orchestration Engine: agents as prompts, workflows of them, one engine.

An engine holds a hive: each agent of a workflow is a task there, so its calls are journaled before
they are made, held against the workflow's budget, paced by the rate limits and retried by its
policy. Here is nothing but other names: it never decides anything. To add a name of that document:
a file by its subject, and a line here.
"""

from __future__ import annotations

from agenthive.facades.orchestration.clients import (
    AnthropicClient,
    LLMClient,
    LLMResponse,
    OpenAIClient,
)
from agenthive.facades.orchestration.costs import CostConfig, CostTracker
from agenthive.facades.orchestration.engine import EngineConfig, OrchestrationEngine
from agenthive.facades.orchestration.failures import FailureHandler, RetryPolicy, RetryStrategy
from agenthive.facades.orchestration.limiter import RateLimitConfig, RateLimiter
from agenthive.facades.orchestration.monitor import Monitor, MonitorConfig
from agenthive.facades.orchestration.values import (
    Agent,
    AgentResult,
    AgentStatus,
    Workflow,
    WorkflowStatus,
)

__all__ = [
    "Agent", "AgentResult", "AgentStatus", "AnthropicClient", "CostConfig", "CostTracker",
    "EngineConfig", "FailureHandler", "LLMClient", "LLMResponse", "Monitor", "MonitorConfig",
    "OpenAIClient", "OrchestrationEngine", "RateLimitConfig", "RateLimiter", "RetryPolicy",
    "RetryStrategy", "Workflow", "WorkflowStatus",
]  # fmt: skip
