"""`src.orchestrator.engine` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import EngineConfig, OrchestrationEngine

__all__ = [
    "EngineConfig",
    "OrchestrationEngine",
]
