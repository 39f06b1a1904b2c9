"""`advanced_orchestration.models` of the Agent Hive API: names of agenthive."""

from agenthive.errors import CoordinationError, LeanVibeError, ResourceError, ScalingError

__all__ = [
    "CoordinationError",
    "LeanVibeError",
    "ResourceError",
    "ScalingError",
]
