"""What the scopes of budgets are called, and which limit a file gives each of them.

``run ID``, ``run ID task NAME``, ``run ID agent NAME``, ``agent T/NAME``, ``tenant T``, ``day T``
for each day and ``day T/N`` for one. Knows no amounts but those that files say.
"""

from __future__ import annotations

from collections.abc import Mapping

from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import NanoUSD


def run_of(scope: str) -> str:
    """The run that a scope belongs to; empty if it is none of a run's."""
    return scope.split(" ")[1] if scope.startswith("run ") else ""


def shared_scope(name: str, tenant: str = "default") -> str:
    """The scope of all runs that settings call ``tenant``, ``day`` or ``agent NAME``."""
    agent = name.removeprefix("agent ")
    return f"agent {tenant}/{agent}" if agent != name else f"{name} {tenant}"


def find_file_limit(
    scope: str, spec: WorkflowSpec | None, limits: Mapping[str, NanoUSD]
) -> NanoUSD | None:
    """The limit that files give a scope: the workflow of its run, or the settings' ``limits``."""
    kind, _, name = scope.partition(" ")
    if kind != "run":
        return limits.get(f"agent {name.partition('/')[2]}" if kind == "agent" else kind)
    if spec is None:
        return None
    part, _, item_name = name.partition(" ")[2].partition(" ")
    if not part:
        return None if spec.budget is None else spec.budget.limit
    items = spec.tasks if part == "task" else spec.agents
    return next((item.cost_limit for item in items if item.name == item_name), None)
