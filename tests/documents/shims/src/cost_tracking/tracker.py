"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import CostConfig, CostTracker

__all__ = ["CostConfig", "CostTracker"]
