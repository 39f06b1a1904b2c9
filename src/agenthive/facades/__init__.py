"""OTHER NAMES FOR THE SAME HOUSE: one file for each document whose class names we honour.

Where a document and the house mean the same thing the facade re-exports ours; where they differ it
translates, in methods of about five lines with the document's exact signatures.

A facade never decides, never keeps a second copy of a fact, and is never imported by another room.

To add one: a file here, a lazy line in `agenthive/__init__.py` if the name belongs on the top
level, and the document's own examples as a test in `tests/documents/`.
"""

from __future__ import annotations

import importlib as _importlib

_WHERE = {
    "lead_agent": ("LeadAgent", "WorkflowEngine", "AgentFactory", "ConfigLoader"),
    "orchestration": (
        "AnthropicClient", "CostConfig", "CostTracker", "EngineConfig", "FailureHandler",
        "LLMClient", "LLMResponse", "Monitor", "MonitorConfig", "OpenAIClient",
        "OrchestrationEngine", "RateLimitConfig", "RateLimiter",
    ),
}  # fmt: skip
"""File -> the names of it that no other document has; the others are imported from their file."""

__all__ = sorted(name for names in _WHERE.values() for name in names)


def __getattr__(name: str) -> object:
    for module, names in _WHERE.items():
        if name in names:
            return getattr(_importlib.import_module(f"agenthive.facades.{module}"), name)
    raise AttributeError(f"module 'agenthive.facades' has no attribute {name!r}")
