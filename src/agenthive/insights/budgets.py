"""How the budgets of a home stand: each scope with its limit, what was spent and what is held.

Read from the accounts of the journal; the limits that nobody has set come from the workflows and
the settings. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from agenthive.core.budget.holds import DAY
from agenthive.core.budget.scopes import run_of, shared, written
from agenthive.core.journal.records import Standing
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED
from agenthive.core.model.workflow import WorkflowSpec
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
    for scope in [*map(shared, limits), *([f"run {run}"] if run else [])]:
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
    given = written(scope, specs.get(run_of(scope)), limits)
    origin = "" if given is None else "workflow" if run_of(scope) else "settings"
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


def doubts(state: RunState) -> list[Doubt]:
    """The calls of a run that hold money, the oldest first. Once it has ended, that is spent."""
    if state.status in CLOSED:
        return []
    found = []
    for (task, attempt), hold in state.holds.items():
        found.append(
            Doubt(
                run=state.run,
                task=state.graph.keys[task],
                attempt=attempt,
                held=hold.amount,
                since=hold.at,
                under_way=state.under_way(task, attempt),
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
