"""The budgets of a home: each scope with its limit, what is spent and what is reserved.

Computed from the accounts of the journal. A limit that was set by a user is in the account; other
limits come from the workflow of a run or from the settings. Changes nothing.
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
    """The budget of one scope, in nano-dollars."""

    scope: str
    #: None if the scope has no limit.
    limit: NanoUSD | None
    spent: NanoUSD
    #: Reserved for calls whose cost is not known yet.
    held: NanoUSD
    #: Whether the scope takes no holds until its limit is set again.
    frozen: bool
    #: Where the limit is from: ``people`` (set by a user), ``workflow``, ``settings``, or empty.
    origin: str

    @property
    def left(self) -> NanoUSD | None:
        """What a new hold may reserve, in nano-dollars; None without a limit."""
        return None if self.limit is None else self.limit - self.spent - self.held


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has budget reserved."""

    run: str
    task: str
    attempt: int
    #: Nano-dollars.
    held: NanoUSD
    #: When the hold was made, microseconds UTC.
    since: Micros
    #: Whether the call is running; otherwise it has ended and its cost is not known.
    under_way: bool


def budget_lines(
    accounts: Iterable[AccountState],
    specs: Mapping[str, WorkflowSpec],
    limits: Mapping[str, NanoUSD],
    run: str | None = None,
) -> list[BudgetLine]:
    """Every scope that has an account or a limit; with ``run``, only the scopes of that run.

    ``specs`` are workflows by run, for the limits that they declare; ``limits`` are those of the
    settings.
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
    # The account `day D/N` of one day has the limit that was set for the scope `day D`.
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
    """The calls of a run that have budget reserved, oldest first; none if the run has ended.

    When a run ends, its open holds are booked as spent.
    """
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
    return sorted(holds, key=lambda hold: hold.since)


def format_scope(scope: str) -> str:
    """A scope as it is shown: a day by its date instead of its number."""
    head, slash, number = scope.rpartition("/")
    if not scope.startswith("day ") or not slash:
        return scope
    day = datetime.fromtimestamp(int(number) * DAY // SECOND, UTC).date()
    return f"{head}/{day.isoformat()}"
