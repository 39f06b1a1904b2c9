"""What authoring needs to know of agent kinds and their actions; the caller of `load` passes it.

Only the port is here: this package never imports an agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import JSONObject


class ActionCatalog(Protocol):
    """Knows agent kinds and their actions; `agents.registry.AgentRegistry` implements it."""

    @property
    def kinds(self) -> Sequence[str]:
        """The names of all kinds; read only for a kind that agenthive does not ship."""
        ...

    def kind_problem(self, kind: str) -> str | None:
        """Why agents of this kind cannot be made, and what to do; None if they can."""
        ...

    def action_problem(self, spec: AgentSpec, action: str) -> str | None:
        """Why the agent cannot perform an action, with those that it can; None if it can."""
        ...

    def effect_of(self, spec: AgentSpec, action: str) -> Effect | None:
        """The effect an action is known to have, where its author says none; None: unknown."""
        ...

    def parameters(self, spec: AgentSpec, action: str) -> JSONObject | None:
        """A JSON Schema of the parameters that an action takes; None if it takes any."""
        ...
