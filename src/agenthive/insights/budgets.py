"""How the budgets of a home stand: each scope with its limit, what was spent and what is held.

Read from the accounts of the journal; the limits that nobody has set come from the workflows and
the settings. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from agenthive.core.money import DAY
from agenthive.core.ports import Standing
from agenthive.core.run_state import RunState
from agenthive.core.spec import WorkflowSpec
from agenthive.core.states import TaskState
from agenthive.core.values import SECOND, Micros, NanoUSD


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One scope. Nano-dollars; ``origin`` says who set the limit: people, workflow or settings."""

    scope: str
    limit: NanoUSD | None
    spent: NanoUSD
    held: NanoUSD
    frozen: bool
    origin: str

    @property
    def left(self) -> NanoUSD | None:
        """What a new hold may take; None without a limit."""
        return None if self.limit is None else self.limit - self.spent - self.held


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """A call that holds money: ``under_way``, or nobody knows what it cost."""

    run: str
    task: str
    attempt: int
    held: NanoUSD
    since: Micros
    under_way: bool


def lines(
    standings: Iterable[Standing],
    specs: Mapping[str, WorkflowSpec],
    limits: Mapping[str, NanoUSD],
    run: str | None = None,
) -> list[Line]:
    """Every scope that something was spent from or that has a limit; with ``run``, its own.

    ``specs`` are the workflows of the runs that limits are looked up for.
    """
    known = {one.scope: one for one in standings}
    for scope in [*map(_every, limits), *([f"run {run}"] if run else [])]:
        known.setdefault(scope, Standing(scope=scope))
    return [
        _line(standing, known, specs, limits)
        for scope, standing in sorted(known.items())
        if run is None or run_of(scope) == run
    ]


def _line(
    standing: Standing,
    known: Mapping[str, Standing],
    specs: Mapping[str, WorkflowSpec],
    limits: Mapping[str, NanoUSD],
) -> Line:
    scope = standing.scope
    given, origin = _given(scope, specs.get(run_of(scope)), limits)
    every = known.get(scope.partition("/")[0]) if scope.startswith("day ") else None
    own = standing.limit if every is None or every.limit is None else every.limit
    return Line(
        scope=scope,
        limit=given if own is None else own,
        spent=standing.captured,
        held=standing.held,
        frozen=standing.frozen,
        origin=origin if own is None else "people",
    )


def run_of(scope: str) -> str:
    """The run that a scope belongs to; empty if it is none of a run's."""
    return scope.split(" ")[1] if scope.startswith("run ") else ""


def doubts(state: RunState) -> list[Doubt]:
    """The calls of a run that hold money, the oldest first."""
    found = []
    for (task, attempt), hold in state.holds.items():
        running = state.state[task] is TaskState.RUNNING and state.attempts[task] == attempt
        found.append(
            Doubt(
                run=state.run,
                task=state.graph.keys[task],
                attempt=attempt,
                held=hold.amount,
                since=hold.at,
                under_way=running,
            )
        )
    return sorted(found, key=lambda one: one.since)


def dated(scope: str) -> str:
    """A scope for people: days by their dates."""
    head, slash, number = scope.rpartition("/")
    if not scope.startswith("day ") or not slash:
        return scope
    day = datetime.fromtimestamp(int(number) * DAY // SECOND, UTC).date()
    return f"{head}/{day.isoformat()}"


def _every(name: str) -> str:
    """The scope that a limit of the settings is for."""
    agent = name.removeprefix("agent ")
    return f"agent default/{agent}" if agent != name else f"{name} default"


def _given(
    scope: str, spec: WorkflowSpec | None, limits: Mapping[str, NanoUSD]
) -> tuple[NanoUSD | None, str]:
    """The limit that a file gives a scope, and which file."""
    kind, _, rest = scope.partition(" ")
    limit: NanoUSD | None = None
    if kind != "run":
        name = f"agent {rest.partition('/')[2]}" if kind == "agent" else kind
        limit = limits.get(name)
        return limit, "" if limit is None else "settings"
    if spec is None:
        return None, ""
    _, _, part = rest.partition(" ")
    what, _, name = part.partition(" ")
    if what == "task":
        limit = next((task.cost_limit for task in spec.tasks if task.name == name), None)
    elif what == "agent":
        limit = next((agent.cost_limit for agent in spec.agents if agent.name == name), None)
    elif spec.budget is not None:
        limit = spec.budget.limit
    return limit, "" if limit is None else "workflow"
