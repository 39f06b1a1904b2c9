"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import Monitor, MonitorConfig

__all__ = ["Monitor", "MonitorConfig"]
