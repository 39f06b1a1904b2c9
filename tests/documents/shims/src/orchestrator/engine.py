"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import EngineConfig, OrchestrationEngine

__all__ = ["EngineConfig", "OrchestrationEngine"]
