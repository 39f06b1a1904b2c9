"""How the budgets of a home stand: each scope with its limit, what was spent and what is held.

Read from the accounts of the journal; the limits that nobody has set come from the workflows and
the settings. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from agenthive.core.budget.holds import DAY
from agenthive.core.budget.scopes import find_file_limit, run_of, shared_scope
from agenthive.core.journal.records import AccountState
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import SECOND, Micros, NanoUSD


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
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


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A call that holds money: ``is_call_running``, or nobody knows what it cost."""

    run: str
    task: str
    attempt: int
    held: NanoUSD
    since: Micros
    under_way: bool


def budget_lines(
    accounts: Iterable[AccountState],
    specs: Mapping[str, WorkflowSpec],
    limits: Mapping[str, NanoUSD],
    run: str | None = None,
) -> list[BudgetLine]:
    """Every scope that something was spent from or that has a limit; with ``run``, its own.

    ``specs`` are the workflows of the runs that limits are looked up for.
    """
    accounts_by_scope = {account.scope: account for account in accounts}
    for scope in [*map(shared_scope, limits), *([f"run {run}"] if run else [])]:
        accounts_by_scope.setdefault(scope, AccountState(scope=scope))
    return [
        _budget_line(account, accounts_by_scope, specs, limits)
        for scope, account in sorted(accounts_by_scope.items())
        if run is None or run_of(scope) == run
    ]


def _budget_line(
    account: AccountState,
    accounts_by_scope: Mapping[str, AccountState],
    specs: Mapping[str, WorkflowSpec],
    limits: Mapping[str, NanoUSD],
) -> BudgetLine:
    scope = account.scope
    default_limit = find_file_limit(scope, specs.get(run_of(scope)), limits)
    origin = "" if default_limit is None else "workflow" if run_of(scope) else "settings"
    day_account = (
        accounts_by_scope.get(scope.partition("/")[0]) if scope.startswith("day ") else None
    )
    set_limit = (
        account.limit if day_account is None or day_account.limit is None else day_account.limit
    )
    return BudgetLine(
        scope=scope,
        limit=default_limit if set_limit is None else set_limit,
        spent=account.captured,
        held=account.held,
        frozen=account.frozen,
        origin=origin if set_limit is None else "people",
    )


def open_holds(state: RunState) -> list[OpenHold]:
    """The calls of a run that hold money, the oldest first. Once it has ended, that is spent."""
    if state.status in CLOSED:
        return []
    holds = []
    for (task, attempt), hold in state.holds.items():
        holds.append(
            OpenHold(
                run=state.run,
                task=state.graph.keys[task],
                attempt=attempt,
                held=hold.amount,
                since=hold.at,
                under_way=state.is_call_running(task, attempt),
            )
        )
    return sorted(holds, key=lambda one: one.since)


def format_scope(scope: str) -> str:
    """A scope for people: days by their dates."""
    head, slash, number = scope.rpartition("/")
    if not scope.startswith("day ") or not slash:
        return scope
    day = datetime.fromtimestamp(int(number) * DAY // SECOND, UTC).date()
    return f"{head}/{day.isoformat()}"
