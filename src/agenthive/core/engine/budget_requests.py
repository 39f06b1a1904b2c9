"""Requests about money: limits that operators set, costs that they settle, and what follows.

`budgets` has the arithmetic and the queues of tasks that wait for money; `BudgetRequests` turns
requests and due times into events. It never admits a call (`Admission` does) and never books the
cost of a call that ends normally (`CallResults` does).
"""

from __future__ import annotations

import msgspec

from agenthive.core.budget.holds import BUDGET_EXCEEDED, BUDGET_REASONS
from agenthive.core.budget.scopes import run_of
from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.engine.human_input import ApprovalDecision, budget_request_digest
from agenthive.core.engine.step_evaluation import task_faulted_event
from agenthive.core.journal import run_events as ev
from agenthive.core.model.states import TaskState
from agenthive.core.values import MOST_AMOUNT, Micros, NanoUSD
from agenthive.errors import Conflict, NotFound


class HoldSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's statement of the cost of a call, which was in doubt."""

    #: Id of an open run.
    run: str
    #: Key of the task that made the call.
    task: str
    #: What the call cost, in nano-dollars.
    cost: NanoUSD
    #: Number of the attempt; None for the first attempt in doubt.
    attempt: int | None = None
    #: Who states it.
    actor: str
    #: Why, for the journal.
    reason: str


class BudgetRequests:
    """Sets limits, settles holds, and unblocks the tasks that have money again."""

    def __init__(self, engine: EngineState, handlers: CommandHandlers) -> None:
        self._engine, self._handlers = engine, handlers
        self._budgets, self._outbox = engine.budgets, engine.outbox

    def set_budget(
        self,
        now: Micros,
        scope: str,
        amount: NanoUSD | None,
        actor: str,
        reason: str,
        token: int,
        *,
        add: bool,
    ) -> None:
        """Set the limit of a scope to ``amount``, or ``add`` that to it. See `Driver.set_budget`.

        Raises Conflict if there is no limit to add to.
        """
        now = self._engine.advance_clock(now)
        if add:
            limit = self._budgets.limit_of(scope)
            if limit is None or amount is None:
                raise Conflict(f"{scope} has no limit", hint="Set one: agenthive budget set.")
            amount = min(limit + amount, MOST_AMOUNT)
        self._set_limit(now, scope, amount, actor, reason)
        self._outbox.actions.append(act.AcknowledgeRequest(token, about=run_of(scope)))

    def _set_limit(
        self, now: Micros, scope: str, limit: NanoUSD | None, actor: str, reason: str
    ) -> None:
        event = ev.BudgetSet(
            at=now, scope=scope, limit=limit, run=run_of(scope), actor=actor, reason=reason
        )
        self._outbox.hive_events.append(event)
        self._budgets.set_limit(scope, limit)

    def settle_hold(self, now: Micros, settlement: HoldSettlement, token: int) -> None:
        """Book the cost of a call that is in doubt. Raises RunNotFound, NotFound."""
        run, now = self._engine.get_open_run(settlement.run), self._engine.advance_clock(now)
        state = run.state
        index = state.graph.index.get(settlement.task)
        doubtful_attempts = [
            held_attempt
            for held_index, held_attempt in state.holds
            if held_index == index
            and settlement.attempt in (None, held_attempt)
            and not state.is_call_running(held_index, held_attempt)
        ]
        if index is None or not doubtful_attempts:
            raise NotFound(
                f"run {run.id}: no call of task '{settlement.task}' is in doubt",
                hint=f"See them: agenthive budget show {run.id}",
            )
        event = ev.HoldSettled(
            at=now,
            task=settlement.task,
            attempt=doubtful_attempts[0],
            cost=settlement.cost,
            actor=settlement.actor,
            reason=settlement.reason,
        )
        self._apply_settlement(run, event, now)
        self._handlers.acknowledge(run, token)

    def settle_overdue_holds(self, now: Micros) -> None:
        """Book the costs that have been in doubt for a day with what is held for them."""
        for run, event in self._budgets.take_overdue_holds(now):
            try:
                self._apply_settlement(run, event, now)
            except Exception as error:
                self._handlers.set_apart_run(run, error, now)

    def _apply_settlement(self, run: ActiveRun, event: ev.HoldSettled, now: Micros) -> None:
        index = run.state.graph.index[event.task]
        self._handlers.results.book_cost(
            run, index, event.attempt, event.cost, now, under_way=False
        )
        self._handlers.apply_event(run, event, now)

    def answer_request(
        self, run: ActiveRun, task: str, decision: ApprovalDecision, now: Micros
    ) -> bool:
        """Carry out the decision about a higher limit that a blocked task requests.

        False, without any effect, if the task does not request one. Raises Conflict if the decision
        is about another amount.
        """
        index = run.state.graph.index.get(task)
        if index is None or run.state.blocked.get(index, ("",))[0] != BUDGET_REASONS[1]:
            return False
        if not budget_request_digest(run.state, index).startswith(decision.digest):
            raise Conflict("the answer is about another amount", hint="See: agenthive approvals")
        scope, limit = self._budgets.sufficient_limit(run, index)
        if decision.approved:
            reason = decision.comment or f"requested by {run.id}/{task}"
            self._set_limit(now, scope, limit, decision.actor, reason)
            self.wake_waiters(now)
        else:
            comment = f": {decision.comment}" if decision.comment else ""
            message = f"{decision.actor} did not approve a higher limit{comment}"
            event = task_faulted_event(now, task, BUDGET_EXCEEDED, message)
            self._handlers.apply_event(run, event, now)
        return True

    def wake_waiters(self, now: Micros) -> None:
        """Look again at the tasks that wait for money, where some may be available."""
        for run_id, index in self._budgets.take_woken_waiters(now):
            run = self._engine.runs.get(run_id)
            if run is None:
                continue
            if run.state.state[index] is TaskState.READY:
                self._handlers.offer_task(run, index, now)
            elif run.state.blocked.get(index, ("",))[0] in BUDGET_REASONS:
                key = run.state.graph.keys[index]
                self._handlers.apply_event(run, ev.TaskUnblocked(at=now, task=key), now)
