"""What benchmarks share: the one agent of a workflow, as the shipped directory knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agenthive.agents.base import AgentResponse, BaseAgent
from agenthive.agents.registry import AgentRegistry
from agenthive.core.model.workflow import AgentSpec

NOOP = AgentSpec(name="noop", type="noop", endpoint="noop://", timeout=None)


class Inside(BaseAgent):
    """An agent that is only asked inside a run: a benchmark says how it performs."""

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Refuse. Raises NotImplementedError."""
        raise NotImplementedError


def directory(make: Callable[[AgentSpec], BaseAgent]) -> AgentRegistry:
    """Knows the agents of the type ``noop``."""
    found = AgentRegistry()
    found.register_kind(NOOP.type, make)
    return found
