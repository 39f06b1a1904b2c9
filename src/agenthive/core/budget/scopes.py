"""The names of budget scopes, and the limit that a file gives to each.

    run ID               a run with its child runs
    run ID task NAME     one task of it
    run ID agent NAME    one agent in it
    agent T/NAME         an agent in all runs of tenant T
    tenant T             all runs of tenant T
    day T                the limit of every day of tenant T
    day T/N              one day of tenant T, N days after 1970-01-01

Never knows what was spent: see `ledger`. To add a scope: its name in this list and its limit in
`find_file_limit`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agenthive.core.budget.holds import DAY
from agenthive.core.model.timestamps import parse_timestamp
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import NanoUSD

_DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def run_of(scope: str) -> str:
    """The run that a scope belongs to; empty for a scope of several runs."""
    return scope.split(" ")[1] if scope.startswith("run ") else ""


def is_scope(scope: str) -> bool:
    """Whether a text has the form of a scope that may have a limit of its own."""
    words = scope.split(" ", 3)
    if not all(words):
        return False
    if words[0] == "run":
        return len(words) == 2 or (len(words) == 4 and words[2] in ("task", "agent"))
    if words[0] == "agent":
        return "/" in scope
    return len(words) == 2 and words[0] in ("tenant", "day")


def parse_day(scope: str) -> str:
    """A scope with its day as a number, which may be given as a date: ``day T/2026-12-24``."""
    head, _, date = scope.rpartition("/")
    if not head.startswith("day ") or not _DATE.fullmatch(date):
        return scope
    midnight = parse_timestamp(f"{date}T00:00:00Z")
    return scope if midnight is None else f"{head}/{midnight // DAY}"


def shared_scope(name: str, tenant: str = "default") -> str:
    """The scope of all runs of a tenant; ``name`` is ``tenant``, ``day`` or ``agent NAME``."""
    agent = name.removeprefix("agent ")
    return f"agent {tenant}/{agent}" if agent != name else f"{name} {tenant}"


def find_file_limit(
    scope: str, spec: WorkflowSpec | None, limits: Mapping[str, NanoUSD]
) -> NanoUSD | None:
    """The limit of a scope in nano-dollars: of the workflow of its run, or of the settings.

    ``limits`` are those of the settings, by the names that `shared_scope` takes. None: no limit.
    """
    kind, _, name = scope.partition(" ")
    if kind != "run":
        return limits.get(f"agent {name.partition('/')[2]}" if kind == "agent" else kind)
    if spec is None:
        return None
    part, _, part_name = name.partition(" ")[2].partition(" ")
    if not part:
        return None if spec.budget is None else spec.budget.limit
    members = spec.tasks if part == "task" else spec.agents
    return next((member.cost_limit for member in members if member.name == part_name), None)
