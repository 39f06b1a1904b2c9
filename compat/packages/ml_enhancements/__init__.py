"""`ml_enhancements` of the Agent Hive API: names of agenthive."""

from agenthive.errors import LeanVibeError, MLError

__all__ = [
    "LeanVibeError",
    "MLError",
]
