"""Facades: the class names of other documents on top of agenthive, one file for each document.

Where a document and agenthive mean the same thing, the facade re-exports the class of agenthive;
where they differ it translates, in methods of about five lines with the exact signatures of the
document. A name that two documents use for two things is imported from its own file, all others
also from here.

The import names of the documents are the distribution agenthive-compat (`compat/`), which
re-exports from here; `document_files` is its command.

A facade never decides, never keeps a second copy of an event, and is never imported by another
package.

To add one: a file or a folder here, a line below for each name that no other document uses, and the
examples of the document as a test in `tests/documents/`.
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from agenthive.facades.lead_agent import LeadAgent
    from agenthive.facades.orchestration import (
        Agent,
        AgentResult,
        AgentStatus,
        AnthropicClient,
        CostConfig,
        CostTracker,
        EngineConfig,
        FailureHandler,
        LLMClient,
        LLMResponse,
        Monitor,
        MonitorConfig,
        OpenAIClient,
        OrchestrationEngine,
        RateLimitConfig,
        RateLimiter,
        RetryPolicy,
        RetryStrategy,
        Workflow,
    )

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
    "LeadAgent",
    "Monitor",
    "MonitorConfig",
    "OpenAIClient",
    "OrchestrationEngine",
    "RateLimitConfig",
    "RateLimiter",
    "RetryPolicy",
    "RetryStrategy",
    "Workflow",
]

_MODULES = dict.fromkeys(__all__, "orchestration") | {"LeadAgent": "lead_agent"}


def __getattr__(name: str) -> object:
    module_name = _MODULES.get(name)
    if module_name is None:
        raise AttributeError(f"module 'agenthive.facades' has no attribute {name!r}")
    return getattr(_importlib.import_module(f"agenthive.facades.{module_name}"), name)
