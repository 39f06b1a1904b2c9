"""What authoring is passed about agents, for tests: every kind is known and may do anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agenthive.core.model.workflow import Effect
from agenthive.core.values import JSONObject


class KnownActions:
    """Implements `authoring.Actions`."""

    kinds: Sequence[str] = ("custom", "team")

    def kind_problem(self, kind: str) -> str | None:
        return None

    def action_problem(self, spec: Any, action: str) -> str | None:
        return None

    def effect_of(self, spec: Any, action: str) -> Effect | None:
        return None

    def parameters(self, spec: Any, action: str) -> JSONObject | None:
        return None
