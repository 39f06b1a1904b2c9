"""`src.monitoring.monitor` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import Monitor, MonitorConfig

__all__ = [
    "Monitor",
    "MonitorConfig",
]
