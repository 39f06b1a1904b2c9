"""THE ORCHESTRATION ENGINE'S NAMES: OrchestrationEngine, Agent, Workflow, LLMClient and the rest.

One file a subject: `agents` and `workflows` are the values, `compiling` makes a workflow of the
house of them, `clients` are models, `calls` is how a run asks them, `engine` runs, `reading` is
the journal as far as it was read, which `costs` and `monitor` show; `limiter` and `failures` also
serve code outside a workflow.

Never here: a decision. What starts when, what it may cost, what is tried again is the hive's.
To add a name: its file here, and a line below.
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
