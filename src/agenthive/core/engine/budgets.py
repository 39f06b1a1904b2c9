"""Budgets: the scopes that a call is spent from, what it reserves there, and which tasks wait.

A call is spent from every scope around it at once, the narrowest first: its task, its agent within
the run, its run, the same of the runs above it, then the agent, the tenant and the day. Before the
call, its worst case is *held* in every scope (``captured + held <= limit``); after it, the hold is
replaced by what the call cost. A hold that does not fit waits while other calls hold money in that
scope, because they may cost less than their holds; only when none does is the budget exceeded, and
the policy ``on_exceeded`` decides.

`core.budget` has the arithmetic of one account, and `budget_queues` the queues of the tasks that
wait for other calls; `BudgetManager` decides for whole calls, and who waits and who is woken. It
returns decisions, and events for the hive's stream; `Admission`, `CallResults` and `BudgetRequests`
act on them. It never applies an event and never reads a clock. Amounts are nano-dollars, times
microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

import msgspec

from agenthive.core.budget.holds import DAY, reported_cost
from agenthive.core.budget.ledger import Account, CaptureResult, Ledger
from agenthive.core.budget.scopes import find_file_limit, run_of
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.budget_queues import BudgetQueues, Waiter, WaitingCall
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import AccountState
from agenthive.core.model.calls import Call, Usage
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.model.workflow import Effect, OnExceeded
from agenthive.core.ports import Quoter
from agenthive.core.values import MOST_AMOUNT, Micros, NanoUSD


class Grant(msgspec.Struct, frozen=True):
    """The call fits its budgets."""

    #: What to hold in each scope.
    amount: NanoUSD = 0
    #: Scopes that the call is spent from.
    scopes: tuple[str, ...] = ()
    #: The answer must be cut to so many tokens; None: it need not.
    max_tokens: int | None = None


class MustWait(msgspec.Struct, frozen=True):
    """Other calls hold money that the call needs: check again when one of them has ended."""

    #: The scope that is short.
    scope: str


class LimitExceeded(msgspec.Struct, frozen=True):
    """A scope has less left than the call may cost, even if no other call costs anything."""

    #: The scope that is short.
    scope: str
    #: What the call may cost.
    amount: NanoUSD
    #: By how much that exceeds what is left.
    shortfall: NanoUSD
    #: Whether the scope takes no holds because a call cost more than its hold.
    frozen: bool
    #: What the workflow declares for this case.
    policy: OnExceeded


class UnpricedCall(msgspec.Struct, frozen=True):
    """A scope has a limit, and the cost of the call cannot be bounded."""

    #: The scope with the limit.
    scope: str


HoldDecision: TypeAlias = Grant | MustWait | LimitExceeded | UnpricedCall
# A module constant: in Python 3.11 the lookup in the enum costs more than the comparison.
_READY = TaskState.READY

FREE_GRANT: Final = Grant()
"""The grant of a call that costs nothing, or that has an unknown cost and no limit."""


def day_of(at: Micros) -> int:
    """The number of a time's UTC day, counted from 1970."""
    return at // DAY


class BudgetManager:
    """The budgets of a hive.

    ``runs`` are the open runs. ``quoter`` computes what a call costs at most; None without prices.
    ``limits`` are the limits of the settings, which hold for all runs: keys are ``tenant``, ``day``
    and ``agent NAME``. ``set_apart_runs`` are those that were set apart: they spend nothing more,
    and still bind their child runs.
    """

    def __init__(
        self,
        runs: Mapping[str, ActiveRun],
        quoter: Quoter | None = None,
        limits: Mapping[str, NanoUSD] | None = None,
        set_apart_runs: Mapping[str, ActiveRun] | None = None,
    ) -> None:
        #: The accounts of all scopes.
        self.ledger = Ledger()
        self._runs, self._quoter, self._limits = runs, quoter, dict(limits or {})
        self._set_apart_runs = {} if set_apart_runs is None else set_apart_runs
        #: Ready tasks that wait for other calls.
        self.queues = BudgetQueues()
        #: Scope of an agent -> what the last call of it that was checked costs at most.
        self._usual_costs: dict[str, NanoUSD] = {}
        #: Blocked tasks -> scope that needs a higher limit, or its next day.
        self._blocked_scopes: dict[Waiter, str] = {}
        #: Heap of (time, run id, index, attempt) at which a hold in doubt counts as spent.
        self._hold_expiries: list[tuple[Micros, str, int, int]] = []
        #: Tasks to look at again, for `take_woken_waiters`.
        self._woken_waiters: list[Waiter] = []
        #: The day in which the blocked tasks were last compared with their scopes.
        self._current_day = 0

    def restore_accounts(self, standings: Iterable[AccountState]) -> None:
        """Restore the accounts from before the restart, before any run."""
        for standing in standings:
            self.ledger.restore_account(standing)

    # Before a call.

    def can_cost(self, run: ActiveRun, index: int) -> bool:
        """Whether the call of a task can cost anything."""
        node = run.state.graph.nodes[index]
        agent = node.agent
        # Cached, because every task needs it and it is the same for all calls of an agent.
        priced = run.priced_agents.get(agent.name)
        if priced is None:
            priced = self._quoter is not None and self._quoter.is_priced(agent)
            run.priced_agents[agent.name] = priced = priced or agent.max_cost is not None
        return priced or (node.task is not None and node.task.max_cost is not None)

    def check_hold(self, run: ActiveRun, index: int, call: Call, now: Micros) -> HoldDecision:
        """Whether a call fits its budgets now. Nothing is held yet: see `reserve_hold`."""
        amount = self._worst_case_cost(run, index, call)
        scopes = self.list_scopes(run, index, now)
        if amount is None:
            accounts = [self.ledger.accounts[scope] for scope in scopes]
            limited_scope = next(
                (account.scope for account in accounts if account.limit is not None), None
            )
            return FREE_GRANT if limited_scope is None else UnpricedCall(limited_scope)
        self._usual_costs[_agent_scope(scopes)] = amount
        released = self._release_superseded(run, index, restore=False)
        # What other woken tasks were promised counts as taken, so that this call does not take it.
        promised = self.queues.promised
        woken_call = self.queues.find_promise((run.id, index)) if promised else None
        needed = amount if woken_call is None else amount - woken_call.promised
        short_accounts = self.ledger.find_short_accounts(scopes, needed, promised)
        full_grant = Grant(amount, scopes)
        decision = (
            self._resolve_shortage(run, index, call, full_grant, short_accounts)
            if short_accounts
            else full_grant
        )
        if released:
            self._release_superseded(run, index, restore=True)
        return decision

    def _resolve_shortage(
        self,
        run: ActiveRun,
        index: int,
        call: Call,
        full_grant: Grant,
        short_accounts: list[Account],
    ) -> HoldDecision:
        """The decision about a call that does not fit the ``short_accounts``."""
        amount = full_grant.amount
        awaited_scope = self._find_awaited_scope(run, index, short_accounts)
        if awaited_scope:
            self._add_to_queue(run, index, awaited_scope, full_grant.scopes, amount)
            return MustWait(awaited_scope)
        exhausted_account = next(
            account for account in short_accounts if not self._may_be_freed(account)
        )
        room = min(-account.shortfall(0) for account in short_accounts)
        if self._can_shrink(run, index) and room > 0 and self._quoter is not None:
            smaller_answer = self._quoter.fit_max_tokens(run.agent_of(index), call, room)
            if smaller_answer is not None:
                return Grant(smaller_answer[1], full_grant.scopes, smaller_answer[0])
        policy = self._exceeded_policy(run)
        return LimitExceeded(
            exhausted_account.scope,
            amount,
            exhausted_account.shortfall(amount),
            exhausted_account.frozen,
            policy,
        )

    def reserve_hold(
        self, run: ActiveRun, index: int, attempt: int, grant: Grant
    ) -> tuple[int, ...]:
        """Hold what a call may cost, before its intent; returns the attempts it takes over."""
        superseded = superseded_attempts(run, index)
        if superseded:
            self._release_superseded(run, index, restore=False)
            for old_attempt in superseded:
                run.hold_scopes.pop((index, old_attempt), None)
        if grant.amount:
            self.ledger.reserve(run.id, grant.scopes, grant.amount)
            run.hold_scopes[index, attempt] = grant.scopes
        if run.waiting_calls and run.waiting_calls.pop(index, None) is not None:
            self.queues.keep_promise((run.id, index))
        return superseded

    def _worst_case_cost(self, run: ActiveRun, index: int, call: Call) -> NanoUSD | None:
        """What a call costs at most; None if that is unknown."""
        declared_cost = _declared_cost(run, index)
        if declared_cost is not None:
            return declared_cost
        assert self._quoter is not None
        cost = self._quoter.estimate_max_cost(run.agent_of(index), call)
        # The estimate may be from any code: what is no amount is unknown.
        if type(cost) is not int or cost < 0:
            return None
        return cost if cost < MOST_AMOUNT else MOST_AMOUNT

    def _release_superseded(self, run: ActiveRun, index: int, *, restore: bool) -> bool:
        """Release the holds that a call takes over, or ``restore`` them; whether there are any."""
        attempts = superseded_attempts(run, index)
        for attempt in attempts:
            amount = run.state.holds[index, attempt].amount
            scopes = self.call_scopes(run, index, attempt, 0)
            self.ledger.release(run.id, scopes, -amount if restore else amount)
        return bool(attempts)

    def _can_shrink(self, run: ActiveRun, index: int) -> bool:
        """Whether the call's answer may be cut to what is left of the budget."""
        budget = run.state.graph.spec.budget
        return budget is not None and budget.shrink and _declared_cost(run, index) is None

    def _exceeded_policy(self, run: ActiveRun) -> OnExceeded:
        """The policy of the nearest run with a budget; without one, the task fails."""
        budgets = (ancestor.state.graph.spec.budget for ancestor, _ in self._lineage(run))
        return next(
            (budget.on_exceeded for budget in budgets if budget is not None), OnExceeded.FAIL
        )

    def _lineage(self, run: ActiveRun) -> Iterator[tuple[ActiveRun, int | None]]:
        """The run and its ancestors, each with the index of the task that started the run below."""
        ancestor: ActiveRun | None = run
        task: int | None = None
        while ancestor is not None:
            yield ancestor, task
            parent = ancestor.state.parent
            ancestor = None if parent is None else self._find_run(parent.run)
            if ancestor is not None and parent is not None:
                task = ancestor.state.graph.index[parent.task]

    def _find_run(self, run_id: str) -> ActiveRun | None:
        """An open run, or one that was set apart: its limits still bind its child runs."""
        return self._runs.get(run_id) or self._set_apart_runs.get(run_id)

    # Scopes.

    def list_scopes(self, run: ActiveRun, index: int, at: Micros) -> tuple[str, ...]:
        """The scopes of a call made at the time ``at``, the narrowest first; opens accounts."""
        node = run.state.graph.nodes[index]
        is_limited = node.task is not None and node.task.cost_limit is not None
        key = node.agent.name, node.task.name if node.task and is_limited else "", at // DAY
        scopes = run.call_scopes.get(key)
        if scopes is None:
            scopes = run.call_scopes[key] = self._open_scopes(run, index, at)
        return scopes

    def forget_scopes(self) -> None:
        """A run continues under another definition: limits and names of scopes may be others."""
        for run in self._runs.values():
            run.call_scopes.clear()
        self.queues.mark_all_freed()

    def _open_scopes(self, run: ActiveRun, index: int, at: Micros) -> tuple[str, ...]:
        ledger, limits = self.ledger, self._limits
        tenant, agent = run.state.tenant, run.state.graph.nodes[index].agent
        scopes = self._task_scopes(run, index)
        if agent.cost_limit is not None:
            scopes.append(f"run {run.id} agent {agent.name}")
            ledger.open_account(scopes[-1], agent.cost_limit)
        scopes += self._run_scopes(run)
        scopes.append(f"agent {tenant}/{agent.name}")
        ledger.open_account(scopes[-1], limits.get(f"agent {agent.name}"))
        scopes.append(f"tenant {tenant}")
        ledger.open_account(scopes[-1], limits.get("tenant"))
        daily_account = ledger.accounts.get(f"day {tenant}")
        daily_limit = (
            limits.get("day")
            if daily_account is None or daily_account.explicit_limit is None
            else daily_account.explicit_limit
        )
        scopes.append(f"day {tenant}/{day_of(at)}")
        ledger.open_account(scopes[-1], daily_limit)
        return tuple(scopes)

    def _task_scopes(self, run: ActiveRun, index: int) -> list[str]:
        task = run.state.graph.nodes[index].task
        if task is None or task.cost_limit is None:
            return []
        scope = f"run {run.id} task {task.name}"
        self.ledger.open_account(scope, task.cost_limit)
        return [scope]

    def _run_scopes(self, run: ActiveRun) -> list[str]:
        """The scopes of the run and of its ancestors, with those of the tasks between them."""
        scopes = list[str]()
        for ancestor, task in self._lineage(run):
            if task is not None:
                scopes += self._task_scopes(ancestor, task)
            budget = ancestor.state.graph.spec.budget
            scopes.append(f"run {ancestor.id}")
            self.ledger.open_account(scopes[-1], None if budget is None else budget.limit)
        return scopes

    def call_scopes(self, run: ActiveRun, index: int, attempt: int, now: Micros) -> tuple[str, ...]:
        """The scopes that the call of an attempt is spent from."""
        held_scopes = run.hold_scopes.get((index, attempt))
        if held_scopes is not None:
            return held_scopes
        hold = run.state.holds.get((index, attempt))
        return self.list_scopes(run, index, now if hold is None else hold.at)

    # After a call.

    def book_cost(
        self,
        run: ActiveRun,
        index: int,
        attempt: int,
        cost: NanoUSD | None,
        now: Micros,
        *,
        under_way: bool,
    ) -> list[ev.HiveEvent]:
        """Book what a call cost (None: unknown), before the event that ends it is applied.

        ``under_way``: the call was in progress until now. Returns events for the hive's stream.
        """
        events: list[ev.HiveEvent] = []
        hold = run.state.holds.get((index, attempt))
        if hold is None and not cost:
            return events
        scopes = self.call_scopes(run, index, attempt, now)
        amount = 0 if hold is None else hold.amount
        if cost is None:
            self.ledger.mark_in_doubt(scopes, amount)
            self.schedule_expiry(run, index, attempt)
        else:
            run.hold_scopes.pop((index, attempt), None)
            settlement = self.ledger.capture(run.id, scopes, amount, cost, pending=under_way)
            events += self._alert_events(run, index, settlement, now)
            if cost > amount and (hold is not None or settlement.frozen):
                breach = ev.BudgetBreached(
                    at=now,
                    run=run.id,
                    task=run.state.graph.keys[index],
                    attempt=attempt,
                    over=cost - amount,
                    frozen=settlement.frozen,
                )
                events.append(breach)
        self._wake_waiters(scopes)
        return events

    def _alert_events(
        self, run: ActiveRun, index: int, settlement: CaptureResult, now: Micros
    ) -> Iterator[ev.BudgetAlerted]:
        for scope, percent in settlement.alerts:
            account = self.ledger.accounts[scope]
            assert account.limit is not None
            yield ev.BudgetAlerted(
                at=now,
                scope=scope,
                percent=percent,
                captured=account.captured,
                limit=account.limit,
                run=run.id,
                task=run.state.graph.keys[index],
            )

    def schedule_expiry(self, run: ActiveRun, index: int, attempt: int) -> None:
        """The cost of a call is in doubt: a day after the call, what is held counts as spent."""
        expiry = run.state.expiry_of(index, attempt)
        heappush(self._hold_expiries, (expiry, run.id, index, attempt))

    def reschedule_expiries(self, run: ActiveRun) -> None:
        """The clock was set: the holds of a run that are in doubt expire at other times."""
        calls = [
            (index, attempt)
            for _, run_id, index, attempt in self._hold_expiries
            if run_id == run.id
        ]
        self._hold_expiries = [entry for entry in self._hold_expiries if entry[1] != run.id]
        heapify(self._hold_expiries)
        for index, attempt in dict.fromkeys(calls):
            if (index, attempt) in run.state.holds:
                self.schedule_expiry(run, index, attempt)

    def unsettled_scopes(
        self, run: ActiveRun, now: Micros
    ) -> dict[tuple[int, int], tuple[str, ...]]:
        """The scopes of each call of a run that has not reported its usage."""
        return {call: self.call_scopes(run, *call, now) for call in run.state.unpaid}

    def correct_cost(
        self, run_id: str, scopes: tuple[str, ...], booked: NanoUSD, usage: Usage
    ) -> None:
        """Book the usage that a call of an ended run reports late, in place of ``booked``."""
        self.ledger.adjust_captured(run_id, scopes, reported_cost(usage, booked) - booked)
        self._wake_waiters(scopes)

    def set_apart_run(self, run: ActiveRun) -> None:
        """Take back what was booked for a run and is in no batch; what it holds on disk stays.

        Its calls in flight are in doubt from now on: no other task waits for their end. Call it
        when the run is no longer among the open runs.
        """
        self.remove_departed(run)
        scopes = self.ledger.take_back_entries(run.id)
        scopes.update(scope for held_scopes in run.hold_scopes.values() for scope in held_scopes)
        pending = dict.fromkeys(scopes, 0)
        for other in self._runs.values():
            for (index, attempt), held_scopes in other.hold_scopes.items():
                hold = other.state.holds.get((index, attempt))
                if hold is not None and other.state.is_call_running(index, attempt):
                    for scope in pending.keys() & set(held_scopes):
                        pending[scope] += hold.amount
        for scope, amount in pending.items():
            self.ledger.accounts[scope].pending = amount
        self._wake_waiters(scopes)

    def forget_run(self, run: ActiveRun) -> None:
        """Cancel the holds of a run that was never accepted."""
        for (index, attempt), hold in run.state.holds.items():
            scopes = self.call_scopes(run, index, attempt, 0)
            self.ledger.cancel_hold(run.id, scopes, hold.amount)
            self._wake_waiters(scopes)

    # Tasks that wait for money.

    def block_task(self, run: ActiveRun, index: int, now: Micros) -> bool:
        """Wait until a task's call fits the scope that it lacks, or the scope's next day begins.

        False if the call fits by now.
        """
        scope, amount = run.state.lacks[index]
        scopes = self.list_scopes(run, index, now)
        if scope.startswith("day "):
            scope = scopes[-1]
        if (account := self.ledger.accounts.get(scope)) is None or account.can_hold(amount):
            return False
        self._blocked_scopes[run.id, index] = scope
        self._current_day = day_of(now)
        return True

    def sufficient_limit(self, run: ActiveRun, index: int) -> tuple[str, NanoUSD]:
        """The scope that a blocked task lacks, and the limit under which its call fits."""
        scope, amount = run.state.lacks[index]
        account = self.ledger.accounts[scope]
        limit = (account.limit or 0) + max(account.shortfall(amount), 0)
        return scope, min(limit, MOST_AMOUNT)

    def awaited_scope(self, run_id: str, index: int) -> str:
        """The scope in which a ready task waits for other calls; empty if it does not wait."""
        run = self._runs.get(run_id)
        call = None if run is None else run.waiting_calls.get(index)
        return call.scope if call is not None and self._is_waiting(call) else ""

    def set_limit(self, scope: str, limit: NanoUSD | None) -> None:
        """Set the limit of a scope; None: the limit from files counts again."""
        account = self.ledger.accounts.get(scope)
        if account is None:
            account = self.ledger.open_account(scope)
        self.ledger.set_limit(account, limit)
        # A limit for every day also counts for the days that have accounts already.
        covered_scopes = [
            covered_scope
            for covered_scope in self.ledger.accounts
            if _covers_scope(scope, covered_scope)
        ]
        for covered_scope in covered_scopes:
            if covered_scope != scope:
                self.ledger.open_account(
                    covered_scope, self._limits.get("day") if limit is None else limit
                )
        self._wake_waiters(covered_scopes)

    def limit_of(self, scope: str) -> NanoUSD | None:
        """The limit of a scope, also if nothing was spent from it yet."""
        account = self.ledger.accounts.get(scope)
        if account is not None and account.explicit_limit is not None:
            return account.explicit_limit
        run = self._runs.get(run_of(scope))
        spec = None if run is None else run.state.graph.spec
        return find_file_limit(scope, spec, self._limits)

    def must_line_up(self, run: ActiveRun, index: int, now: Micros) -> bool:
        """Whether a ready task joins the queue of one of its scopes, behind a call in it.

        It does so without an attempt to start: nothing is evaluated and nothing is quoted.
        """
        node = run.state.graph.nodes[index]
        # A task with an approval passes that gate first; a woken task has its turn now.
        if (
            node.control_flow is not None
            or self.queues.find_promise((run.id, index)) is not None
            or not self.can_cost(run, index)
        ):
            return False
        amount = _declared_cost(run, index)
        if amount == 0:
            return False
        scopes, known_call = self.list_scopes(run, index, now), run.waiting_calls.get(index)
        for scope in scopes:
            if scope in self.queues.by_scope and (first_call := self._first_waiting(scope)):
                order = self.queues.next_order(scope, run.id, node.priority)
                if known_call is not None and known_call.scope == scope:
                    order = known_call.order
                if first_call.order < order:
                    self._add_to_queue(run, index, scope, scopes, amount)
                    return True
        return False

    def remove_departed(self, run: ActiveRun) -> None:
        """Remove the tasks from their queues that are not ready any more.

        Call it when tasks may have left without a hold: the calls behind them may fit now.
        """
        for index, call in list(run.waiting_calls.items()):
            if run.is_set_apart or run.state.state[index] is not _READY:
                del run.waiting_calls[index]
                self.queues.mark_freed(call.scope)

    def remove_blocked(self, run: ActiveRun, index: int) -> None:
        """Remove a task that was blocked from its queue."""
        call = run.waiting_calls.pop(index, None)
        if call is not None:
            self.queues.mark_freed(call.scope)

    def _add_to_queue(
        self,
        run: ActiveRun,
        index: int,
        scope: str,
        scopes: tuple[str, ...],
        amount: NanoUSD | None,
    ) -> None:
        run.waiting_calls[index] = self.queues.add_call(
            (run.id, index),
            scope,
            scopes,
            amount,
            run.state.graph.nodes[index].priority,
            run.waiting_calls.get(index),
        )

    def _find_awaited_scope(self, run: ActiveRun, index: int, short_accounts: list[Account]) -> str:
        """The scope in which a call waits for others; empty if it must be decided about now."""
        awaited_account = next(filter(self._may_be_freed, short_accounts), None)
        if awaited_account is None:
            return ""
        waits_only = all(map(self._may_be_freed, short_accounts)) or self._can_shrink(run, index)
        return awaited_account.scope if waits_only else ""

    def _may_be_freed(self, account: Account) -> bool:
        """Whether calls hold money in a scope, or were promised some, that may cost less."""
        return account.pending > 0 or account.scope in self.queues.promised

    def _wake_waiters(self, scopes: Iterable[str]) -> None:
        """Look again at the tasks that wait in these scopes, because money may be free there."""
        for scope in scopes:
            self.queues.mark_freed(scope)
            if self._blocked_scopes:
                self._wake_blocked(scope)

    def _wake_queues(self, now: Micros) -> None:
        """Wake the first calls of the freed scopes: those that fit, together, what is free there.

        And those about which no other call can decide, because none holds money there.
        """
        for scope in self.queues.take_freed():
            while (call := self._first_waiting(scope)) is not None:
                run, index = self._runs[call.waiter[0]], call.waiter[1]
                call.scopes = self.list_scopes(run, index, now)
                short_accounts, amount = self._find_shortage(run, call)
                awaited_scope = self._find_awaited_scope(run, index, short_accounts)
                if awaited_scope == scope:
                    break
                if awaited_scope:
                    self.queues.drop_first(scope)
                    self._add_to_queue(run, index, awaited_scope, call.scopes, call.amount)
                else:
                    self.queues.promise(call, 0 if short_accounts else amount)
                    self._woken_waiters.append(call.waiter)

    def _find_shortage(self, run: ActiveRun, call: WaitingCall) -> tuple[list[Account], NanoUSD]:
        """The accounts that are short of what a waiting call needs, and that amount."""
        index, amount = call.waiter[1], call.amount
        if amount is None:
            amount = self._usual_costs.get(_agent_scope(call.scopes), 0)
        released = self._release_superseded(run, index, restore=False)
        short_accounts = self.ledger.find_short_accounts(call.scopes, amount, self.queues.promised)
        if released:
            self._release_superseded(run, index, restore=True)
        return short_accounts, amount

    def _first_waiting(self, scope: str) -> WaitingCall | None:
        """The first call in a scope's queue that still waits there; drops those before it."""
        while (call := self.queues.first_call(scope)) is not None:
            if self._is_waiting(call):
                return call
            self.queues.drop_first(scope)
        return None

    def _is_waiting(self, call: WaitingCall) -> bool:
        """Whether a call waits in its queue, and its task is still ready."""
        run, index = self._runs.get(call.waiter[0]), call.waiter[1]
        return (
            run is not None
            and call.queued
            and run.waiting_calls.get(index) is call
            and run.state.state[index] is _READY
        )

    def list_forgotten_waiters(self) -> list[str]:
        """The first waiters that nothing will wake though they fit what is free; for tests."""
        if self.has_woken_waiters or self.queues.promised:
            return []
        problems = []
        for scope in list(self.queues.by_scope):
            call, account = self._first_waiting(scope), self.ledger.accounts[scope]
            if call is None:
                continue
            # Not by `_find_shortage`: this must notice if that is wrong.
            if call.amount is not None and account.can_hold(call.amount):
                problems.append(f"{call.waiter} waits in {scope}, but the {call.amount} fit")
            elif account.pending <= 0:
                problems.append(f"{call.waiter} waits in {scope}, but no call holds money there")
        return problems

    def _wake_blocked(self, scope: str) -> None:
        """Wake the tasks that are blocked for a scope, if their calls fit now."""
        for waiter, blocked_scope in list(self._blocked_scopes.items()):
            fits = self.ledger.accounts[blocked_scope].can_hold(self._missing_amount(waiter))
            if _covers_scope(scope, blocked_scope) and fits:
                del self._blocked_scopes[waiter]
                self._woken_waiters.append(waiter)

    def _waiters_for_tomorrow(self) -> list[Waiter]:
        """The tasks that lack money of today, without those that need more than a whole day's."""
        accounts = self.ledger.accounts
        return [
            waiter
            for waiter, scope in self._blocked_scopes.items()
            if scope.startswith("day ")
            and (
                (daily_limit := accounts[scope].limit) is None
                or self._missing_amount(waiter) <= daily_limit
            )
        ]

    def _missing_amount(self, waiter: Waiter) -> NanoUSD:
        """What the call of a blocked task may cost."""
        run = self._runs.get(waiter[0])
        return 0 if run is None else run.state.lacks.get(waiter[1], ("", 0))[1]

    def take_woken_waiters(self, now: Micros) -> list[Waiter]:
        """The tasks to look at again, each once; at a new day also those that lacked today's."""
        # The clock may have been set back: then it is an earlier day.
        if self._blocked_scopes and day_of(now) != self._current_day:
            for waiter in self._waiters_for_tomorrow():
                del self._blocked_scopes[waiter]
                self._woken_waiters.append(waiter)
            self._current_day = day_of(now)
        if self.queues.freed:
            self._wake_queues(now)
        waiters, self._woken_waiters = self._woken_waiters, []
        return waiters

    @property
    def has_woken_waiters(self) -> bool:
        """Whether there are tasks to look at again."""
        return bool(self._woken_waiters or self.queues.freed)

    def take_overdue_holds(self, now: Micros) -> list[tuple[ActiveRun, ev.HoldSettled]]:
        """Settlements of the holds that have been in doubt for a day: what is held counts."""
        settlements = []
        while self._hold_expiries and self._hold_expiries[0][0] <= now:
            _, run_id, index, attempt = heappop(self._hold_expiries)
            active_run = self._runs.get(run_id)
            if active_run is None or (index, attempt) not in active_run.state.holds:
                continue
            if active_run.state.status in CLOSED:
                continue  # its end in this turn has booked the hold
            amount = active_run.state.holds[index, attempt].amount
            key, reason = (
                active_run.state.graph.keys[index],
                "its cost was not reported for a day",
            )
            settlement = ev.HoldSettled(
                at=now, task=key, attempt=attempt, cost=amount, actor="engine", reason=reason
            )
            settlements.append((active_run, settlement))
        return settlements

    def next_wake(self) -> Micros | None:
        """The time at which a hold expires or a new day may unblock tasks; None if neither."""
        times = [self._hold_expiries[0][0]] if self._hold_expiries else []
        if self._blocked_scopes and self._waiters_for_tomorrow():
            times.append((self._current_day + 1) * DAY)
        return min(times, default=None)


def _agent_scope(scopes: tuple[str, ...]) -> str:
    """The scope of the agent in all runs, among those of a call: the third from the end."""
    return scopes[-3]


def _declared_cost(run: ActiveRun, index: int) -> NanoUSD | None:
    """What the workflow declares as the most that one call of a task costs."""
    node = run.state.graph.nodes[index]
    task_cost = None if node.task is None else node.task.max_cost
    return node.agent.max_cost if task_cost is None else task_cost


def superseded_attempts(run: ActiveRun, index: int) -> tuple[int, ...]:
    """The attempts whose holds the next one takes over.

    Only of tasks with ``effect: keyed``: a service that honours the key charges the call once.
    """
    state = run.state
    if not state.holds or state.graph.nodes[index].effect is not Effect.KEYED:
        return ()
    return tuple([attempt for held_index, attempt in state.holds if held_index == index])


def _covers_scope(scope: str, covered_scope: str) -> bool:
    """Whether a limit of ``scope`` counts for the other: ``day T`` does for ``day T/N``."""
    return covered_scope == scope or (
        scope.startswith("day ") and covered_scope.startswith(f"{scope}/")
    )
