"""What authoring asks about the actions of agents; whoever loads a workflow answers.

Only the question stands here: this room never imports an agent.
"""

from __future__ import annotations

from typing import Protocol

from agenthive.core.model.workflow import AgentSpec, Effect


class ActionCatalog(Protocol):
    """What is known of the agents' actions; `agents.Directory` knows it of the shipped kinds."""

    def action_problem(self, spec: AgentSpec, action: str) -> str | None:
        """Why the agent cannot do it, with the list of what it can; None if it can."""
        ...

    def effect_of(self, spec: AgentSpec, action: str) -> Effect | None:
        """What the action is known to do outside, where the author does not say; None: unknown."""
        ...
