"""The names of the Agent Orchestration Engine: OrchestrationEngine, Agent, Workflow, LLMClient, ...

One file for each subject: `agents` and `workflows` are the values, `compiling` turns them into a
workflow of agenthive, `clients` are models, `calls` is how a run calls them, `engine` runs,
`reading` is the journal up to a cursor, which `costs` and `monitor` report; `limiter` and
`failures` also serve code outside a workflow.

Never here: a decision. The hive decides what starts when, what it may cost, and what is retried. To
add a name: its file here, and a line below.
"""

from agenthive.facades.orchestration.agents import Agent, AgentResult, AgentStatus
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
from agenthive.facades.orchestration.workflows import Workflow, WorkflowStatus

__all__ = [
    "Agent",
    "AgentResult",
    "AgentStatus",
    "AnthropicClient",
    "CostConfig",
    "CostTracker",
    "EngineConfig",
    "FailureHandler",
    "LLMClient",
    "LLMResponse",
    "Monitor",
    "MonitorConfig",
    "OpenAIClient",
    "OrchestrationEngine",
    "RateLimitConfig",
    "RateLimiter",
    "RetryPolicy",
    "RetryStrategy",
    "Workflow",
    "WorkflowStatus",
]
