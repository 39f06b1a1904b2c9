"""`src.cost_tracking.tracker` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import CostConfig, CostTracker

__all__ = [
    "CostConfig",
    "CostTracker",
]
