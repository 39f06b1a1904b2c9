"""What authoring needs to know of the actions of agents; the caller of `load` passes it.

Only the port is here: this package never imports an agent.
"""

from __future__ import annotations

from typing import Protocol

from agenthive.core.model.workflow import AgentSpec, Effect


class ActionCatalog(Protocol):
    """Knows the actions of agents; `agents.registry.AgentRegistry` implements it."""

    def action_problem(self, spec: AgentSpec, action: str) -> str | None:
        """Why the agent cannot perform an action, with those that it can; None if it can."""
        ...

    def effect_of(self, spec: AgentSpec, action: str) -> Effect | None:
        """The effect an action is known to have, where its author says none; None: unknown."""
        ...
